"""How is a table written to a Parquet file in little memory?

Columns are handed over as buffers: pyarrow asks pandas about lists, whose import alone takes 50 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from trackyard.contract.errors import TrackyardError


def write_parquet(
    file: Path, parts: Iterable[Mapping[str, Sequence[Any]]], columns: Mapping[str, str]
) -> None:
    """Write a table, each part of it as a group of rows.

    Args:
        file: The file, which is replaced.
        parts: Of each column the values, by its name; None where there is none.
        columns: What each column holds: `text`, `number`, or `time` in nanoseconds since the epoch.

    Raises:
        TrackyardError: It needs pyarrow, which is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise TrackyardError(
            "Parquet needs pyarrow; type: pip install 'trackyard[parquet]'"
        ) from error
    kinds = {
        "text": pyarrow.string(),
        "number": pyarrow.float64(),
        "time": pyarrow.timestamp("ns", tz="UTC"),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])

    def made(kind: str, values: Sequence[Any]) -> Any:
        buffers = [
            data if data is None else pyarrow.py_buffer(data) for data in _buffers(kind, values)
        ]
        return pyarrow.Array.from_buffers(kinds[kind], len(values), buffers)

    # A dictionary of what comes once is of no use, and is held.
    repeated = [name for name, kind in columns.items() if kind == "text"]
    with parquet.ParquetWriter(file, schema, use_dictionary=repeated) as writer:
        for part in parts:
            arrays = [made(kind, part[name]) for name, kind in columns.items()]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _buffers(kind: str, values: Sequence[Any]) -> list[Any]:
    """Give the buffers of an array of Arrow: which values there are, and what they are."""
    if kind != "text":
        code = "d" if kind == "number" else "q"
        return [_there(values), array(code, [0 if value is None else value for value in values])]
    texts = [b"" if value is None else value.encode(errors="replace") for value in values]
    ends = array("i", accumulate(map(len, texts), initial=0))
    return [_there(values), ends, b"".join(texts)]


def _there(values: Sequence[Any]) -> bytes | None:
    """Give a bit for each value, the first one the lowest of the first byte; None for all ones."""
    if None not in values:
        return None
    bits = "".join(["0" if value is None else "1" for value in reversed(values)])
    return int(bits, 2).to_bytes((len(values) + 7) // 8, "little")
