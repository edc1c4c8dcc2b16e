"""Does a flavor's page say what its SDK's own calls become for the journal?

The table has the calls in its first column, and in its second, as the first word, what they become:
metrics, params, tags, the kind of an artifact, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from trackyard import Client
from trackyard.testing import MemoryTracker

_ROOT = Path(__file__).parents[2]
_HEADER = re.compile(r"\| [^|]+ \| what the journal and other trackers get \|\n\|---\|---\|\n")


def documented_calls(flavor: str) -> dict[str, str]:
    """Give what each call becomes, as the flavor's page says.

    Args:
        flavor: Its name.
    """
    page = (_ROOT / "docs" / "flavors" / f"{flavor}.md").read_text(encoding="utf-8")
    (before,) = _HEADER.finditer(page)
    table = page[before.end() :].partition("\n\n")[0]
    found = {}
    for line in table.splitlines():
        calls, becomes = line.strip("| ").split(" | ", 1)
        for call in re.findall(r"`([^`]+)`", calls):
            found[call] = re.split(r"\W", becomes)[0]
    return found


def captured_of(run_id: str, calls: Iterable[str]) -> dict[str, str]:
    """Give what the journal has of calls that have named what they log after themselves.

    Args:
        run_id: The run.
        calls: Their names.
    """
    found = dict.fromkeys(calls, "nothing")
    for name, what in captured_names(run_id).items():
        found |= {call: what for call in found if _is_of(call, name)}
    return found


def captured_names(run_id: str) -> dict[str, str]:
    """Give what the tracker `memory` and the journal have of a run: what each name is.

    Args:
        run_id: The run.
    """
    stored = MemoryTracker.runs[run_id]
    found = {metric.key: "metrics" for metric in stored.metrics.values()}
    found |= dict.fromkeys(stored.params, "params") | dict.fromkeys(stored.tags, "tags")
    artifacts = Client().get_run(run_id).artifacts
    return found | {name: artifact.kind for name, artifact in artifacts.items()}


def _is_of(call: str, name: str) -> bool:
    return re.search(rf"(?<![a-z_0-9]){re.escape(call)}(?![a-z_0-9])", name) is not None
