"""Which values cross the contract where runs that a backend, or an export, holds are imported?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import attrs

from trackyard.contract.records import Failure, Metric, Status, encodable

_T = TypeVar("_T")


@attrs.frozen
class RunQuery:
    """Which runs of a backend are wanted; what is None does not matter.

    Attributes:
        place: Where they are: what stands behind the colon in `trackyard import flavor:place`, with
            a path made absolute; None for where the tracker's own configuration leads to.
        experiment: Only runs of the experiment (project) of this name.
        since: Only runs that started then or later, in nanoseconds since the epoch.
        limit: So many runs at most.
        page: How many runs the backend is asked for at once. The hook is a generator: what it gives
            does not depend on this.
    """

    place: str | None = None
    experiment: str | None = None
    since: int | None = None
    limit: int | None = None
    page: int = 500

    def fits(self, run: RemoteRun) -> bool:
        """Tell whether a run is wanted, for backends that cannot be asked for less.

        Args:
            run: The run.
        """
        is_late = self.since is None or run.started_at is None or run.started_at >= self.since
        return is_late and self.experiment in (None, run.experiment)


@attrs.frozen
class RemoteRun:
    """A run as a backend, or an export, knows it; what it does not know is None.

    Attributes:
        remote_id: The backend's own id of the run, which never changes. It does not hold where the
            run lies: what was moved is the same run.
        name: What people call it.
        experiment: The experiment, or project, that it belongs to.
        status: Its status.
        started_at, ended_at: When, in nanoseconds since the epoch.
        parent_id: The `remote_id` of the run that it stands below.
        user: Who made it.
        failure: Why it did not finish.
        version: A text that changes whenever the run does, such as the sizes of its files. A run
            whose version was imported is not read again; without one it is read each time.
        size: About how many bytes are read for it, for the time that is left; 0 if unknown.
        identity: Where the same run can be read at several places, which know it by different
            `remote_id`: a text that all of them say. The run's id in the project follows from it.
    """

    remote_id: str
    name: str | None = None
    experiment: str | None = None
    status: Status | None = None
    started_at: int | None = None
    ended_at: int | None = None
    parent_id: str | None = None
    user: str | None = None
    failure: Failure | None = None
    version: str | None = None
    size: int = 0
    identity: str | None = None


@attrs.frozen
class MetricPoints:
    """Points of one metric, in the order in which they were logged: a history, or a part of one.

    It stands for as many records `Metric`, and is read and written many times as quickly. All three
    sequences are of the same length.

    Attributes:
        key: The metric.
        steps: Of each point the training step, or None.
        values: Of each the value.
        timestamps: When each was logged, in nanoseconds since the epoch.
    """

    key: str
    steps: Sequence[int | float | None]
    values: Sequence[float]
    timestamps: Sequence[int]

    def __len__(self) -> int:
        """Give the number of points."""
        return len(self.values)

    def metrics(self) -> Iterator[Metric]:
        """Give the points one by one."""
        for step, value, timestamp in zip(self.steps, self.values, self.timestamps, strict=True):
            yield Metric(self.key, value, step, timestamp)


@attrs.define
class PointsByMetric:
    """Puts points that come one by one, of different metrics in turn, together by metric.

    Attributes:
        count: How many there are.
        most: So many make `is_full`.
    """

    most: int = 2000
    count: int = 0
    _columns: dict[str, tuple[list[int | float | None], list[float], list[int]]] = attrs.field(
        factory=dict
    )

    @property
    def is_full(self) -> bool:
        """There are enough of them; more would fill the memory."""
        return self.count >= self.most

    def add(self, key: str, value: float, step: float | None, timestamp: int) -> None:
        """Add a point.

        Args:
            key: The metric.
            value: The value.
            step: The training step, or None.
            timestamp: When it was logged, in nanoseconds since the epoch.
        """
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = [], [], []
        column[0].append(step)
        column[1].append(value)
        column[2].append(timestamp)
        self.count += 1

    def extend(self, points: MetricPoints) -> None:
        """Add several points of a metric."""
        column = self._columns.get(points.key)
        if column is None:
            column = self._columns[points.key] = [], [], []
        column[0].extend(points.steps)
        column[1].extend(points.values)
        column[2].extend(points.timestamps)
        self.count += len(points)

    def take(self) -> Iterator[MetricPoints]:
        """Give all of them, metric by metric, and begin anew."""
        columns, self._columns, self.count = self._columns, {}, 0
        for key, column in columns.items():
            yield MetricPoints(key, *column)


def one_by_one(pieces: Iterable[_T | MetricPoints]) -> Iterator[_T | Metric]:
    """Give what is read of a run with each point of a metric by itself.

    Args:
        pieces: What a flavor gives.
    """
    for piece in pieces:
        if isinstance(piece, MetricPoints):
            yield from piece.metrics()
        else:
            yield piece


def some_of(pieces: Iterator[_T | MetricPoints], count: int = 500) -> list[_T | MetricPoints]:
    """Take some of what is read of a run; none at its end.

    Args:
        pieces: What a flavor gives.
        count: About how many records.
    """
    taken: list[_T | MetricPoints] = []
    for piece in pieces:
        taken.append(piece)
        count -= len(piece) if isinstance(piece, MetricPoints) else 1
        if count <= 0:
            break
    return taken


@attrs.frozen
class ImportNote:
    """Something of a run that cannot be imported as it is.

    Attributes:
        what: Says it on a line: what, where, and why.
        state: `left` where it is not imported, `changed` where it is, as something else.
        count: How many records it is about.
    """

    what: str = attrs.field(converter=encodable)
    state: Literal["left", "changed"] = "left"
    count: int = 1


def inside(root: Path, path: Path) -> Path | None:
    """Give a file or folder that lies in a folder; None where it is elsewhere, or is a link.

    What a foreign file names is read by this alone.

    Args:
        root: The folder, such as that which is imported.
        path: The path, as the foreign file says; a relative one begins at `root`.
    """
    try:
        whole, real = root / path, (root / path).resolve(strict=True)
        is_inside = real.is_relative_to(root.resolve()) and not whole.is_symlink()
    except (OSError, ValueError, RuntimeError):
        return None
    return real if is_inside else None
