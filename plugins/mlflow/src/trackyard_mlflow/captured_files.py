"""Which artifacts of a run are the files, images and models that MLflow's own calls log?"""

from __future__ import annotations

import hashlib
import json
import logging
import mimetypes
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from trackyard.contract import MODEL_FILE, Artifact, Record
from trackyard_mlflow.kinds import MODEL_ID, has_table

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

logger = logging.getLogger("trackyard")

_MILLISECOND = 1_000_000
# The flavor of MLflow's that each model has besides its own.
_GENERIC = "python_function"


def files_of(path: Path, name: PurePosixPath) -> list[Record]:
    """Give a file, or those of a folder, by what their suffixes say.

    Args:
        path: The file or folder.
        name: Its place in the run.
    """
    return [_artifact(file, place) for file, place in _files(path, name)]


def image_of(
    image: Any, key: str, step: int | None, timestamp: int | None, folder: Path
) -> Artifact:
    """Give an image of a series.

    Args:
        image: As `mlflow.log_image` takes it.
        key: The series.
        step: Its step there.
        timestamp: Its time there, in milliseconds.
        folder: Where its file is written.
    """
    from mlflow import Image

    path = folder / "image.png"
    (image if hasattr(image, "save") else Image(image)).save(str(path))
    moment = timestamp * _MILLISECOND if timestamp else time.time_ns()
    return Artifact(f"{key}.png", path, "image", "image/png", step or 0, moment)


def files_of_model(model: LoggedModel, path: Path, place: str | None, folder: Path) -> list[Record]:
    """Give the files of a model, and where they are all of it, what describes it.

    Args:
        model: MLflow's object of it.
        path: The file or folder that was logged.
        place: Its folder in the model.
        folder: Where the file is written that describes it.
    """
    name = model.name or model.model_id
    top = PurePosixPath(name, place or "")
    files = _files(path, top if path.is_dir() else top / path.name)
    records: list[Record] = [Artifact(at, file, "model") for file, at in files]
    if place or not path.is_dir():
        return records
    described = {**_said_of(path), "files": [_described(file, path) for file, _ in files]}
    described[MODEL_ID] = model.model_id
    about = folder / MODEL_FILE
    about.write_text(json.dumps(described), encoding="utf-8")
    return [*records, Artifact(f"{name}/{MODEL_FILE}", about, "model", "application/json")]


def _files(path: Path, name: PurePosixPath) -> list[tuple[Path, str]]:
    if not path.is_dir():
        return [(path, str(name))]
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return [(file, str(name / file.relative_to(path))) for file in files]


def _artifact(file: Path, name: str) -> Artifact:
    media_type = mimetypes.guess_type(name)[0]
    family = (media_type or "").partition("/")[0]
    kind: Any = family if family in ("image", "text", "audio", "video") else "file"
    if media_type == "text/html":
        kind = "html"
    elif media_type == "application/json" and has_table(file):
        kind = "table"
    return Artifact(name, file, kind, media_type)


def _said_of(folder: Path) -> dict[str, Any]:
    """Give framework and signature of a model, where MLflow can read its description."""
    from mlflow.models import Model

    try:
        model = Model.load(str(folder))
        signature = model.signature.to_dict() if model.signature else None
    except Exception as error:  # its files are captured all the same
        logger.debug("%s: what MLflow says of the model cannot be read: %s", folder, error)
        return {}
    frameworks = [name for name in model.flavors or {} if name != _GENERIC]
    return {"framework": next(iter(frameworks), _GENERIC), "signature": signature}


def _described(file: Path, folder: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        name = file.relative_to(folder).as_posix()
        return {"name": name, "sha256": digest, "size": opened.tell()}
