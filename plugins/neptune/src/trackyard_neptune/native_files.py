"""Which artifacts are the series, sets of files and data that Neptune's own calls log?"""

from __future__ import annotations

import base64
import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackyard.contract import Artifact, Dataset

_SUFFIXES = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"GIF8": "gif"}


def native_files(operation: dict[str, Any], scratch: Path) -> Iterator[Artifact]:
    """Give the artifacts of an operation; none of one that logs something else.

    Args:
        operation: The operation.
        scratch: Where files are written.
    """
    name = "/".join(operation["path"])
    match operation["type"]:
        case "LogStrings":
            for value in operation["values"]:
                words = str(value["value"]).encode("utf-8", "backslashreplace")
                yield _of_series(f"{name}.txt", words, value, scratch)
        case "LogImages":
            for value in operation["values"]:
                if value["value"].get("data"):
                    data = base64.b64decode(value["value"]["data"])
                    yield _of_series(f"{name}.{_suffix(data)}", data, value, scratch)
        case "UploadFileSet":
            files = sorted(_matching(operation["file_globs"]))
            top = os.path.commonpath([file.parent for file in files]) if files else ""
            for file in files:
                yield Artifact(f"{name}/{file.relative_to(top).as_posix()}", file, "file")
        case "TrackFilesToArtifact":
            source = ", ".join(str(path) for path, _ in operation["entries"])
            text = Dataset(name=name, source=source).to_json()
            path = _written(text.encode(), "json", scratch)
            yield Artifact(f"{Dataset.folder}/{name}.json", path, "dataset", "application/json")


def _of_series(name: str, data: bytes, value: dict[str, Any], scratch: Path) -> Artifact:
    suffix = name.rpartition(".")[2]
    path = _written(data, suffix, scratch)
    kind: Any = "text" if suffix == "txt" else "image"
    media_type = "text/plain" if suffix == "txt" else f"image/{suffix.replace('jpg', 'jpeg')}"
    moment = round(value["ts"] * 1e6) * 1000
    return Artifact(name, path, kind, media_type, value.get("step"), moment)


def _suffix(data: bytes) -> str:
    return next((suffix for start, suffix in _SUFFIXES.items() if data.startswith(start)), "png")


def _matching(patterns: list[str]) -> set[Path]:
    """Give the files of patterns; a folder stands for all below it, as in Neptune."""
    names = (name for pattern in patterns for name in glob.glob(pattern, recursive=True))  # noqa: PTH207 - patterns are absolute
    found = set(map(Path, names))
    below = {path for folder in found if folder.is_dir() for path in folder.rglob("*")}
    return {path.absolute() for path in found | below if path.is_file()}


def _written(data: bytes, suffix: str, scratch: Path) -> Path:
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
    path.write_bytes(data)
    return path
