"""What does the journal of a run hold?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from trackyard.contract.context import Context
from trackyard.contract.records import Artifact, Failure, ParamValue
from trackyard.journal.children import as_counted
from trackyard.journal.descriptions import RunDescription
from trackyard.journal.ending import read_status
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.reader import JournalReader
from trackyard.runs.curves import Curve


@attrs.frozen
class History:
    """Everything that was logged in a run and counts, by the journal.

    Attributes:
        params, tags: The last value by key.
        curves: The points of each metric.
        artifacts: All by name, the latest last.
        status: As it ended; `running`, or `crashed` where its process is gone without a word.
        failure: Why it did not finish, or None.
        ended_at: When it ended, in nanoseconds since the epoch, or None.
        lost: How many log calls were lost to a full or damaged disk, or with a machine.
        context: Where the run comes from, or None where that was not collected.
    """

    params: Mapping[str, ParamValue]
    tags: Mapping[str, str]
    curves: Mapping[str, Curve]
    artifacts: Mapping[str, tuple[Artifact, ...]]
    status: str
    failure: Failure | None
    ended_at: int | None
    lost: int
    context: Context | None = None


def has_journal(folder: Path) -> bool:
    """Tell whether there is a journal in a folder."""
    return any(folder.glob("*.tyj"))


def read_history(folder: Path, description: RunDescription | None) -> History:
    """Read a run's journal from its beginning: what counts as the run's, as on its trackers.

    Args:
        folder: The run's folder.
        description: What is written down there of the run; None where that is gone.
    """
    all_ranks = description is not None and description.counts_all_ranks
    params: dict[str, ParamValue] = {}
    tags: dict[str, str] = {}
    curves: dict[str, Curve] = {}
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    context: Context | None = None
    dropped = 0
    reader = JournalReader(folder)
    while entries := reader.read(1000):
        for position, written in entries:
            dropped += dropped_in(written)
            entry = as_counted(written, position.writer, all_ranks=all_ranks)
            if entry is None:
                continue
            match entry.kind:
                case "metrics":
                    _add_points(curves, entry)
                case "params":
                    params |= entry.data
                case "tags":
                    tags |= {key: str(value) for key, value in entry.data.items()}
                case "artifact":
                    name = entry.data.name
                    artifacts[name] = (*artifacts.get(name, ()), entry.data)
                case "context":
                    context = (context or Context()).updated(Context.from_plain(entry.data))
    status, end = read_status(folder)
    return History(
        params=params,
        tags=tags,
        curves={key: curve.in_order() for key, curve in curves.items()},
        artifacts=artifacts,
        status=status,
        failure=end.data if end else None,
        ended_at=end.timestamp if end else None,
        lost=reader.lost + dropped,
        context=context,
    )


def _add_points(curves: dict[str, Curve], entry: Entry) -> None:
    for key, value in entry.data.items():
        curve = curves.get(key)
        if curve is None:
            curve = curves[key] = Curve(key)
        curve.append(entry.step, value, entry.timestamp)
