"""How does a table become a file of Parquet, with each column's own type and without secrets?"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackyard.redaction.redactor import Redactor
from trackyard.redaction.secret_shapes import is_secret_name
from trackyard.tracking.plain_values import SAME_COLUMN, PlainValues
from trackyard.tracking.tables import columns_of, made_plain

# What Arrow has a type of its own for, and JSON holds as text.
_TYPED = frozenset({bytes, date, datetime, time, timedelta, Decimal})

if TYPE_CHECKING:
    import pyarrow


def save_parquet(table: Any, path: Path, redactor: Redactor, values: PlainValues) -> None:
    """Write a table as Parquet.

    Args:
        table: What `plain_columns` takes.
        path: The file.
        redactor: Keeps secrets out of it.
        values: Makes values plain that Arrow has no type for, and notes what it changes.

    Raises:
        TypeError: pyarrow is not there, or it is no table.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise TypeError("Parquet needs pyarrow; type: pip install 'trackyard[parquet]'") from error
    found = _redacted(_arrow(table, values), redactor)
    pyarrow.parquet.write_table(found, path)


def _arrow(table: Any, values: PlainValues) -> pyarrow.Table:
    import pyarrow

    table = _as_frame(table)
    kind = type(table)
    try:
        if isinstance(table, pyarrow.Table):
            return table.rename_columns(values.apart(table.column_names, SAME_COLUMN))
        if hasattr(kind, "to_arrow") and "Object" not in map(str, getattr(table, "dtypes", ())):
            return table.to_arrow()  # which would give addresses of Python's objects
        if hasattr(kind, "iloc") and hasattr(kind, "columns"):
            return pyarrow.Table.from_pandas(table)
    except (pyarrow.ArrowException, TypeError, ValueError):
        pass  # a column has values of several types
    given = columns_of(table)
    columns = made_plain(given, values)
    own: list[Any] = [cells for _, cells in given]
    if hasattr(kind, "iloc") and hasattr(kind, "columns"):  # each column may have a type of its own
        width = len(table.columns)
        own[len(own) - width :] = [table.iloc[:, number] for number in range(width)]
    return pyarrow.table(
        {
            name: _column(name, cells, as_given, values)
            for (name, cells), as_given in zip(columns, own, strict=True)
        }
    )


def _as_frame(table: Any) -> Any:
    """Give the frame that a lazy frame or a series of pandas or polars stands for."""
    kind = type(table)
    if hasattr(kind, "collect") and hasattr(kind, "lazy"):
        return table.collect()
    is_series = hasattr(kind, "to_frame") and (hasattr(kind, "iloc") or hasattr(kind, "to_arrow"))
    if is_series and not hasattr(kind, "columns"):
        return table.to_frame("value" if table.name in (None, "") else table.name)
    return table


def _column(name: str, cells: list[Any], given: Any, values: PlainValues) -> pyarrow.Array:
    """Give a column of plain values, or of what Arrow has a type for and JSON has not."""
    import pyarrow

    if hasattr(type(given), "iloc"):
        try:
            return pyarrow.Array.from_pandas(given)
        except (pyarrow.ArrowException, TypeError, ValueError):
            pass
    kinds = set(map(type, given)) - {type(None)} if type(given) is list else set[type]()
    if len(kinds) == 1 and kinds <= _TYPED:
        try:
            return pyarrow.array([*given, *[None] * (len(cells) - len(given))])
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            pass  # such as a year that 64 bits of microseconds have not
    for kind in (None, pyarrow.uint64()):  # which Arrow does not choose by itself
        try:
            return pyarrow.array(cells, kind)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            continue
    values.note(f"column {name!r} holds several types and became texts; name it .json")
    return pyarrow.array([None if cell is None else str(cell) for cell in cells])


def _redacted(table: pyarrow.Table, redactor: Redactor) -> pyarrow.Table:
    for number, field in enumerate(table.schema):
        column = table.column(number)
        kept = _without_secrets(column, redactor, is_secret=is_secret_name(field.name))
        if kept is not column:
            table = table.set_column(number, field.name, kept)
    names = redactor.redact_texts(table.column_names)
    if names == table.column_names:
        return table
    return table.rename_columns(names).replace_schema_metadata(None)  # pandas' has them, too


def _without_secrets(column: Any, redactor: Redactor, *, is_secret: bool) -> Any:
    """Give a column without secrets: itself where it holds none."""
    import pyarrow

    kinds = pyarrow.types
    if kinds.is_nested(column.type):
        cells = _with_dicts(column.to_pylist())
        kept = redactor.redact_columns([("password" if is_secret else "", cells)])[0][1]
        kept = redactor.redact_nested(kept)
        if kept == cells:
            return column
        try:
            return pyarrow.array(kept, column.type)
        except (pyarrow.ArrowException, TypeError, ValueError):  # a secret was no text
            return pyarrow.array(kept)
    texts = column
    if kinds.is_dictionary(column.type):
        texts = column.cast(column.type.value_type)
    if kinds.is_string_view(texts.type):  # which has no search
        texts = texts.cast(pyarrow.large_string())
    if not (kinds.is_string(texts.type) or kinds.is_large_string(texts.type)):
        return column
    kept = _hidden(texts) if is_secret else _searched(texts, redactor)
    return column if kept is texts else kept


def _with_dicts(cells: Any) -> Any:
    """Give nested cells with a dict for each map, whose keys then say what is secret."""
    if type(cells) is dict:
        return {key: _with_dicts(cell) for key, cell in cells.items()}
    if type(cells) is not list:
        return cells
    if cells and all(type(cell) is tuple for cell in cells):  # Arrow gives such of maps alone
        return {key: _with_dicts(cell) for key, cell in cells}
    return [_with_dicts(cell) for cell in cells]


def _hidden(texts: Any) -> Any:
    import pyarrow
    from pyarrow import compute

    return compute.if_else(texts.is_null(), texts, pyarrow.scalar("***", texts.type))


def _searched(texts: Any, redactor: Redactor) -> Any:
    """Search by Arrow, which reads a column once; Python would read it once for each word."""
    import pyarrow
    from pyarrow import compute

    found = compute.match_substring_regex(texts, redactor.suspicious)
    odd = compute.fill_null(found, False)
    suspects = texts.filter(odd).to_pylist()
    kept = redactor.redact_texts(suspects) if suspects else []
    if kept == suspects:
        return texts
    new = pyarrow.array(kept, texts.type)
    return compute.replace_with_mask(texts.combine_chunks(), odd.combine_chunks(), new)
