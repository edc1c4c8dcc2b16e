"""How does a journal get from the machine that runs a step to the driver's?

A thread ships what is new, whole frames only, twice a second: a machine that is lost costs at most
its last second. An artifact goes before the frame that names it. How a message travels is an
orchestrator's: a `JournalReceiver` is what it has to reach.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from trackyard.journal.blobs import file_name
from trackyard.journal.entries import is_header
from trackyard.journal.frames import Frame, frames_of, salt_of
from trackyard.journal.reader import segments_of
from trackyard.system.conditions import Event
from trackyard.system.files import make_private_folder
from trackyard.system.interruption import start_thread

logger = logging.getLogger("trackyard")

# Calls a method of the driver's `JournalReceiver` by its name, and gives what it gives.
Call = Callable[..., Any]

_EVERY = 0.5
_REMEMBERED = 20  # shippings, to tell the pace of late from
_MOST = 4 * 1024 * 1024  # bytes of one message
_NAMES_BLOB = re.compile(rb'\["(blob|artifact)"')


def local_folder(run_id: str) -> Path:
    """Give the folder of a run on a machine that does not see the driver's."""
    place = Path(tempfile.gettempdir()) / f"trackyard-{os.getuid()}"
    with suppress(FileNotFoundError):
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            place = Path.home() / ".cache" / "trackyard"  # another user was there first
    return place / "runs" / run_id


@contextmanager
def shipped_journal(run_id: str, node: str, call: Call) -> Iterator[Path]:
    """Give a folder of this machine for a run, and ship its journal while the step runs.

    For `run_packed`, on a machine that does not see the run's own folder. Nothing that `call`
    raises reaches the step: it is tried again with the next message.

    Args:
        run_id: The run: `Job.run.id`.
        node: A name of this machine, by which `heard_of` tells it.
        call: Calls a method of the driver's `JournalReceiver`: its name and arguments come, what
            it returns is given back. It raises where the driver's machine does not answer.
    """
    folder = local_folder(run_id)
    with suppress(OSError):  # then the journal counts what it cannot keep
        make_private_folder(folder)
    shipper = Shipper(folder, node, call)
    shipper.ship()  # the driver knows from now on where to look for it
    stopping = Event()

    def serve() -> None:
        while not stopping.wait(_EVERY):
            shipper.ship()

    start_thread(Thread(target=serve, name="trackyard-shipping", daemon=True))
    try:
        yield folder
    finally:
        stopping.set()
        if shipper.ship():
            shutil.rmtree(folder, ignore_errors=True)


def ship_what_is_left(run_id: str, node: str, call: Call) -> bool:
    """Ship what a process of this machine has left that died; True where all is shipped.

    Args:
        run_id: The run.
        node: The name of this machine.
        call: As in `shipped_journal`.
    """
    folder = local_folder(run_id)
    is_shipped = not folder.is_dir() or Shipper(folder, node, call).ship()
    if is_shipped:
        shutil.rmtree(folder, ignore_errors=True)
    return is_shipped


class Shipper:
    """Ships one run's journal.

    Args:
        folder: The run's folder on this machine.
        node: The name of this machine.
        call: As in `shipped_journal`.
    """

    def __init__(self, folder: Path, node: str, call: Call) -> None:
        self._folder = folder
        self._node = node
        self._call_receiver = call
        self._lock = Lock()
        self._lengths: dict[str, int] | None = None
        self._blobs: set[tuple[str, str]] = set()
        self._count = 0  # of the log calls that were shipped
        self._counts: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)

    def ship(self) -> bool:
        """Ship what is new, and that it has arrived; False where it cannot be done now."""
        with self._lock:
            try:
                began = time.monotonic()
                if self._lengths is None:
                    self._hear(began)
                    self._lengths = self._call("lengths")
                for writer, number in sorted(segments_of(self._folder)):
                    self._ship_segment(writer, number)
                self._hear(began)
            except Exception as error:  # the carrier's, or the disk's: the step must not hear of it
                logger.warning("the journal cannot be shipped now: %s", error)
                return False
        return True

    def _hear(self, began: float) -> None:
        """Say that all has arrived that was written until a while ago, and how much that is."""
        self._counts.append((began, self._count))
        first, count = self._counts[0]
        pace = (self._count - count) / (began - first) if began > first else 0.0
        self._call("hear", self._node, time.monotonic() - began, pace)

    def _ship_segment(self, writer: str, number: int) -> None:
        assert self._lengths is not None
        name = f"{writer}.{number:06d}.tyj"
        offset = self._lengths.get(name, 0)
        with (self._folder / name).open("rb") as file:
            file.seek(offset)
            data = file.read()
        frames = frames_of(data, salt_of(self._folder.name, writer, number))
        begin = end = 0
        for frame in frames:
            self._count += not is_header(frame.payload)
            if _NAMES_BLOB.match(frame.payload):
                self._send(name, data[begin:end])
                begin = end
                self._ship_blob(frame)
            end = frame.end
            if end - begin > _MOST:
                self._send(name, data[begin:end])
                begin = end
        self._send(name, data[begin:end])

    def _send(self, name: str, data: bytes) -> None:
        assert self._lengths is not None
        if data:
            offset = self._lengths.get(name, 0)
            self._call("take", name, offset, data)
            self._lengths[name] = offset + len(data)

    def _ship_blob(self, frame: Frame) -> None:
        data = json.loads(frame.payload)[3]
        digest, name = data["sha256"], file_name(data.get("name", "value.json"))
        path = self._folder / "blobs" / digest / name
        if (digest, name) in self._blobs or not path.is_file():
            return
        key, offset = f"{digest}-{self._node[:8]}", 0
        with path.open("rb") as file:
            while (part := file.read(_MOST)) or not offset:
                self._call("take_blob", key, offset, part)
                offset += len(part)
                if not part:
                    break
        self._call("keep_blob", key, name)
        self._blobs.add((digest, name))

    def _call(self, method: str, *values: Any) -> Any:
        return self._call_receiver(method, self._folder.name, *values)
