"""Which values do arrays, series and frames of any library hold?

They are asked by the methods that their classes have; no library is imported here, but numpy by
`array_of`.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from trackyard.system.coercing import to_text

Columns: TypeAlias = list[tuple[Any, list[Any]]]

# The types of pandas that say NaN of what is missing, though it is no number.
_WITHOUT_NUMBERS = frozenset({"category", "str"})

# What `values_of` gives of a value that has none.
OTHER: Any = object()


def values_of(array: Any) -> Any:
    """Give the values of an array, a tensor or a series as a list, or as one value.

    Args:
        array: The array; of anything else that has none of its methods, `OTHER` is given.
    """
    kind, array = type(array), dense(array)
    dtype = None if hasattr(kind, "iloc") else getattr(array, "dtype", None)
    if getattr(dtype, "names", None):  # `tolist` would leave the names out
        return {name: values_of(array[name]) for name in array.dtype.names}
    if getattr(dtype, "kind", "") in ("m", "M"):  # `tolist` would give integers
        return dates_of(array.astype(str).tolist())
    for name in ("tolist", "to_list", "to_pylist", "as_py"):
        if hasattr(type(array), name) and kind is not memoryview:
            return cells_of(array, name)
    return OTHER


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor as torch has it; files have a method `detach`, too."""
    return hasattr(type(value), "detach") and hasattr(type(value), "cpu")


def dense(array: Any) -> Any:
    """Give a tensor that this machine's memory holds, and all of a sparse array; others as is."""
    if is_tensor(array):
        array = array.detach()
        return (array.to_dense() if getattr(array, "is_sparse", False) else array).cpu()
    return array.toarray() if hasattr(type(array), "toarray") else array


def for_numpy(array: Any) -> Any:
    """Give a tensor or a sparse array as numpy takes it; others as they are."""
    array = dense(array)
    dtype = to_text(getattr(array, "dtype", "")) if is_tensor(array) else ""
    return array.float() if "bfloat16" in dtype or "float8" in dtype else array


def array_of(value: Any, what: str, notes: list[str]) -> Any:
    """Give an array of numpy's, with zeros for what is masked.

    Args:
        value: An array, a tensor, or lists of numbers.
        what: What it is to be, such as "an image".
        notes: Gets what was changed.

    Raises:
        TypeError: numpy is not there, or it is no array.
    """
    try:
        import numpy
    except ImportError as error:
        raise TypeError(f"an array as {what} needs numpy; type: pip install numpy") from error
    array = for_numpy(value)
    if isinstance(array, numpy.ma.MaskedArray):
        count = int(numpy.sum(array.mask))
        if count:
            notes.append(f"{count} masked values of {what} became 0; fill them before")
        return array.filled(0)
    try:
        found = numpy.asarray(array)
    except ValueError:  # its rows differ in length
        found = numpy.array(None)
    if found.shape == ():
        mend = "give a path, the bytes of a file, or an array"
        raise TypeError(f"a {type(value).__name__} is not {what}; {mend}")
    return found


def cells_of(array: Any, name: str = "tolist") -> Any:
    """Give what an array's method of this name gives: None where a text or category is missing.

    Args:
        array: The array, index or series; pandas says NaN there, which is no text.
        name: The method.
    """
    cells = getattr(array, name)()
    if getattr(getattr(array, "dtype", None), "name", "") not in _WITHOUT_NUMBERS:
        return cells
    return [None if type(cell) is float and math.isnan(cell) else cell for cell in cells]


def dates_of(texts: Any) -> Any:
    """Give texts of dates, in lists as well, with None for what is no date."""
    if type(texts) is list:
        return [dates_of(text) for text in texts]
    return None if texts == "NaT" else texts


def frame_columns(table: Any) -> Columns | None:
    """Give the columns of a frame, each by itself, so that it keeps its type; None of others.

    Args:
        table: A frame of pandas, polars or Arrow, or another that gives its rows. What names the
            rows in a frame of pandas comes first, unless they are merely counted.
    """
    kind = type(table)
    if hasattr(kind, "to_pydict") and hasattr(kind, "column_names"):  # Arrow
        return [(n, c.to_pylist()) for n, c in zip(table.column_names, table.columns, strict=True)]
    if hasattr(kind, "iloc") and hasattr(kind, "columns"):  # pandas
        columns = [
            (name, cells_of(table.iloc[:, number])) for number, name in enumerate(table.columns)
        ]
        return [*index_columns(table.index), *columns]
    if hasattr(kind, "get_columns"):  # polars
        return [(series.name, series.to_list()) for series in table.get_columns()]
    if hasattr(kind, "to_dict") and hasattr(kind, "columns"):
        rows = table.values.tolist() if hasattr(table, "values") else table.rows()
        return by_position([list(row) for row in rows], [*table.columns])
    return None


def index_columns(index: Any) -> Columns:
    """Give what names rows in pandas, where these are not merely counted."""
    if type(index).__name__ == "RangeIndex":
        return []
    names = [
        name if name is not None else ("index" if index.nlevels == 1 else f"level_{level}")
        for level, name in enumerate(index.names)
    ]
    return [(name, cells_of(index.get_level_values(level))) for level, name in enumerate(names)]


def by_position(rows: list[list[Any]], names: list[Any] | None = None) -> Columns:
    """Give the columns of rows; what a shorter row lacks is null.

    Args:
        rows: The cells of each row.
        names: Of the columns; their numbers by default.
    """
    width = max((len(row) for row in rows), default=0)
    names = names or list(range(width))
    return [
        (name, [row[number] if number < len(row) else None for row in rows])
        for number, name in enumerate(names)
    ]
