"""Which of the files that Comet's own calls upload are tables, and what is in them?

Comet uploads a table as CSV, HTML or the like, which tells neither its columns nor its types. What
a call of `log_table` gets is therefore noted before Comet has it, under the name of the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from trackyard.contract import write_whole

# Uploads that Comet makes of data; a file of the user's has others.
_UPLOADS = ("asset", "dataframe")


def note_table(folder: Path, name: str, data: Any, headers: Any) -> None:
    """Note what a call of `log_table` logs; that of a file of the user's is no table.

    Args:
        folder: Where Comet's calls write.
        name: The name of the file that Comet makes of it.
        data: Rows, or a frame of pandas.
        headers: Names of columns; True and False have Comet number them, or name none.
    """
    with suppress(Exception):  # Comet says itself what it cannot take
        content = json.dumps(_content(data, headers), default=str)
        place = _place(folder, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, content)


def table_of(folder: Path, upload: str | None, name: str) -> Path | None:
    """Give the file of a table, with columns and data in JSON, for an upload that is one.

    Args:
        folder: Where Comet's calls write.
        upload: The upload's type.
        name: Its name.
    """
    path = _place(folder, name)
    return path if upload in _UPLOADS and path.is_file() else None


def _content(data: Any, headers: Any) -> dict[str, Any]:
    if hasattr(data, "columns") and hasattr(data, "values"):
        names, rows = [str(name) for name in data.columns], data.values.tolist()
    else:
        rows = [[*row] if _is_row(row) else [row] for row in data]
        given = [] if isinstance(headers, bool) else [str(name) for name in headers]
        widest = max(map(len, rows), default=0)
        names = [*given, *(f"column{n}" for n in range(len(given) + 1, widest + 1))]
    return {"columns": names, "data": [[*map(_cell, row)] for row in rows]}


def _is_row(row: Any) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str | bytes)


def _cell(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    return str(plain) if isinstance(plain, float) and not math.isfinite(plain) else plain


def _place(folder: Path, name: str) -> Path:
    return folder / "tables" / f"{sha256(name.encode()).hexdigest()[:16]}.json"
