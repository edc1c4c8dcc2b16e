"""What does core change for a flavor's backend, in words?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from trackyard.contract.flavors import capabilities_of
from trackyard.contract.records import Capabilities

# What a limit means for what a user logs; of those that stand here alone something is changed.
_WORDS: Mapping[str, Callable[[Any], str]] = {
    "kinds": lambda kinds: f"artifacts are shown as {', '.join(sorted(kinds))}, others are files",
    "key_pattern": lambda _: "keys are escaped, reversibly, where it does not take a character",
    "artifact_pattern": lambda _: "names of artifacts are escaped, reversibly, likewise",
    "key_length": lambda most: f"keys of more than {most:,} characters get a digest",
    "param_length": lambda most: f"params of more than {most:,} characters are files, too",
    "tag_length": lambda most: f"tags of more than {most:,} characters are files, too",
    "step_rule": lambda rule: {
        "increasing": "steps that go backwards are left out",
        "integer": "steps are rounded to whole numbers",
        "float": "steps beyond 2^53 are rounded",
    }[rule],
    "points_per_step": lambda _: (
        "a key has one point at a step; a second one is sent at the next step that is free"
    ),
    "least_step": lambda least: f"steps below {least} are raised to it",
    "needs_step": lambda _: "points without a step are numbered",
    "number_bits": lambda bits: f"numbers are kept in {bits} bits",
    "time_resolution": lambda found: (
        "points have the time of their arrival"
        if found is None
        else f"times are kept to {found:,} ns"
    ),
    "not_a_number": lambda _: "NaN and infinities are left out",
    "largest_request": lambda most: (
        f"a request has {most:,} bytes at most; longer texts are files, too"
    ),
}


def limits_in_words(flavor: Any) -> tuple[str, ...]:
    """Say what is changed of what a user logs, for what a flavor's backend cannot hold.

    Args:
        flavor: The flavor's class, or an instance.
    """
    declared, widest = capabilities_of(flavor), Capabilities()
    names = (field.name for field in attrs.fields(Capabilities) if field.name in _WORDS)
    values = {name: getattr(declared, name) for name in names}
    if declared.kinds >= widest.kinds:
        values["kinds"] = widest.kinds
    if declared.time_resolution is not None and declared.time_resolution <= 1_000_000:
        values["time_resolution"] = widest.time_resolution
    return tuple(
        _WORDS[name](value) for name, value in values.items() if value != getattr(widest, name)
    )
