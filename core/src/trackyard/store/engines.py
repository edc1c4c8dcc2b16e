"""How is a connection to the store's database made: sqlite, or PostgreSQL by URL?"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.system.descriptors import high_numbers
from trackyard.system.files import make_home, make_private_file

_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg", "postgresql+psycopg2")


def sqlite_engine(home: Path) -> Engine:
    """Open `store.db` in a folder, which is made if need be.

    Raises:
        TrackyardError: The folder cannot be made.
    """
    try:
        make_home(home)
        with suppress(OSError):  # sqlite itself says what is wrong with the file
            make_private_file(home / "store.db")
    except OSError as error:
        raise TrackyardError(f"{home}: cannot be made: {error.strerror}") from error
    return engine_of(URL.create("sqlite", database=str(home / "store.db")), "store")


def engine_of(url: str | URL, place: str) -> Engine:
    """Make the engine of a database URL; `postgresql://` takes psycopg.

    Args:
        url: A SQLAlchemy URL.
        place: Where it is configured, for messages.

    Raises:
        ConfigError: It is no database URL, of another database than sqlite and PostgreSQL, or its
            driver is not installed.
    """
    parsed = _parsed(url, place)
    try:
        options: dict[str, Any] = {"pool_pre_ping": parsed.get_backend_name() != "sqlite"}
        if parsed.drivername == "postgresql+psycopg" and "connect_timeout" not in parsed.query:
            # A server that is silent would be waited for as long as the system does: minutes.
            options["connect_args"] = {"connect_timeout": 10}
        engine = create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        hint = "pip install 'trackyard[postgresql]'"
        if error.name == "psycopg2":
            hint = "pip install psycopg2-binary"
        raise ConfigError(f"{place}: {error.name} is not installed; type: {hint}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _connect_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parsed(url: str | URL, place: str) -> URL:
    """Read a database URL; the text itself may hold a password and is not shown.

    Raises:
        ConfigError: It is none, or of a database that is not supported.
    """
    example = "postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # such as a port that is no number
        raise ConfigError(f"{place}: is no database URL such as {example}") from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in _DRIVERS:
        raise ConfigError(
            f"{place}: {parsed.drivername!r} is not supported; supported are PostgreSQL, as "
            f"{example}, and sqlite, as sqlite:///path/to/store.db"
        )
    return parsed


def _connect_sqlite(dialect: Any, _: Any, place: list[Any], options: dict[str, Any]) -> Any:
    """Open the database so that a step which closes what is not its own has no file hurt.

    Sqlite keeps its files open over steps, and nobody can tell it that they were closed.
    """
    with high_numbers():
        connection = dialect.connect(*place, **options)
        _prepare_sqlite(connection)
    return connection


def _prepare_sqlite(connection: Any) -> None:
    """Let readers and one writer work side by side; wait for another writer up to 30 s."""
    connection.isolation_level = None  # Python's driver would begin too late, and not for DDL
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    _use_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA user_version").fetchone()  # it has opened all of its files then
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """Begin as a writer where it will write.

    A transaction that begins as a reader and then writes fails at once where another writer came
    between, whatever the timeout (sqlite.org/isolation.html).
    """
    is_writing = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _use_write_ahead_log(cursor: Any) -> None:
    """Switch to WAL mode; sqlite does not wait where others are about to do the same."""
    give_up_at = time.monotonic() + 30.0
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
