"""What do the points of one metric come to, without keeping them?

Points are put together in buckets of equal size, which grow when there are too many of them: what
is kept does not grow with the number of points, and as long as a bucket is one point all is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

# When so many buckets are full, two become one.
_MOST_BUCKETS = 2048
# Buckets of so many points are filled at one go.
_WIDE = 16
# Points of the picture, and parts of the line of characters.
PICTURE, PARTS = 64, 24


@attrs.define
class _Bucket:
    count: int
    total: float  # of the finite values
    finite: int
    step: float | None
    timestamp: int
    least: float
    least_step: float | None
    greatest: float
    greatest_step: float | None


class Tally:
    """Counts the points of a metric. NaN counts as a point, and is neither least nor greatest."""

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = []
        self._width = 1
        self._count = 0
        self._has_steps = True
        self._first = self._last = math.nan
        self._last_step: float | None = None
        self._by_step: tuple[float, float] | None = None  # of the highest step
        self._by_time: tuple[int, float, float | None] | None = None  # of the latest time

    def add(self, step: float | None, value: float, timestamp: int) -> None:
        """Add a point.

        Args:
            step: The training step, or None.
            value: The value.
            timestamp: When it was logged, in nanoseconds since the epoch.
        """
        if self._count == 0:
            self._first = value
        self._count += 1
        if step is None:
            self._has_steps = False
        elif self._by_step is None or step >= self._by_step[0]:
            self._by_step = step, value
        if self._by_time is None or timestamp >= self._by_time[0]:
            self._by_time = timestamp, value, step
        buckets = self._buckets
        if self._width > 1 and buckets and buckets[-1].count < self._width:
            _put(buckets[-1], step, value)
            return
        is_finite = value - value == 0.0
        buckets.append(
            _Bucket(
                *(1, value if is_finite else 0.0, int(is_finite), step, timestamp),
                *(value, step, value, step),
            )
        )
        if len(buckets) >= _MOST_BUCKETS:
            self._halve()

    def extend(
        self,
        steps: Sequence[float | None],
        values: Sequence[float],
        timestamps: Sequence[int],
    ) -> None:
        """Add points that were logged one after the other, as `add` does.

        Args:
            steps: Of each the training step, or None.
            values: Of each the value.
            timestamps: When each was logged.
        """
        at, count = 0, len(values)
        while at < count:
            left = self._width - self._buckets[-1].count if self._width >= _WIDE else 0
            if left <= 0:
                self.add(steps[at], values[at], timestamps[at])
                at += 1
                continue
            part = slice(at, at + left)
            self._note_latest(steps[part], values[part], timestamps[part])
            _put_many(self._buckets[-1], steps[part], values[part])
            at += left

    def _note_latest(
        self, steps: Sequence[float | None], values: Sequence[float], timestamps: Sequence[int]
    ) -> None:
        """Count points, and note which one is the last by step and by time."""
        self._count += len(values)
        if self._has_steps and None in steps:
            self._has_steps = False
        elif self._has_steps:
            at = _last_greatest(steps)  # type: ignore[arg-type]
            step = steps[at]
            if step is not None and (self._by_step is None or step >= self._by_step[0]):
                self._by_step = step, values[at]
        at = _last_greatest(timestamps)
        if self._by_time is None or timestamps[at] >= self._by_time[0]:
            self._by_time = timestamps[at], values[at], steps[at]

    def state(self) -> dict[str, Any]:
        """Give everything, as JSON has it, for `of_state`."""
        return {
            "width": self._width,
            "count": self._count,
            "has_steps": self._has_steps,
            "first": self._first,
            "by_step": self._by_step,
            "by_time": self._by_time,
            "buckets": [attrs.astuple(bucket) for bucket in self._buckets],
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Tally:
        """Give the tally that `state` was asked for.

        Args:
            state: What it gave.
        """
        tally = cls()
        tally._width, tally._count = state["width"], state["count"]
        tally._has_steps, tally._first = state["has_steps"], state["first"]
        tally._by_step = tuple(state["by_step"]) if state["by_step"] else None
        tally._by_time = tuple(state["by_time"]) if state["by_time"] else None
        tally._buckets = [_Bucket(*values) for values in state["buckets"]]
        return tally

    def plain(self) -> dict[str, Any]:
        """Give what is known, as JSON has it; NaN stays NaN."""
        buckets = self._in_order()
        low = _extreme(buckets, "least")
        high = _extreme(buckets, "greatest")
        last, last_step = self._end()
        first = buckets[0].least if self._width == 1 and buckets else self._first
        return {
            "points": self._count,
            "first": first,
            "last": last,
            "last_step": last_step,
            "least": low[0],
            "least_step": low[1],
            "greatest": high[0],
            "greatest_step": high[1],
            "parts": self._parts(buckets),
            "picture": _picture(buckets),
        }

    def _end(self) -> tuple[float, float | None]:
        if self._has_steps and self._by_step is not None:
            step, value = self._by_step
            return value, step
        assert self._by_time is not None
        return self._by_time[1], self._by_time[2]

    def _in_order(self) -> list[_Bucket]:
        """Give the buckets in the order of their steps, else of their times."""
        if self._has_steps:
            return sorted(self._buckets, key=lambda bucket: bucket.step or 0)
        return sorted(self._buckets, key=lambda bucket: bucket.timestamp)

    def _parts(self, buckets: list[_Bucket]) -> list[float]:
        if self._width == 1:
            return sampled([bucket.least for bucket in buckets], PARTS)
        return sampled([b.total / b.finite if b.finite else math.nan for b in buckets], PARTS)

    def _halve(self) -> None:
        pairs = zip(self._buckets[::2], self._buckets[1::2], strict=True)
        self._buckets = [_joined(one, two) for one, two in pairs]
        self._width *= 2


def sampled(values: Sequence[float], most: int) -> list[float]:
    """Give the mean of each of at most so many parts; NaN for a part without a finite value.

    Args:
        values: All of them, in order.
        most: How many to give at most.
    """
    if len(values) <= most:
        return list(values)
    bounds = [len(values) * part // most for part in range(most + 1)]
    return [_mean(values[a:b]) for a, b in pairwise(bounds)]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(value / len(finite) for value in finite) if finite else math.nan


def _put(bucket: _Bucket, step: float | None, value: float) -> None:
    bucket.count += 1
    if value - value != 0.0 and not math.isinf(value):
        return
    if value - value == 0.0:
        bucket.total += value
        bucket.finite += 1
    if not bucket.least <= value:
        bucket.least, bucket.least_step = value, step
    if not bucket.greatest >= value:
        bucket.greatest, bucket.greatest_step = value, step


def _put_many(bucket: _Bucket, steps: Sequence[float | None], values: Sequence[float]) -> None:
    total = sum(values)
    if total - total != 0.0:  # some of them are not finite
        for step, value in zip(steps, values, strict=True):
            _put(bucket, step, value)
        return
    bucket.count += len(values)
    bucket.total += total
    bucket.finite += len(values)
    low, high = min(values), max(values)
    if not bucket.least <= low:
        bucket.least, bucket.least_step = low, steps[values.index(low)]
    if not bucket.greatest >= high:
        bucket.greatest, bucket.greatest_step = high, steps[values.index(high)]


def _last_greatest(numbers: Sequence[float]) -> int:
    """Give the index of the greatest number, the last one of several."""
    greatest = max(numbers)
    return len(numbers) - 1 - next(i for i, n in enumerate(reversed(numbers)) if n == greatest)


def _joined(one: _Bucket, two: _Bucket) -> _Bucket:
    low = one if not two.least < one.least and not math.isnan(one.least) else two
    high = one if not two.greatest > one.greatest and not math.isnan(one.greatest) else two
    return _Bucket(
        count=one.count + two.count,
        total=one.total + two.total,
        finite=one.finite + two.finite,
        step=one.step,
        timestamp=one.timestamp,
        least=low.least,
        least_step=low.least_step,
        greatest=high.greatest,
        greatest_step=high.greatest_step,
    )


def _extreme(buckets: Iterable[_Bucket], name: str) -> tuple[float, float | None]:
    """Give the first of the lowest or highest finite values, with its step."""
    best: tuple[float, float | None] = math.nan, None
    for bucket in buckets:
        value = getattr(bucket, name)
        if not math.isfinite(value):
            continue
        is_better = value < best[0] if name == "least" else value > best[0]
        if math.isnan(best[0]) or is_better:
            best = value, getattr(bucket, f"{name}_step")
    return best


def _picture(buckets: list[_Bucket]) -> list[tuple[float, float]]:
    """Give the points of a picture: of each part the lowest and the highest."""
    if len(buckets) < 2:
        return []
    points = [
        (float(index if step is None else step), value)
        for index, bucket in enumerate(buckets)
        for step, value in sorted(
            {(bucket.least_step, bucket.least), (bucket.greatest_step, bucket.greatest)},
            key=lambda point: point[0] or 0,
        )
    ]
    if len(points) <= PICTURE:
        return points
    bounds = [len(points) * part * 2 // PICTURE for part in range(PICTURE // 2 + 1)]
    kept: list[tuple[float, float]] = []
    for start, end in pairwise(bounds):
        part = points[start:end]
        pair = {min(part, key=_value), max(part, key=_value)}
        kept += sorted(pair)
    return kept


def _value(point: tuple[float, float]) -> float:
    return point[1]
