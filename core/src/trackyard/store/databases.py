"""How does one talk to the store's database: sqlite by the standard library, or PostgreSQL?

Both take the same SQL, with `:name` where a value goes. Whatever a database's driver raises
becomes a `StoreError` of one line: who writes decides what to do without a store.
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

from trackyard.contract.errors import TrackyardError, without_statement
from trackyard.system.descriptors import high_numbers
from trackyard.system.files import make_home, make_private_file
from trackyard.system.forks import leave_in_forked_child

Row = Mapping[str, Any]

# Seconds that a writer waits for another one, unless it is told otherwise.
PATIENCE = 30.0
# The statements of a step are prepared once: more would be forgotten by each other.
_PREPARED = 256
# Kilobytes of pages at most that a connection remembers: a search in 100,000 runs touches more than
# the 2 MB that sqlite takes by itself, and reads them again and again.
_CACHED = 8000
_DAMAGED = ("not a database", "malformed", "unsupported file format")


class StoreError(TrackyardError):
    """The store cannot be read or written now; the cause is what its driver raised.

    Args:
        message: What happened, and where.
        is_away: It cannot be reached at all, so that asking for something else is of no use.
    """

    def __init__(self, message: str, *, is_away: bool = True) -> None:
        super().__init__(message)
        self.is_away = is_away


class Session(Protocol):
    """A transaction, or a connection that reads."""

    def execute(self, statement: str, values: Row | None = None) -> list[Row]:
        """Execute a statement and give the rows of a query.

        Args:
            statement: SQL that both databases know, with `:name` where a value goes.
            values: The values by name.
        """

    def execute_many(self, statement: str, rows: Sequence[Row]) -> None:
        """Execute a statement for each of several rows of values.

        Args:
            statement: SQL, likewise.
            rows: The values of each.
        """


class Database(Protocol):
    """A database in which a store lies.

    Attributes:
        place: What messages call it; it holds no password.
        is_shared: Other machines use it, too: it is upgraded by hand alone.
    """

    place: str
    is_shared: bool

    def reading(self) -> Any:
        """Give a `Session` that reads, as a context."""

    def writing(self) -> Any:
        """Give a `Session` in a transaction that may write, as a context."""

    def close(self) -> None:
        """Close the connections."""


def store_error(place: str, error: Exception) -> StoreError:
    """Say in a line what a database's driver raised.

    Args:
        place: The database.
        error: What was raised.
    """
    text = " ".join(without_statement(str(error)).split()) or type(error).__name__
    if any(sign in text for sign in _DAMAGED):
        text += "; move it away, then type: trackyard store rebuild"
    return StoreError(f"{place}: {text}", is_away=_is_away(error))


def _is_away(error: Exception) -> bool:
    """Tell by the classes of PEP 249, whose names all drivers share."""
    names = {kind.__name__ for kind in type(error).__mro__}
    is_known = bool(names & {"OperationalError", "InterfaceError", "TimeoutError"})
    return is_known or bool(getattr(error, "connection_invalidated", False))


class SqliteDatabase:
    """An sqlite file in mode WAL: readers and one writer work side by side.

    One connection serves all threads, one at a time; a forked child opens its own.

    Args:
        file: The file; it is made where there is none.
        patience: Seconds that a writer waits for others.
    """

    is_shared = False

    def __init__(self, file: Path, patience: float = PATIENCE) -> None:
        self.place = str(file)
        self._file = file
        self._patience = patience
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None
        self._close: Callable[[], object] = list
        leave_in_forked_child(self)

    @contextmanager
    def reading(self) -> Iterator[SqliteSession]:
        """Give a session that reads; statement by statement."""
        with self._lock:
            try:
                yield SqliteSession(self._open())
            except (sqlite3.Error, OverflowError) as error:
                raise store_error(self.place, error) from error

    @contextmanager
    def writing(self) -> Iterator[SqliteSession]:
        """Give a session in a transaction.

        It begins as a writer: one that begins as a reader and then writes fails at once where
        another writer came between, whatever the timeout (sqlite.org/isolation.html).
        """
        with self._lock:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield SqliteSession(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OverflowError) as error:
                raise store_error(self.place, error) from error

    def close(self) -> None:
        """Close the connection; the next use opens one."""
        with self._lock:
            self._close()
            self._connection = None

    def leave_to_parent(self) -> None:
        """Let go of a connection that was opened before a fork: sqlite forbids its use."""
        self._lock = RLock()
        self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        try:
            make_home(self._file.parent)
        except OSError as error:
            problem = f"{self._file.parent}: cannot be made: {error.strerror}"
            raise StoreError(problem) from error
        with suppress(OSError):  # sqlite itself says what is wrong with the file
            make_private_file(self._file)
        # Sqlite keeps its files open over steps, and a step may close what is not its own.
        with self._opening(), high_numbers():
            connection = sqlite3.connect(
                self._file,
                timeout=self._patience,
                isolation_level=None,  # Python's driver would begin too late, and not for DDL
                check_same_thread=False,
                cached_statements=_PREPARED,
            )
            try:
                connection.row_factory = sqlite3.Row
                _use_write_ahead_log(connection, self._patience)
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(f"PRAGMA cache_size = -{_CACHED}")
                connection.execute("PRAGMA foreign_keys = ON")
                # It has opened all of its files then.
                connection.execute("PRAGMA user_version").fetchone()
            except BaseException:
                connection.close()
                raise
        # Views of runs share a store and have no end: it is closed with the last of them.
        self._close = weakref.finalize(self, _close_in, os.getpid(), connection)
        self._connection = connection
        return connection

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise store_error(f"{self.place}: cannot be opened", error) from error


class SqliteSession:
    """A connection to sqlite while nobody else uses it.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Row | None = None) -> list[Row]:
        """Execute a statement and give the rows of a query.

        Args:
            statement: SQL with `:name` where a value goes.
            values: The values by name.
        """
        cursor = self._connection.execute(statement, values or {})
        return [dict(row) for row in cursor]

    def execute_many(self, statement: str, rows: Sequence[Row]) -> None:
        """Execute a statement for each of several rows of values.

        Args:
            statement: SQL, likewise.
            rows: The values of each.
        """
        if rows:
            self._connection.executemany(statement, rows)


def _close_in(process: int, connection: sqlite3.Connection) -> None:
    """Close a connection in the process that opened it; it is of no other's concern."""
    if os.getpid() == process:
        connection.close()


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float) -> None:
    """Switch to WAL mode; sqlite does not wait where others are about to do the same."""
    give_up_at = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
