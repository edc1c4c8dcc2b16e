"""How do points that come by the hundred lie in one entry, metric by metric?

An import has whole histories: one entry for many points is a tenth of the work of one for each.
Who reads entries one by one gets them as log calls would have written them: numbers of one step
and time together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from trackyard.journal.encoding import encode_plain

# JSON has no name for these.
ODD_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Column(NamedTuple):
    """Points of one metric, in the order in which they were logged.

    Attributes:
        key: The metric.
        steps, values, timestamps: Of each point.
    """

    key: str
    steps: list[int | float | None]
    values: list[float]
    timestamps: list[int]


def odd_as_text(value: float) -> float | str:
    """Give a number as JSON has it, where one that is not finite is a text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def encode_columns(columns: Iterable[Column]) -> bytes:
    """Write columns as JSON.

    Args:
        columns: Of each metric one.
    """
    plain = [(*column[:2], _plain(column.values), column[3]) for column in columns]
    try:
        return encode_plain(plain)
    except (UnicodeEncodeError, OverflowError):  # lone surrogates, integers beyond 64 bits
        return json.dumps(plain).encode()


def _plain(values: list[float]) -> Sequence[float | str]:
    total = sum(values)
    if total - total == 0.0:
        return values
    return [odd_as_text(value) for value in values]


def decode_columns(plain: Any) -> list[Column]:
    """Read what `encode_columns` has written and JSON has decoded.

    Args:
        plain: The decoded JSON.

    Raises:
        ValueError: They are none.
    """
    columns = []
    for key, steps, values, timestamps in plain:
        numbers = [ODD_NUMBERS[v] if isinstance(v, str) else float(v) for v in values]
        if not len(steps) == len(numbers) == len(timestamps):
            raise ValueError("not as many steps or times as values")
        columns.append(Column(str(key), steps, numbers, timestamps))
    return columns


Row = tuple[int, int | float | None, dict[str, float]]
_Moment = tuple[int, int | float | None, type]


def rows_of(columns: Sequence[Column]) -> Iterator[Row]:
    """Give the points as log calls write them: of each call its time, its step and its numbers.

    Numbers of different metrics that share step and time come together, unless one of the metrics
    would come in another order by that.

    Args:
        columns: Of each metric one.
    """
    rows: dict[_Moment, dict[str, float]] = {}
    order: dict[_Moment, int] = {}
    alone: list[Column] = []
    for column in columns:
        moments = [
            (time, step, type(step))
            for step, time in zip(column.steps, column.timestamps, strict=True)
        ]
        if not _are_in(order, moments) or _has(rows, moments, column.key):
            alone.append(column)
            continue
        for moment, value in zip(moments, column.values, strict=True):
            if moment not in order:
                order[moment] = len(order)
            rows.setdefault(moment, {})[column.key] = value
    for (time, step, _), numbers in rows.items():
        yield time, step, numbers
    for key, steps, values, times in alone:
        for step, value, time in zip(steps, values, times, strict=True):
            yield time, step, {key: value}


def _are_in(order: dict[_Moment, int], moments: list[_Moment]) -> bool:
    """Tell whether moments are different ones, and none goes back behind one before it."""
    last, following = -1, len(order)
    for moment in moments:
        at = order.get(moment)
        if at is None:
            at, following = following, following + 1
        if at <= last:
            return False
        last = at
    return len({*moments}) == len(moments)


def _has(rows: dict[_Moment, dict[str, float]], moments: list[_Moment], key: str) -> bool:
    return any(key in rows.get(moment, ()) for moment in moments)
