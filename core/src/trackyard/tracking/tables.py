"""Which columns does a table have: a frame, an array, records, or lists by column?

Frames are read column by column, so that each keeps its own type, by the methods that they have;
no library of tables is imported here.
"""

from __future__ import annotations

from collections import UserString
from collections.abc import Iterable, Mapping
from typing import Any

from trackyard.system.coercing import to_text
from trackyard.tracking.arrays import (
    OTHER,
    Columns,
    by_position,
    frame_columns,
    index_columns,
    values_of,
)
from trackyard.tracking.plain_values import SAME_COLUMN, PlainValues

_TEXTS = (str, bytes, bytearray, UserString)


def plain_columns(table: Any, values: PlainValues) -> Columns:
    """Give the columns of what a user logs as a table, with plain values, of one length.

    Args:
        table: A frame, an array, a series, a dict of columns or of one row, or rows.
        values: Makes values plain, and notes what it changes.

    Raises:
        TypeError: It is none of these.
    """
    return made_plain(columns_of(table), values)


def made_plain(given: Columns, values: PlainValues) -> Columns:
    """Give columns with plain values, of one length.

    Args:
        given: The columns, as `columns_of` gives them.
        values: Makes values plain, and notes what it changes.
    """
    columns = [(to_text(name), values.plain(column)) for name, column in given]
    length = max((len(column) for _, column in columns), default=0)
    if any(len(column) < length for _, column in columns):
        values.note("columns of several lengths were filled up with null; give them one length")
    names = values.apart([name for name, _ in columns], SAME_COLUMN)
    return [
        (name, [*column, *[None] * (length - len(column))])
        for name, (_, column) in zip(names, columns, strict=True)
    ]


def columns_of(table: Any) -> Columns:
    """Give the names and values of a table's columns, the values as they are.

    Args:
        table: As above.

    Raises:
        TypeError: It is no table.
    """
    kind = type(table)
    if hasattr(kind, "collect") and hasattr(kind, "lazy"):  # a lazy frame of polars
        table = table.collect()
    for read in (frame_columns, _series, _mapping, _array):
        columns = read(table)
        if columns is not None:
            return columns
    if not isinstance(table, Iterable) or isinstance(table, _TEXTS):
        raise TypeError(_wrong(table))
    try:
        rows = list(table)
    except Warning as warning:  # a generator has no rows a second time
        raise TypeError(f"its rows end with {type(warning).__name__}: {warning}") from warning
    return _of_rows(rows)


def _series(table: Any) -> Columns | None:
    kind = type(table)
    if not hasattr(kind, "name") or not (hasattr(kind, "to_list") or hasattr(kind, "iloc")):
        return None
    name = "value" if table.name in (None, "") else table.name
    index = index_columns(table.index) if hasattr(kind, "iloc") else []
    return [*index, (name, list(values_of(table)))]


def _mapping(table: Any) -> Columns | None:
    if not isinstance(table, Mapping):
        return None
    columns = dict(table)
    are_lists = [_as_list(column) for column in columns.values()]
    if (columns and all(column is None for column in are_lists)) or None in are_lists:
        return [(name, [value]) for name, value in columns.items()]  # one row
    return [(n, c) for n, c in zip(columns, are_lists, strict=True) if c is not None]


def _as_list(column: Any) -> list[Any] | None:
    """Give the values of a column, or None where it is one value."""
    if isinstance(column, list | tuple | range):
        return list(column)
    if isinstance(column, (*_TEXTS, Mapping)):
        return None
    found = values_of(column)
    if found is OTHER and isinstance(column, Iterable):
        return list(column)
    return found if type(found) is list else None


def _array(table: Any) -> Columns | None:
    found = values_of(table)
    if type(found) is dict:  # a structured array, or a row of one
        return _mapping(found)
    if found is OTHER:
        return None
    if type(found) is not list:
        raise TypeError(_wrong(table))
    if found and type(found[0]) is list:
        return by_position(found)
    return [("value", found)]


def _of_rows(rows: list[Any]) -> Columns:
    values = PlainValues()
    fields = [values.fields(row) for row in rows]
    if all(field is not None for field in fields):
        records = [field for field in fields if field is not None]
        names = list(dict.fromkeys(name for record in records for name in record))
        return [(name, [record.get(name) for record in records]) for name in names]
    if any(field is not None for field in fields):
        raise TypeError(_wrong(rows))
    lists = [_as_list(row) for row in rows]
    if any(row is None for row in lists):
        raise TypeError(_wrong(rows))
    return by_position([row for row in lists if row is not None])


def _wrong(table: Any) -> str:
    return (
        f"a {type(table).__name__} is no table; give a frame, an array, a list of dicts or of "
        "lists, or a dict of columns"
    )
