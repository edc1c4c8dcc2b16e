"""What does the driver's machine do with the journals that other machines ship to it?"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import attrs

from trackyard.journal.blobs import Blobs
from trackyard.system.files import make_private_folder, open_private

_HEARD = "node.heard"  # a machine is a node of Ray's to the only one who wrote it so far


@attrs.frozen
class Heard:
    """What was last heard of a machine that writes a run.

    Attributes:
        node: What `shipped_journal` was told of it.
        time: Unix time in seconds up to which its journal has arrived.
        pace: Log calls per second of late.
    """

    node: str
    time: float
    pace: float


class JournalReceiver:
    """Writes what other machines ship into the driver's runs, on a machine that sees them.

    It keeps nothing in its memory, so that it may be made anew at any time: how far a file has come
    is its length, and what was last heard of a machine is a file. What is shipped twice changes
    nothing.

    Args:
        runs: The folder of the driver's runs: `Job.folder.parent`.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def sees_runs(self) -> bool:
        """Tell whether this machine has the driver's runs."""
        return self._runs.is_dir()

    def hear(self, run_id: str, node: str, age: float, pace: float) -> None:
        """Note that a machine writes a run, and that what it wrote until now has arrived.

        Args:
            run_id: The run.
            node: The machine.
            age: Seconds since "now", when it looked at its journal.
            pace: Log calls per second of late.
        """
        path = make_private_folder(self._runs / run_id) / _HEARD
        with os.fdopen(open_private(path, os.O_TRUNC), "w") as file:
            json.dump(attrs.asdict(Heard(node, time.time() - age, pace)), file)

    def lengths(self, run_id: str) -> dict[str, int]:
        """Give how much of each file of a run is here."""
        return {path.name: path.stat().st_size for path in (self._runs / run_id).glob("*.tyj")}

    def take(self, run_id: str, name: str, offset: int, data: bytes) -> None:
        """Write a part of a journal's file.

        Args:
            run_id: The run's id.
            name: The file's name.
            offset: Where the part stands in it.
            data: The part.
        """
        _write(make_private_folder(self._runs / run_id) / Path(name).name, offset, data)

    def take_blob(self, run_id: str, key: str, offset: int, data: bytes) -> None:
        """Write a part of a blob, beside where it will lie.

        Args:
            run_id: The run's id.
            key: What its sender calls the blob.
            offset: Where the part stands in it.
            data: The part.
        """
        folder = make_private_folder(self._runs / run_id / "blobs" / f".new-{Path(key).name}")
        _write(folder / "part", offset, data, is_last=True)

    def keep_blob(self, run_id: str, key: str, name: str) -> None:
        """Move a blob that is whole to its place, which its content says.

        Args:
            run_id: The run's id.
            key: What its sender calls the blob.
            name: The artifact's name.
        """
        folder = self._runs / run_id
        staged = folder / "blobs" / f".new-{Path(key).name}"
        if (staged / "part").exists():  # else it was kept before, and nobody heard the answer
            Blobs(folder).take(staged / "part", name)
            shutil.rmtree(staged, ignore_errors=True)


def _write(path: Path, offset: int, data: bytes, *, is_last: bool = False) -> None:
    """Write from an offset on; what stands behind the last part is of an earlier try, and is cut.

    Parts of a journal are never the last: one that is sent again may come after a later one.
    """
    with os.fdopen(open_private(path), "r+b") as file:
        file.seek(offset)
        if is_last:
            file.truncate()
        file.write(data)


def heard_of(folder: Path) -> Heard | None:
    """Give what was last heard of the machine that wrote a run; None where none did.

    Args:
        folder: The run's folder: `Job.folder`.
    """
    with suppress(OSError, ValueError):  # it may be cut off where the disk is full
        return Heard(**json.loads((folder / _HEARD).read_text()))
    return None
