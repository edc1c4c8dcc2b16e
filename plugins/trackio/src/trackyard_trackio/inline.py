"""What does a row of Trackio's hold itself, without a file?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from trackyard.contract import Artifact, Histogram, ImportNote
from trackyard_trackio.rows import logged_values, nanoseconds_of


def inline_records(row: tuple[Any, ...], scratch: Path) -> Iterator[Artifact | ImportNote]:
    """Give the histograms, tables and texts of a row, and a note of what has no portable form.

    Args:
        row: Its id, step, time and values in JSON.
        scratch: Where files are written.
    """
    _, step, time, text = row
    for key, value in logged_values(text):
        if not isinstance(value, dict) or "file_path" in value:
            continue
        kind = str(value.get("_type", "")).removeprefix("trackio.")
        content: str | None = None
        found: Any = {"histogram": "histogram", "table": "table", "markdown": "text"}.get(kind)
        if kind == "histogram" and len(value.get("bins") or ()) == len(value["values"]) + 1:
            content = Histogram(tuple(value["values"]), tuple(value["bins"])).to_json()
        elif kind == "table" and isinstance(value.get("_value"), list):
            lines = [line for line in value["_value"] if isinstance(line, dict)]
            columns = list(dict.fromkeys(column for line in lines for column in line))
            data = [[line.get(column) for column in columns] for line in lines]
            content = json.dumps({"columns": columns, "data": data})
        elif kind == "markdown":
            content = str(value.get("_value", ""))
        if content is None:
            yield ImportNote(f"{kind} {key}")
            continue
        suffix = ".md" if kind == "markdown" else ".json"
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / f"{crc32(content.encode()):08x}{suffix}"
        path.write_text(content, encoding="utf-8")
        yield Artifact(f"{key}{suffix}", path, found, None, step, nanoseconds_of(time) or 0)
