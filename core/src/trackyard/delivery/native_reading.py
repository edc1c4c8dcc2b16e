"""How does what an SDK's own files hold of its calls get into a run's journal?

For SDKs whose files tell more than their calls. While the run is active a thread reads what is new
once a second, and once more at the end; what a process that died has left is read in recovery, as
`native.reading` in the tracker's folder says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

import attrs

from trackyard.contract.records import Run
from trackyard.delivery.capturing import CaptureJournal
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.filters import record_filters
from trackyard.hooks.managers import NamedPlugins
from trackyard.journal.durability import JournalOptions
from trackyard.journal.entries import Holder
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter
from trackyard.redaction.redactor import Redactor
from trackyard.system.conditions import Event
from trackyard.system.interruption import start_thread

logger = logging.getLogger("trackyard")

# A writer of its own, which counts wherever it stands, as that of a child does.
_ROLE = "child-native"
_MARK = "native.reading"
_EVERY = 1.0  # seconds between two looks


class NativeReading:
    """Reads what one tracker's SDK has logged in a run, and writes it to the run's journal.

    Args:
        hooks: The tracker's hooks, of which `tracker_read_native` is called.
        run: The run as this tracker gets it.
        redactor: Keeps secrets out of what is written down.
        plugins: Cross-cutting plugins.
        options: How soon the disk has to hold what is journaled.
        files: A file or folder of the user's that is read in place of the SDK's own, or None.
        follow: Gives where the run's folder is now, which may be moved while the run lives.
    """

    def __init__(
        self,
        hooks: TrackerHooks,
        run: Run,
        redactor: Redactor,
        plugins: NamedPlugins,
        options: JournalOptions | None = None,
        *,
        files: Path | None = None,
        follow: Callable[[], Path] | None = None,
    ) -> None:
        self._follow = follow
        self._files = files
        self._hooks = hooks
        self._run = run
        self._writer = JournalWriter(run.folder.parent, _ROLE, options, session=run.resumed)
        self._journal = CaptureJournal(self._writer, redactor, record_filters(plugins, run))
        self._position = last_position(run.folder.parent, hooks.name)
        self._is_over = Event()
        self._reading = Lock()
        self._has_failed = False

    def begin(self) -> None:
        """Read every second from now on, until `end`."""
        mark_as_being_read(self._run.folder)
        name = f"trackyard-native-{self._hooks.name}"
        try:
            start_thread(Thread(target=self._go_on, name=name, daemon=True))
        except (RuntimeError, MemoryError) as error:  # the process has too many, or no memory
            logger.debug("%s cannot be started: %s", name, error)

    def end(self) -> None:
        """Read the rest, and read no more."""
        self._is_over.set()
        if self.read():
            is_read(self._run.folder)
        self._writer.close()

    def read(self) -> bool:
        """Read what is new; False where the flavor could not, or another read is under way."""
        if not self._reading.acquire(timeout=self._hooks.hook_timeout):
            return False
        try:
            if self._follow is not None:
                self._run = attrs.evolve(self._run, folder=self._follow() / self._run.folder.name)
            outcome = self._hooks.read_native(self._run, self._position, self._files)
            if outcome.kind != "done":
                if not self._has_failed:
                    logger.warning("experiment tracker %r: %s", self._hooks.name, outcome.reason)
                self._has_failed = True
                return False
            if outcome.value is not None:
                records, position = outcome.value
                if position != self._position:
                    holder = Holder(
                        *(self._hooks.name, self._hooks.remote_id_in_step(self._run), position),
                        captured_at=time.time_ns(),
                    )
                    self._journal.write(holder, records)
                    self._position = position
            return True
        finally:
            self._reading.release()

    def _go_on(self) -> None:
        # What fails or hangs is tried again at the end alone: each try that hangs costs a thread.
        while not self._is_over.wait(_EVERY) and not self._has_failed:
            self.read()


def last_position(run_folder: Path, source: str) -> str:
    """Give how far the files of a tracker's SDK were read; an empty text where nothing was.

    Args:
        run_folder: The run's folder.
        source: The tracker's name.
    """
    reader = JournalReader(run_folder, wants=lambda writer: writer.startswith(_ROLE))
    last = (0, "")
    while entries := reader.read(1000):
        for _, entry in entries:
            if entry.held_by is not None and entry.held_by.source == source:
                last = max(last, (entry.held_by.captured_at, entry.held_by.position))
    return last[1]


def mark_as_being_read(tracker_folder: Path) -> None:
    """Note that an SDK's files are read while a process lives."""
    try:
        (tracker_folder / _MARK).touch(mode=0o600)
    except OSError as error:  # what is left after a crash is not read then
        logger.debug("%s cannot be written: %s", tracker_folder / _MARK, error)


def is_read(tracker_folder: Path) -> None:
    """Note that nothing of them is left."""
    (tracker_folder / _MARK).unlink(missing_ok=True)


def is_being_read(tracker_folder: Path) -> bool:
    """Tell whether a process that reads an SDK's files has not come to their end."""
    return (tracker_folder / _MARK).exists()
