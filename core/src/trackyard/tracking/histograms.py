"""How do values become a histogram: counts, and the edges that they lie between?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from trackyard.contract.kinds import Histogram
from trackyard.system.coercing import to_number, to_step, to_text
from trackyard.tracking.arrays import OTHER, for_numpy, values_of
from trackyard.tracking.media import SavedFile

_MOST_BINS = 10_000


def save_histogram(values: Any, path: Path, *, bins: int, edges: Any) -> SavedFile:
    """Write a histogram as JSON.

    Args:
        values: Numbers; counts where edges are given; or what `numpy.histogram` gives.
        path: The file.
        bins: How many parts to make.
        edges: The edges of counts, or None.

    Raises:
        ValueError: There is no number among them, or counts and edges do not fit.
    """
    notes: list[str] = []
    if edges is None and _is_pair(values):
        values, edges = values
    if edges is None:
        wanted = to_step(bins)
        if wanted is None:
            raise ValueError(f"bins is {to_text(bins)[:50]}; give a whole number, such as 64")
        used = max(1, min(int(wanted), _MOST_BINS))
        if used != bins:
            notes.append(f"{bins} parts became {used}; give bins from 1 to {_MOST_BINS}")
        found = _histogram_of(values, used, notes)
    else:
        found = _given(values, edges)
    path.write_text(found.to_json(), encoding="utf-8")
    return SavedFile(path, "histogram", "application/json", tuple(notes))


def _is_pair(values: Any) -> bool:
    """Tell whether these are two arrays, of counts and edges, as `numpy.histogram` gives them."""
    if type(values) is not tuple or len(values) != 2:
        return False
    sizes = [len(part) if hasattr(part, "__len__") else 0 for part in values]
    return sizes[1] == sizes[0] + 1


def _given(counts: Any, edges: Any) -> Histogram:
    found = Histogram(tuple(_numbers(counts)), tuple(_numbers(edges)))
    if len(found.edges) != len(found.counts) + 1:
        raise ValueError(
            f"{len(found.counts)} counts have {len(found.counts) + 1} edges, not {len(found.edges)}"
        )
    if not all(map(math.isfinite, (*found.counts, *found.edges))):
        raise ValueError("counts and edges are finite numbers")
    if any(low >= high for low, high in pairwise(found.edges)):
        raise ValueError("edges rise, each beyond the one before")
    return found


def _histogram_of(values: Any, bins: int, notes: list[str]) -> Histogram:
    array = _array_of(values)
    if array is not None:
        return _of_array(array, bins, notes)
    numbers = [float(number) for number in _numbers(values)]
    finite = [number for number in numbers if math.isfinite(number)]
    _check(len(numbers), len(finite), notes)
    low, high = _range(min(finite), max(finite))
    counts = [0] * bins
    for number in finite:
        counts[min(int((number - low) / (high - low) * bins), bins - 1)] += 1
    step = (high - low) / bins
    return Histogram(tuple(counts), (*(low + step * number for number in range(bins)), high))


def _array_of(values: Any) -> Any:
    """Give values as an array of numpy's, where they are one or become one at no cost."""
    values = for_numpy(values)
    kind = type(values)
    if not hasattr(kind, "__array__"):
        return None
    import numpy

    array_of = numpy.ma.asanyarray if hasattr(kind, "mask") else numpy.asarray  # keeps gaps
    return array_of(values).reshape(-1)


def _of_array(array: Any, bins: int, notes: list[str]) -> Histogram:
    import numpy

    if array.dtype.kind == "c":
        raise ValueError("complex numbers have no order; give abs() of them, or each part")
    if array.dtype.kind in "mM":
        raise ValueError("dates and times are no numbers; give numbers, such as seconds")
    numbers = numpy.ma.filled(array.astype("float64"), math.nan)
    finite = numbers[numpy.isfinite(numbers)]
    _check(len(numbers), len(finite), notes)
    limits = _range(float(finite.min()), float(finite.max()))
    counts, edges = numpy.histogram(finite, bins=bins, range=limits)
    return Histogram(tuple(counts.tolist()), tuple(edges.tolist()))


def _check(count: int, finite: int, notes: list[str]) -> None:
    if not finite:
        raise ValueError("there is no number among the values")
    if finite < count:
        notes.append(f"{count - finite} values that are NaN or infinite were left out")


def _range(low: float, high: float) -> tuple[float, float]:
    """Give the limits of the values, apart from each other, as numpy does."""
    if not math.isfinite(high - low):
        raise ValueError(f"values from {low:g} to {high:g} lie too far apart; give their logarithm")
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _numbers(values: Any) -> list[float]:
    """Give the numbers in lists of lists, integers as they are."""
    found = values_of(values)
    values = values if found is OTHER else found
    if isinstance(values, Iterable) and not isinstance(values, str | bytes):
        parts = ([v] if type(v) in (int, float) else _numbers(v) for v in values)
        return [number for part in parts for number in part]
    number = values if type(values) in (int, float) else to_number(values)
    if number is None:
        raise ValueError(f"{to_text(values)[:50]} is no number")
    return [number]
