"""How do files get into a store on this disk without being there twice?"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trackyard.contract import Artifact, put_file


def local_folder(uri: str) -> Path | None:
    """Give the folder that a place of files is; None where it is on a server.

    Args:
        uri: The place, as MLflow has it.
    """
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def is_put(artifact: Artifact, place: str) -> bool:
    """Put a file that is final into a store on this disk; False where MLflow has to copy it.

    MLflow would write into what is there, which may be a link to a final file by now: that is
    taken away before.

    Args:
        artifact: The file.
        place: Where the store keeps the run's files, as MLflow has it.
    """
    folder = local_folder(place)
    if folder is None:
        return False
    target = folder / artifact.name
    if artifact.is_final:
        put_file(artifact.path, target, by_link=True)
    elif target.is_file() and target.stat().st_nlink > 1:
        target.unlink()
    return artifact.is_final


def is_text_put(text: str, name: str, place: str) -> bool:
    """Write a text as a file into a store on this disk; False where MLflow has to send it.

    MLflow's own call asks the store for all of the run before, to learn of its place.

    Args:
        text: The text.
        name: Where it goes.
        place: Where the store keeps the run's files, as MLflow has it.
    """
    folder = local_folder(place)
    if folder is None or not folder.is_absolute():
        return False
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(text, encoding="utf-8")
    return True
