"""How does what Trackio's own calls wrote on this machine come to a server?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from trackyard.contract import Run
from trackyard_trackio.rows import Row
from trackyard_trackio.storing import LocalStore, Place, RemoteStore

_NOTE = "native.json"


def forward_native(
    run: Run, place: Place, local: LocalStore, remote: RemoteStore, config: Mapping[str, Any]
) -> None:
    """Send rows that are new since the last time, with their media.

    Rows keep their ids, so that the server drops what it has already.

    Args:
        run: The run; its folder keeps how far this has come.
        place: Where it is.
        local: Where Trackio's own calls write.
        remote: The server.
        config: The run's config.
    """
    note = run.folder / _NOTE
    first = int(json.loads(note.read_text())) if note.exists() else 0
    found = local.native_rows(place, first)
    if not found:
        return
    rows = []
    for id_, step, _, text, _ in found:
        values = json.loads(text)
        for path in _media(values):
            remote.save_native(place, local.folder / "media" / path, path)
        rows.append(Row(id_, step, 0, values))
    remote.write(place, rows, config)
    note.write_text(json.dumps(found[-1][4]))


def _media(value: Any) -> Iterator[str]:
    """Name the files in the values of a row, wherever they are in tables and lists."""
    if isinstance(value, dict):
        if str(value.get("_type", "")).startswith("trackio.") and value.get("file_path"):
            yield str(value["file_path"])
        for nested in value.values():
            yield from _media(nested)
    elif isinstance(value, list):
        for nested in value:
            yield from _media(nested)
