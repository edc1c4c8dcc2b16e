"""Which connection to its store does a process keep, over the runs that it writes there?

To open and close one for each run took ten times as long as to write the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from trackyard.project.configuration import Project
from trackyard.system.forks import leave_in_forked_child

if TYPE_CHECKING:
    from trackyard.store import Store


class KeptStore:
    """The last store that was written to, as long as it is the same one.

    Args:
        patience: Seconds that a writer waits for others, where it is sqlite.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.leave_to_parent()
        leave_in_forked_child(self)

    def leave_to_parent(self) -> None:
        """Let go of a connection that another process has opened."""
        self._lock = Lock()
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None

    def write(self, project: Project, write: Callable[[Store], object]) -> None:
        """Write something, by a connection that is kept or is new.

        Args:
            project: Whose store.
            write: Writes; it is called a second time where the connection that was kept fails.

        Raises:
            TrackyardError: The store cannot be opened or written.
        """
        from trackyard.store.databases import StoreError

        with self._lock:
            store, is_new = self._opened(project)
            try:
                write(store)
            except StoreError:
                self._close()
                if is_new:
                    raise
                write(self._opened(project)[0])
            except BaseException:
                self._close()
                raise

    def _opened(self, project: Project) -> tuple[Store, bool]:
        from trackyard.store import Store
        from trackyard.store.opening import database_of

        database = database_of(project, self._patience)
        store, place = self._store, database.place
        if store is not None and store.database.place == place and self._file == _file_at(place):
            return store, False
        self._close()
        self._store = Store(database).opened()
        self._file = _file_at(place)
        return self._store, True

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _file_at(place: str) -> tuple[int, int] | None:
    """Tell one file from another that has been put in its place; None where it is no file."""
    try:
        found = Path(place).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


@lru_cache(maxsize=1)
def kept_store(patience: float) -> KeptStore:
    """Give what this process keeps.

    Args:
        patience: Seconds that a writer waits for others, where it is sqlite.
    """
    return KeptStore(patience)
