"""What does the driver's machine do with the journals that other machines ship to it?

A `Receiver` is a Ray actor on the driver's node. It keeps nothing in its memory, so that Ray may
restart it: how far a file has come is its length, and when a node was last heard is the time of a
file. What is shipped twice changes nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from trackyard.files import make_private_folder, open_private
from trackyard.journal.blobs import Blobs

_HEARD = "node.heard"


class Receiver:
    """Writes what is shipped into the driver's runs."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def sees_runs(self) -> bool:
        """Tell whether this machine has the driver's runs."""
        return self._runs.is_dir()

    def hear(self, run_id: str, node: str) -> None:
        """Note that a node is about to write a run, or still does."""
        path = make_private_folder(self._runs / run_id) / _HEARD
        with os.fdopen(open_private(path, os.O_TRUNC), "w") as file:
            file.write(node)

    def lengths(self, run_id: str) -> dict[str, int]:
        """Give how much of each file of a run is here."""
        return {path.name: path.stat().st_size for path in (self._runs / run_id).glob("*.tyj")}

    def take(self, run_id: str, name: str, offset: int, data: bytes) -> None:
        """Write a part of a journal's file."""
        _write(make_private_folder(self._runs / run_id) / Path(name).name, offset, data)

    def take_blob(self, run_id: str, key: str, offset: int, data: bytes) -> None:
        """Write a part of a blob, beside where it will lie."""
        folder = make_private_folder(self._runs / run_id / "blobs" / f".new-{Path(key).name}")
        _write(folder / "part", offset, data, is_last=True)

    def keep_blob(self, run_id: str, key: str, name: str) -> None:
        """Move a blob that is whole to its place, which its content says."""
        folder = self._runs / run_id
        staged = folder / "blobs" / f".new-{Path(key).name}"
        if (staged / "part").exists():  # else it was kept before, and nobody heard the answer
            Blobs(folder).take(staged / "part", name)
            shutil.rmtree(staged, ignore_errors=True)


def _write(path: Path, offset: int, data: bytes, *, is_last: bool = False) -> None:
    """Write from an offset on; what stands behind the last part is of an earlier try, and is cut.

    Parts of a journal are never the last: one that Ray sends again may come after a later one.
    """
    with os.fdopen(open_private(path), "r+b") as file:
        file.seek(offset)
        if is_last:
            file.truncate()
        file.write(data)


def heard_of(folder: Path) -> tuple[str, float] | None:
    """Give the node that wrote a run and the seconds since it was last heard; None where none did.

    Args:
        folder: The run's folder.
    """
    path = folder / _HEARD
    with suppress(OSError):
        return path.read_text(), max(0.0, time.time() - path.stat().st_mtime)
    return None
