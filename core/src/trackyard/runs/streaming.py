"""How are all points of a run given one after the other, in little memory?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from operator import le
from typing import IO, Self

from trackyard.journal.columns import Column
from trackyard.runs.curves import Curve
from trackyard.runs.histories import LateCurves

# Characters that are held before they are written to a file.
_MOST = 4 * 1024 * 1024
# Points of a curve that are given at once.
_AT_ONCE = 4096


def columns_in_order(curves: Mapping[str, Curve]) -> Iterator[Column]:
    """Give all points, some of a metric at a time, those of each in the order of its curve.

    A journal is read twice rather than held; a metric whose points were logged in another order,
    as by several processes, is held.

    Args:
        curves: The run's.
    """
    if not isinstance(curves, LateCurves):
        for curve in curves.values():
            yield from _parts_of(curve)
        return
    orders: dict[str, _Order] = {}
    for column in curves.columns():
        orders.setdefault(column.key, _Order()).look_at(column)
    in_order = {key for key, order in orders.items() if order.is_kept}
    for column in curves.columns():
        if column.key in in_order:
            yield column
    for key in orders.keys() - in_order:
        if key in curves:
            yield from _parts_of(curves[key])


def _parts_of(curve: Curve) -> Iterator[Column]:
    for start in range(0, len(curve), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield Column(curve.key, curve.steps[part], curve.values[part], curve.timestamps[part])


class _Order:
    """Tells whether the points of a metric come in the order of their curve."""

    def __init__(self) -> None:
        self._has_steps = True
        self._by_step = self._by_time = True
        self._last: tuple[float, int] | None = None

    @property
    def is_kept(self) -> bool:
        """They do: by their steps where each has one, else by their times."""
        return self._by_step if self._has_steps else self._by_time

    def look_at(self, column: Column) -> None:
        """Look at the next points."""
        steps, times = column.steps, column.timestamps
        self._by_time &= _ascends(times) and (self._last is None or self._last[1] <= times[0])
        if self._has_steps and None not in steps:
            known: Sequence[float] = steps  # type: ignore[assignment]
            self._by_step &= _ascends(known) and (self._last is None or self._last[0] <= known[0])
            self._last = known[-1], times[-1]
        else:
            self._has_steps = False
            self._last = 0, times[-1]


def _ascends(numbers: Sequence[float]) -> bool:
    return all(map(le, numbers, islice(numbers, 1, None)))


class Spool:
    """Keeps texts by name in a file, until they are wanted name by name."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115 - `__exit__` closes it
            "w+", encoding="utf-8"
        )
        self._held: dict[str, list[str]] = {}
        self._size = 0
        self._places: dict[str, list[tuple[int, int]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, name: str, text: str) -> None:
        """Add to a name's text.

        Args:
            name: The name.
            text: What is added.
        """
        self._held.setdefault(name, []).append(text)
        self._size += len(text)
        if self._size >= _MOST:
            self._write()

    def texts(self, name: str) -> Iterator[str]:
        """Give what was added under a name, in its order."""
        self._write()
        for place, length in self._places.get(name, ()):
            self._file.seek(place)
            yield self._file.read(length)

    def _write(self) -> None:
        for name, texts in self._held.items():
            text = "".join(texts)
            self._file.seek(0, 2)
            self._places.setdefault(name, []).append((self._file.tell(), len(text)))
            self._file.write(text)
        self._held, self._size = {}, 0
