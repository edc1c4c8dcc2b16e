"""How is a foreign sqlite database read without a byte of it, or of its folder, being changed?"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Copies of a database that others write meanwhile that are made at most.
_TRIES = 5


class ReadOnlyDatabase:
    """A sqlite file of whichever schema, opened to be read alone until nobody holds this any more.

    Where some of it stands in a write-ahead log, a copy of both is read: sqlite would write the
    log's index beside the original.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            has_log = file.read(20)[18:] == b"\x02\x02"
        log = path.with_name(f"{path.name}-wal")
        opened, scratch = path, ""
        # Without a log nobody has it open.
        mode = "immutable=1" if has_log else "mode=ro"
        if log.exists() and log.stat().st_size:
            scratch = tempfile.mkdtemp(prefix="trackyard-read-")
            opened, mode = _copied(path, log, Path(scratch)), "mode=rw"
        address = f"file:{quote(str(opened.absolute()))}?{mode}"
        self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        # A text that another program has cut in the middle of a character is given, too.
        self._connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
        weakref.finalize(self, _let_go, self._connection, scratch)

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a query, as they are read.

        Args:
            query: SQL, with `?` for values.
            values: The values.

        Raises:
            sqlite3.DatabaseError: It is no database, or has no such table.
        """
        yield from self._connection.execute(query, values)

    def rows_by(self, size: int, query: str, *values: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Give the rows of a query, so many at a time: quicker where there are millions.

        Args:
            size: How many.
            query: SQL, with `?` for values.
            values: The values.

        Raises:
            sqlite3.DatabaseError: It is no database, or has no such table.
        """
        cursor = self._connection.execute(query, values)
        while rows := cursor.fetchmany(size):
            yield rows

    def columns(self, table: str) -> set[str]:
        """Name the columns of a table; none where there is no such table.

        Args:
            table: Its name, which is the caller's own.
        """
        return {str(row[1]) for row in self.rows(f"PRAGMA table_info({table})")}


def _let_go(connection: sqlite3.Connection, scratch: str) -> None:
    connection.close()
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)


def _copied(path: Path, log: Path, folder: Path) -> Path:
    """Copy a database and its log as they were at one moment."""
    target = folder / "copy.db"
    for _ in range(_TRIES):
        before = _state(path), _state(log)
        shutil.copyfile(path, target)
        shutil.copyfile(log, folder / "copy.db-wal")
        if before == (_state(path), _state(log)):
            break
    return target


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
