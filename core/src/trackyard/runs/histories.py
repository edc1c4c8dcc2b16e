"""What does the journal of a run hold?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import attrs

from trackyard.contract.context import Context
from trackyard.contract.records import Artifact, Failure, ParamValue
from trackyard.journal.blobs import file_of
from trackyard.journal.children import prefix_of
from trackyard.journal.columns import Column
from trackyard.journal.descriptions import RunDescription
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader
from trackyard.journal.summaries import Summary, keep_summary, kept_summary, summarise
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
    """The curves of a run: their points are read when one is asked for.

    Args:
        keys: The metrics' keys.
        columns: Reads all points, in the order in which they were logged.
        following: Reads those that have come since it was called last; None where nobody can.
    """

    def __init__(
        self,
        keys: Iterable[str],
        columns: Callable[[], Iterator[Column]],
        following: Callable[[], Iterator[Column]] | None = None,
    ) -> None:
        self._keys = tuple(keys)
        self.columns = columns
        self._following = following

    @cached_property
    def _logged(self) -> dict[str, Curve]:
        curves = {key: Curve(key) for key in self._keys}
        for column in (self._following or self.columns)():
            # A key that is unknown was logged a moment ago; `read_on` shows it.
            curves.setdefault(column.key, Curve(column.key)).extend(*column[1:])
        return curves

    @cached_property
    def _curves(self) -> dict[str, Curve]:
        return {key: curve.in_order() for key, curve in self._logged.items()}

    def read_on(self) -> bool:
        """Read what was logged since points were read last, of new metrics, too.

        Curves that were given before may grow. False is given where only a new look can tell.
        """
        if self._following is None:
            return False
        logged, grown = self._logged, set()
        for column in self._following():
            logged.setdefault(column.key, Curve(column.key)).extend(*column[1:])
            grown.add(column.key)
        self._curves.update((key, logged[key].in_order()) for key in grown)
        self._keys = tuple(logged)
        return True

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
    """Give what a run's journal holds; its points are read where one asks for a curve.

    Args:
        folder: The run's folder.
        description: What is written down there of the run; None where that is gone.
    """
    summary = kept_summary(folder) or keep_summary(folder, summarise(folder, description))
    tags = description.run.tags if description else {}
    failure = Failure(**summary.failure) if summary.failure else None
    reader = JournalReader(folder)
    artifacts = _artifacts_of(folder, summary)
    damaged = len(summary.artifacts) - sum(map(len, artifacts.values()))
    return History(
        params=summary.params,
        tags={key: value for key, value in summary.tags.items() if tags.get(key) != value},
        curves=LateCurves(
            summary.metrics,
            lambda: columns_of(JournalReader(folder), description),
            lambda: columns_of(reader, description),
        ),
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


def columns_of(reader: JournalReader, description: RunDescription | None) -> Iterator[Column]:
    """Read the points of a run's journal, a few hundred of a metric at a time.

    Args:
        reader: Reads the journal, from where it is.
        description: What is written down there of the run; None where that is gone.
    """
    all_ranks = description is not None and description.counts_all_ranks
    for writer, block in reader.read_blocks():
        prefix = prefix_of(writer, all_ranks=all_ranks)
        if prefix is None:
            continue
        columns = _columns_in(block) if isinstance(block, list) else block.columns()
        for column in columns:
            yield column._replace(key=prefix + column.key) if prefix else column


def _columns_in(entries: Iterable[Entry]) -> Iterator[Column]:
    for entry in entries:
        if entry.kind == "metrics":
            for key, value in entry.data.items():
                yield Column(key, [entry.step], [value], [entry.timestamp])
