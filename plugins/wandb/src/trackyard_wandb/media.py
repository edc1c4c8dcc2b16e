"""How does a file become one of W&B's images, tables or pages?"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trackyard.contract import Artifact, Histogram, put_file

ShownKind = Literal["image", "table", "html", "audio", "video"]
# For each kind that W&B shows: its name there, and the ending of its files.
KINDS: dict[ShownKind, tuple[str, str]] = {
    "image": ("image-file", ""),
    "table": ("table-file", ".table.json"),
    "html": ("html-file", ".html"),
    "audio": ("audio-file", ""),
    "video": ("video-file", ""),
}
_FOLDERS = {
    "image": "images", "table": "table", "html": "html", "audio": "audio", "video": "videos",
}  # fmt: skip
HISTOGRAM = "histogram"
# W&B draws no more bars.
_MOST_BARS = 512


def shown_value(artifact: Artifact, files: Path) -> dict[str, Any] | None:
    """Give the value that shows an artifact in the history; None where W&B shows none such.

    Args:
        artifact: The artifact.
        files: The run's folder `files`, where a copy is put.
    """
    if artifact.kind == HISTOGRAM:
        return _histogram_value(artifact)
    kind = next((kind for kind in KINDS if kind == artifact.kind), None)
    return None if kind is None else _place_media(artifact, kind, files)


def _place_media(artifact: Artifact, kind: ShownKind, files: Path) -> dict[str, Any]:
    digest = hashlib.sha256(artifact.path.read_bytes()).hexdigest()
    type_, ending = KINDS[kind]
    ending = ending or artifact.path.suffix or ".png"
    path = f"media/{_FOLDERS[kind]}/{_stem_of(artifact.name)}_{digest[:20]}{ending}"
    place_file(artifact.path, files / path)
    value = {"_type": type_, "path": path, "sha256": digest, "size": artifact.path.stat().st_size}
    if kind == "image":
        return {**value, "format": ending.removeprefix("."), **_size(artifact.path)}
    if kind == "table":
        return {**value, "log_mode": "IMMUTABLE", **_shape(artifact.path)}
    return value


def is_placed_by_tracker(name: str, path: str) -> bool:
    """Say whether a shown file is one that the tracker has placed, whose column is its whole name.

    W&B's own calls put a step between the column and the digest, and their columns have no ending.

    Args:
        name: The column in the history.
        path: The file below the run's folder `files`.
    """
    own = rf"{re.escape(_stem_of(name))}_[0-9a-f]{{20}}\.[^/]*"
    return re.fullmatch(own, Path(path).name) is not None


def _stem_of(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", Path(name).stem)[:60]


def _histogram_value(artifact: Artifact) -> dict[str, Any] | None:
    """Give the value of a histogram in the history; None where it has more bars than W&B draws."""
    histogram = Histogram.read(artifact.path)
    if len(histogram.counts) > _MOST_BARS:
        return None
    return {"_type": HISTOGRAM, "values": list(histogram.counts), "bins": list(histogram.edges)}


def histogram_file(value: Mapping[str, Any], folder: Path) -> Path | None:
    """Give the file of a histogram that stands in the history; None where it is of another form.

    Args:
        value: Its value there.
        folder: Where the file is written.
    """
    edges = value.get("bins")
    if edges is None and "packedBins" in value:
        packed = value["packedBins"]
        edges = [packed["min"] + number * packed["size"] for number in range(packed["count"] + 1)]
    if edges is None:
        return None
    text = Histogram(tuple(value["values"]), tuple(edges)).to_json()
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def place_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all.

    Args:
        source: The file.
        target: The copy; its folder is made.
    """
    put_file(source, target)


def _size(path: Path) -> dict[str, int]:
    """Give the size of a PNG; W&B finds it itself for other images."""
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        return {}
    width, height = struct.unpack(">II", head[16:24])
    return {"width": width, "height": height}


def _shape(path: Path) -> dict[str, int]:
    try:
        table = json.loads(path.read_bytes())
        return {"ncols": len(table["columns"]), "nrows": len(table["data"])}
    except (ValueError, KeyError, TypeError):  # another program's table
        return {}
