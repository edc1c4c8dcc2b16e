"""How does what Trackio's own calls wrote on this machine come to a server?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from trackyard.contract import Artifact, Record, Run
from trackyard_trackio.inline import inline_records
from trackyard_trackio.native import native_config
from trackyard_trackio.rows import Row, config_records, records_of
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


def read_native(
    run: Run, place: Place, local: LocalStore, position: str
) -> tuple[list[Record], str]:
    """Give what Trackio's own calls have logged behind a position, and the position behind it.

    A param that is set again has its first value: other trackers refuse a second one.

    Args:
        run: The run.
        place: Where it is.
        local: Where Trackio's own calls write.
        position: The last row and the names of the params that are known, as JSON.
    """
    row, names = json.loads(position) if position else (0, [])
    config = {key: v for key, v in native_config(run.folder).items() if key not in names}
    found = local.native_rows(place, row)
    records = list(config_records(config))
    for record in records_of(run.id, [each[:4] for each in found]):
        if isinstance(record, Artifact):
            path = local.folder / "media" / record.path
            if path.is_file():
                records.append(attrs.evolve(record, path=path))
        else:
            records.append(record)
    for each in found:
        inline = inline_records(each[:4], run.folder / "captured")
        records += [record for record in inline if isinstance(record, Artifact)]
    return records, json.dumps([found[-1][4] if found else row, [*names, *config]])
