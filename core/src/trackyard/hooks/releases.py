"""Was a plugin made for this release of Trackyard, as its distribution's requirement says?

A distribution declares the contract that it keeps by what it requires: `trackyard>=0.1,<0.2`.
pip looks at that when it installs; an upgrade of one of the two, or `--no-deps`, passes it by.
"""

from __future__ import annotations

import re
from functools import lru_cache

import trackyard
from trackyard.system.distributions import requirements_of

_OURS = re.compile(r"trackyard\s*(?:\[[^]]*\])?\s*\(?\s*([^();\s][^();]*)?\)?\s*(?:;.*)?")
_PLAIN = re.compile(r"\s*(>=|<)\s*(\d+(?:\.\d+)*)\s*")


@lru_cache(maxsize=256)
def why_other_release(distribution: str) -> str:
    """Say that a distribution was made for other releases, and what to type; empty if it was not.

    Args:
        distribution: The name of the distribution that brings a plugin.
    """
    wanted = _required(distribution)
    if not wanted or _is_met(wanted, trackyard.__version__):
        return ""
    clauses = [clause.strip() for clause in wanted.split(",")]
    is_too_new = any(
        clause.startswith((">", "~", "=")) and not _is_met(clause.replace("~=", ">="), None)
        for clause in clauses
    )
    older, newer = ("trackyard", distribution) if is_too_new else (distribution, "trackyard")
    return (
        f"it was made for trackyard {wanted}, and {trackyard.__version__} is installed, which is "
        f"too {'old' if is_too_new else 'new'} for it; type: pip install --upgrade {older}, or "
        f"take another release of {newer}"
    )


def _required(distribution: str) -> str:
    """Give the releases of core that a distribution requires; empty where it does not say it."""
    found = (_OURS.fullmatch(line.strip()) for line in requirements_of(distribution))
    given = (match[1] for match in found if match and "extra" not in match.string)
    return next((text.strip() for text in given if text), "")


def _is_met(wanted: str, release: str | None) -> bool:
    release = release or trackyard.__version__
    plain = [_PLAIN.fullmatch(clause) for clause in wanted.split(",")]
    number = re.fullmatch(r"(\d+(?:\.\d+)*).*", release)
    if number is not None and None not in plain:  # as nearly all are: it saves an import of 30 ms
        ours = _numbers(number[1])
        return all(
            (ours >= _numbers(match[2])) == (match[1] == ">=")
            for match in plain
            if match is not None
        )
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(wanted).contains(Version(Version(release).base_version))
    except (InvalidSpecifier, InvalidVersion):  # nobody can say
        return True


def _numbers(text: str) -> list[int]:
    """Give a release's numbers; 0.1 and 0.1.0 are the same."""
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return numbers
