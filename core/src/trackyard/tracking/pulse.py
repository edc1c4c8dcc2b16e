"""How do others of a team know that a run lives, on whatever machine, and how it stands?

One thread of a process writes so for all of its runs, every half a minute. Nobody waits for it, and
a store that is away costs the runs nothing: they are unreachable for as long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import attrs

from trackyard.journal.pending import mark_as_to_be_indexed, to_be_indexed_folders
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.recovery.indexing import for_others, index_folders
from trackyard.system.forks import leave_in_forked_child
from trackyard.system.interruption import start_thread

logger = logging.getLogger("trackyard")

# Seconds that the rows of runs have to be written before their first sign of life.
_FIRST_AFTER = 0.2
# Seconds that the store may take.
_PATIENCE = 2.0

Values = Callable[[], Mapping[str, float]]


class Pulse:
    """The signs of life of one process's runs; no method raises, or waits for a store."""

    def __init__(self) -> None:
        self.leave_to_parent()
        leave_in_forked_child(self)

    def leave_to_parent(self) -> None:
        """Let go of runs that another process drives."""
        self._lock = Lock()
        # An Event's lock could stay locked by what a signal's handler raises in the step's thread.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._runs: dict[str, tuple[Project, Values]] = {}
        self._thread: Thread | None = None

    def begin(self, project: Project, id: str, values: Values = dict) -> None:
        """Say from now on that a run lives, where a team has a store.

        Args:
            project: Its project.
            id: The run's id.
            values: Gives the last values of its metrics.
        """
        if not names_store(project):
            return
        with self._lock:
            is_new = id not in self._runs
            self._runs[id] = project, values
            if self._thread is None:
                self._thread = Thread(target=self._go_on, name="trackyard-pulse", daemon=True)
                try:
                    start_thread(self._thread)
                except RuntimeError as error:  # the process has too many
                    self._thread = None
                    logger.debug("no signs of life: %s", error)
        if is_new:
            self._news.put(None)

    def end(self, id: str) -> None:
        """Say no more that a run lives; its end is written by who ends it."""
        with self._lock:
            was_told = self._runs.pop(id, None) is not None
            if was_told and not self._runs:
                self._news.put(None)  # the thread ends

    def _go_on(self) -> None:
        from trackyard.store.lives import BEAT_EVERY

        news = self._news  # a forked child has another
        stores: dict[str, _Told] = {}
        try:
            while runs := self._runs_now():
                for id_, (project, values) in runs.items():
                    told = stores.setdefault(project.identity, _Told(project))
                    told.values[id_] = dict(values())
                for told in stores.values():
                    told.tell()
                if _is_told(news, BEAT_EVERY):
                    time.sleep(_FIRST_AFTER)  # several runs begin together
        finally:
            for told in stores.values():
                told.close()

    def _runs_now(self) -> dict[str, tuple[Project, Values]]:
        """Give the runs; where there are none the thread has to end."""
        with self._lock:
            if not self._runs:
                self._thread = None
            return dict(self._runs)


def _is_told(news: SimpleQueue[None], seconds: float) -> bool:
    """Wait for news, however many there are of them."""
    try:
        news.get(timeout=seconds)
        while not news.empty():
            news.get_nowait()
    except Empty:
        return False
    return True


@attrs.define
class _Told:
    """What one project's store has been told of runs.

    Attributes:
        project: The project.
        values: What the runs that live have now.
        sent: What the store has.
    """

    project: Project
    values: dict[str, dict[str, float]] = attrs.field(factory=dict)
    sent: dict[str, dict[str, float]] = attrs.field(factory=dict)
    _indexed: set[str] = attrs.field(factory=set)
    _store: Any = None

    def tell(self) -> None:
        """Write the signs of life of the runs that were collected, and what is new of them."""
        from trackyard.store import Store
        from trackyard.store.lives import beat
        from trackyard.store.opening import database_of

        values, self.values = self.values, {}
        try:
            self._store = self._store or Store(database_of(self.project, _PATIENCE))
            self._index_new(values)
            if values and self._store.database.is_shared:
                beat(self._store, {id_: self._new(id_, of) for id_, of in values.items()})
                self.sent = values
        except Exception as error:  # whatever a database comes up with
            logger.debug("no sign of life in the store: %s", error)

    def _index_new(self, ids: Iterable[str]) -> None:
        """Write runs that no tracker follows into the store: nobody else does while they live."""
        waiting = {folder.name: folder for folder in to_be_indexed_folders(self.project.home)}
        new = [waiting[id_] for id_ in ids if id_ in waiting and id_ not in self._indexed]
        for folder in index_folders(self._store, new, partial(for_others, self.project)):
            self._indexed |= {folder.name} if folder is not None else set()
        for folder in new:
            mark_as_to_be_indexed(folder)  # the rest is written at the end

    def _new(self, id: str, values: Mapping[str, float]) -> dict[str, float]:
        sent = self.sent.get(id, {})
        return {key: value for key, value in values.items() if sent.get(key) != value}

    def close(self) -> None:
        """Close the connection."""
        if self._store is not None:
            self._store.close()


@lru_cache(maxsize=1)
def pulse() -> Pulse:
    """Give the pulse of this process."""
    return Pulse()
