"""How does a file become one of W&B's images, tables or pages?"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any, Literal

from trackyard.contract import Artifact, replacing

ShownKind = Literal["image", "table", "html"]
# For each kind that W&B shows: its name there, and the ending of its files.
KINDS: dict[ShownKind, tuple[str, str]] = {
    "image": ("image-file", ""),
    "table": ("table-file", ".table.json"),
    "html": ("html-file", ".html"),
}
_FOLDERS = {"image": "images", "table": "table", "html": "html"}


def place_media(artifact: Artifact, kind: ShownKind, files: Path) -> dict[str, Any]:
    """Copy a file to where W&B looks for it, and give the value that stands in the history.

    Args:
        artifact: The artifact.
        kind: How W&B shows it.
        files: The run's folder `files`.
    """
    digest = hashlib.sha256(artifact.path.read_bytes()).hexdigest()
    type_, ending = KINDS[kind]
    ending = ending or artifact.path.suffix or ".png"
    stem = re.sub(r"[^A-Za-z0-9.-]", "_", Path(artifact.name).stem)[:60]
    path = f"media/{_FOLDERS[kind]}/{stem}_{digest[:20]}{ending}"
    place_file(artifact.path, files / path)
    value = {"_type": type_, "path": path, "sha256": digest, "size": artifact.path.stat().st_size}
    if kind == "image":
        return {**value, "format": ending.removeprefix("."), **_size(artifact.path)}
    if kind == "table":
        return {**value, "log_mode": "IMMUTABLE", **_shape(artifact.path)}
    return value


def place_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all.

    Args:
        source: The file.
        target: The copy; its folder is made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        shutil.copyfile(source, part)


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
