"""When does the disk hold what the operating system holds: what survives a power failure?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread, get_ident
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.project.configuration import Project
from trackyard.project.structuring import structure
from trackyard.system.conditions import Condition, Event
from trackyard.system.durations import seconds_in
from trackyard.system.interruption import start_thread


def _positive(_: Any, __: Any, value: float) -> None:
    if not 0.001 <= value <= 3600:
        raise ValueError(f"must be between 0.001 and 3600 seconds, not {value!r}")


def _duration(_: Any, __: Any, value: str | None) -> None:
    if value is not None and seconds_in(value) is None:
        raise ValueError(f"must be a time such as 12h, 30d or 4w, not {value!r}")


@attrs.frozen(kw_only=True)
class JournalOptions:
    """What a project says of its journals, in `[journal]`.

    Attributes:
        durability: `process`: a record outlives its process, a power failure may cost the last
            ones; `interval`: it costs at most those of the last `sync_interval`; `record`: none
            whose log call has returned.
        sync_interval: Seconds between two times that the disk is asked, for `interval`.
        keep: How long journals stay that every tracker has acknowledged, such as `30d`: then they
            are deleted by themselves, at a quiet moment; None for as long as nobody deletes them.
        upload: Journals go to the artifact store of the active stack, too: those that go on each
            minute, the others at their end.
    """

    durability: Literal["process", "interval", "record"] = "process"
    sync_interval: float = attrs.field(default=1.0, validator=_positive)
    keep: str | None = attrs.field(default=None, validator=_duration)
    upload: bool = False


def load_journal_options(project: Project) -> JournalOptions:
    """Read a project's `[journal]`.

    Raises:
        ConfigError: It has an unknown key or a wrong value.
    """
    table, place = project.table.get("journal", {}), project.place("journal")
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table, not {table!r}")
    return structure(table, JournalOptions, place) if table else JournalOptions()


class GroupCommit:
    """Lets threads that wait for the disk share one call of it.

    Args:
        synchronise: Has the disk hold everything, and gives up to which sequence number it does.
    """

    def __init__(self, synchronise: Callable[[], int]) -> None:
        self._synchronise = synchronise
        self._held = -1
        self._leader: int | None = None  # the thread that is asking the disk
        self._changed = Condition()

    def wait_for(self, sequence: int) -> None:
        """Return when the disk holds the entry with this number."""
        thread = get_ident()
        with self._changed:
            # A signal handler may log while its own thread is asking: it asks once more.
            while self._held < sequence and self._leader not in (None, thread):
                self._changed.wait()
            if self._held >= sequence:
                return
            self._leader = thread
        held = -1
        try:
            held = self._synchronise()
        finally:
            with self._changed:
                self._held = max(self._held, held)
                self._leader = None
                self._changed.notify_all()


class IntervalSync:
    """Has the disk hold what was written, every now and then, on a thread of its own.

    Args:
        synchronise: Has the disk hold everything.
        interval: Seconds between two times.
    """

    def __init__(self, synchronise: Callable[[], object], interval: float) -> None:
        self._synchronise = synchronise
        self._interval = interval
        self._stopping = Event()
        with suppress(RuntimeError):  # the interpreter is about to end
            start_thread(Thread(target=self._serve, name="trackyard-journal", daemon=True))

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._stopping.set()

    def _serve(self) -> None:
        while not self._stopping.wait(self._interval):
            self._synchronise()
