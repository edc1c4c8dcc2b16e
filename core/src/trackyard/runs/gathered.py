"""What does a backend hold of a run, gathered so that millions of points fit into the memory?"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import attrs

from trackyard.contract.records import Artifact, Metric, Param, Record, Tag


@attrs.define
class Points:
    """Points of one metric in the order in which they came, in 24 bytes each.

    Attributes:
        key: The metric.
    """

    key: str
    _steps: array[float] = attrs.field(factory=lambda: array("d"))
    _values: array[float] = attrs.field(factory=lambda: array("d"))
    _times: array[int] = attrs.field(factory=lambda: array("q"))
    _odd: dict[int, Metric] = attrs.field(factory=dict)  # what does not fit into these

    def __len__(self) -> int:
        """Give the number of points."""
        return len(self._values)

    def __getitem__(self, place: int) -> Metric:
        """Give a point."""
        odd = self._odd.get(place) if self._odd else None
        if odd is not None:
            return odd
        step = self._steps[place]
        known = None if step != step else int(step) if step.is_integer() else step  # noqa: PLR0124 - NaN
        return Metric(self.key, self._values[place], known, self._times[place])

    def __iter__(self) -> Iterator[Metric]:
        """Give the points one by one."""
        return (self[place] for place in range(len(self)))

    def add(self, point: Metric) -> None:
        """Add a point behind the others.

        Args:
            point: The point.
        """
        if self._fits(point):
            self._values.append(point.value)
            self._steps.append(float("nan") if point.step is None else point.step)
            self._times.append(point.timestamp)
            return
        self._odd[len(self)] = point
        for column in (self._values, self._steps, self._times):
            column.append(0)

    @staticmethod
    def _fits(point: Metric) -> bool:
        step, value = point.step, point.value
        is_step = step is None or (abs(step) <= 2**53)
        is_value = isinstance(value, float) or abs(value) <= 2**53
        return is_step and is_value and abs(point.timestamp) < 2**63


@attrs.define
class Gathered:
    """Records by kind and key; of a key that comes again the last one counts.

    Attributes:
        metrics, params, tags, artifacts: By key, or name.
        count: How many records there are.
    """

    metrics: dict[str, Points] = attrs.field(factory=dict)
    params: dict[str, object] = attrs.field(factory=dict)
    tags: dict[str, object] = attrs.field(factory=dict)
    artifacts: dict[str, Artifact] = attrs.field(factory=dict)
    count: int = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Gathered:
        """Gather all records.

        Args:
            records: They are read once.
        """
        gathered = cls()
        for record in records:
            gathered.add(record)
        return gathered

    def add(self, record: Record) -> None:
        """Add a record.

        Args:
            record: The record.
        """
        self.count += 1
        match record:
            case Metric(key):
                points = self.metrics.get(key)
                if points is None:
                    points = self.metrics[key] = Points(key)
                points.add(record)
            case Param(key, value):
                self.params[key] = value
            case Tag(key, value):
                self.tags[key] = value
            case Artifact(name):
                self.artifacts[name] = record
