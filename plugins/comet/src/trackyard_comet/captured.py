"""Which records do Comet's own calls become, as its file of messages tells them?

A thread of the SDK's writes that file, as soon as it can. What the SDK derives by itself, such as
the load of the machine, is left out, and so is what only Comet can show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import MODEL_FILE, Artifact, Metric, Param, Record, Tag, write_whole
from trackyard_comet.archive import native_messages, native_tags
from trackyard_comet.captured_tables import table_of
from trackyard_comet.histograms import portable_histogram
from trackyard_comet.messages import (
    CLOCKS,
    HTML,
    Message,
    html_of,
    is_number,
    is_of_command,
    number,
    records_of,
    without_own,
)

_OF_MACHINE = "sys."
_TEXT, _CODE, _MODEL = "text-sample", "source_code", "model-element"
# Uploads whose names have no suffix, though they are JSON.
_JSON = ("histogram3d", "curve")


def read_native(folder: Path, position: str, name: str) -> tuple[list[Record], str]:
    """Give what Comet's own calls have logged behind a position, and the position behind it.

    Args:
        folder: The tracker's folder of the run.
        position: How many messages are known, and which tags; an empty text at first.
        name: The run's name: another one that the code gives is a tag.
    """
    first, known_tags = json.loads(position) if position else (0, [])
    messages, tags = native_messages(folder, first), native_tags(folder)
    records: list[Record] = []
    for message in without_own(messages):
        if not is_of_command(message):
            records += _records(message, folder, name)
    if any(message.get("type") in HTML for message in messages):
        records.append(_page(folder))
    groups = [_group(message) for message in messages if _upload(message) == _MODEL]
    records += [_description(folder, group) for group in dict.fromkeys(groups)]
    if tags != known_tags:
        records.append(Tag("tags", ", ".join(tags)))
    return records, json.dumps([first + len(messages), tags])


def _records(message: Message, folder: Path, name: str) -> Iterator[Record]:
    for record in records_of([message]):
        match record:
            case Metric() if not _name_of(message).startswith(_OF_MACHINE):
                yield from _metrics(record, message)
            case Param() if record.key not in CLOCKS:
                yield attrs.evolve(record, key=record.key.replace("|", "."))
            case Tag("Name"):
                if record.value != name:
                    yield Tag("comet.name", record.value)
            case Tag():
                yield record
            case Artifact():
                yield from _artifact(record, message, folder)


def _name_of(message: Message) -> str:
    return str(message["payload"]["metric"]["metricName"])


def _metrics(metric: Metric, message: Message) -> Iterator[Metric]:
    """Give a point, and the epoch that it is of."""
    value, epoch = (message["payload"]["metric"].get(key) for key in ("metricValue", "epoch"))
    if not is_number(value):
        return  # Comet takes texts, too
    step = epoch if metric.step is None else metric.step
    yield attrs.evolve(metric, step=step)
    if epoch is not None:
        yield Metric("epoch", number(epoch), step, metric.timestamp)


def _artifact(artifact: Artifact, message: Message, folder: Path) -> Iterator[Artifact]:
    upload = _upload(message)
    if upload == _CODE or not artifact.path.is_file():
        return  # where a run comes from is known; a torn copy is that of a killed process
    options = message["payload"]["additional_params"]
    table = table_of(artifact.path.parent, upload, options.get("fileName") or "")
    if table is not None:
        name = f"{Path(artifact.name).with_suffix('')}.json"
        kind: Any = "table"
        yield attrs.evolve(
            artifact, name=name, path=table, kind=kind, media_type="application/json"
        )
    elif upload == _TEXT:
        name = f"texts/{message['payload']['message_id']}.txt"
        yield attrs.evolve(artifact, name=name, kind="text", media_type="text/plain")
    elif upload == _MODEL:
        yield attrs.evolve(artifact, name=f"{_folder_of(_group(message))}/{artifact.name}")
    elif upload == "histogram3d":
        place = _made(folder, f"{artifact.path.name}.json")
        path = portable_histogram(artifact.path, place)
        kind = "file" if path == artifact.path else "histogram"
        yield attrs.evolve(artifact, name=_suffixed(artifact, message), path=path, kind=kind)
    else:
        yield attrs.evolve(artifact, name=_suffixed(artifact, message))


def _suffixed(artifact: Artifact, message: Message) -> str:
    known = message["payload"]["additional_params"].get("extension") or ""
    suffix = "json" if _upload(message) in _JSON else known
    is_there = not suffix or artifact.name.lower().endswith(f".{suffix.lower()}")
    return artifact.name if is_there else f"{artifact.name}.{suffix}"


def _page(folder: Path) -> Artifact:
    """Give the HTML that calls have made so far."""
    path = _made(folder, "comet.html")
    write_whole(path, html_of(filter(None, native_messages(folder))))
    return Artifact("comet.html", path, "html", "text/html")


def _description(folder: Path, group: str) -> Artifact:
    """Give what describes a model, whose files the calls have logged so far."""
    found: dict[str, dict[str, Any]] = {}
    for message in native_messages(folder):
        if _upload(message) == _MODEL and _group(message) == group:
            name, path = (
                message["payload"]["additional_params"]["fileName"],
                Path(message["source"]),
            )
            if path.is_file():
                found[name] = _described(name, path)
    path = _made(folder, f"{hashlib.sha256(group.encode()).hexdigest()[:16]}.json")
    write_whole(path, json.dumps({"files": list(found.values())}))
    name = f"{_folder_of(group)}/{MODEL_FILE}"
    return Artifact(name, path, "model", "application/json")


def _described(name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": name, "sha256": digest, "size": file.tell()}


def _folder_of(group: str) -> str:
    return f"models/{group}"


def _group(message: Message) -> str:
    return str(message["payload"]["additional_params"].get("groupingName") or "model")


def _upload(message: Message) -> str | None:
    """Give the type of an upload; None for another message."""
    is_upload = message.get("type") == "file_upload"
    return message["payload"]["upload_type"] if is_upload else None


def _made(folder: Path, name: str) -> Path:
    """Give the place of a file that no call has written."""
    place = folder / "captured"
    place.mkdir(exist_ok=True)
    return place / name
