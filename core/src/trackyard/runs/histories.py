"""What does the journal of a run hold?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import attrs

from trackyard.contract.context import Context
from trackyard.contract.records import Artifact, Failure, ParamValue
from trackyard.journal.blobs import file_of
from trackyard.journal.children import as_counted
from trackyard.journal.descriptions import RunDescription
from trackyard.journal.ending import read_status
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.reader import JournalReader
from trackyard.journal.summaries import Summary, kept_summary
from trackyard.runs.curves import Curve, MetricSummary, summary_of_tally


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
        metrics: What each curve comes to.
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
    metrics: tuple[MetricSummary, ...]
    context: Context | None = None


class LateCurves(Mapping[str, Curve]):
    """The curves of a run that has ended: their points are read when one is asked for.

    Args:
        keys: The metrics' keys.
        read: Reads them all.
    """

    def __init__(self, keys: Iterable[str], read: Callable[[], Mapping[str, Curve]]) -> None:
        self._keys = tuple(keys)
        self._read = read

    @cached_property
    def _curves(self) -> Mapping[str, Curve]:
        return self._read()

    def __getitem__(self, key: str) -> Curve:
        """Give the curve of a metric."""
        if key not in self._keys:
            raise KeyError(key)
        return self._curves[key]

    def __iter__(self) -> Iterator[str]:
        """Give the metrics' keys."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Give the number of metrics."""
        return len(self._keys)


def look_at(folder: Path, description: RunDescription | None) -> History:
    """Give what a run's journal holds; of one that has ended no point is read.

    Args:
        folder: The run's folder.
        description: What is written down there of the run; None where that is gone.
    """
    summary = kept_summary(folder)
    if summary is None:
        return read_history(folder, description)
    tags = description.run.tags if description else {}
    failure = Failure(**summary.failure) if summary.failure else None
    artifacts = _artifacts_of(folder, summary)
    damaged = len(summary.artifacts) - sum(map(len, artifacts.values()))
    return History(
        params=summary.params,
        tags={key: value for key, value in summary.tags.items() if tags.get(key) != value},
        curves=LateCurves(summary.metrics, lambda: read_history(folder, description).curves),
        artifacts=artifacts,
        status=summary.status,
        failure=failure,
        ended_at=summary.ended_at,
        lost=summary.lost + damaged,
        metrics=tuple(summary_of_tally(key, known) for key, known in summary.metrics.items()),
        context=Context.from_plain(summary.context) if summary.context else None,
    )


def _artifacts_of(folder: Path, summary: Summary) -> dict[str, tuple[Artifact, ...]]:
    found: dict[str, tuple[Artifact, ...]] = {}
    for known in summary.artifacts:
        name = known["name"]
        try:
            path = file_of(folder, known["sha256"], known["size"], name)
        except ValueError:  # it is damaged
            continue
        artifact = Artifact(
            *(name, path, known["kind"], known["media_type"], known["step"], known["logged_at"])
        )
        found[name] = (*found.get(name, ()), artifact)
    return found


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
    ordered = {key: curve.in_order() for key, curve in curves.items()}
    return History(
        params=params,
        tags=tags,
        curves=ordered,
        metrics=tuple(curve.summary() for curve in ordered.values()),
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
