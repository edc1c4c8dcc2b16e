"""How does one talk to a team's store, a PostgreSQL database by URL?

SQLAlchemy does so; it costs 190 ms to import, and a project with a store of its own has no need.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from trackyard.contract.errors import ConfigError
from trackyard.store.databases import Row, store_error

_DRIVERS = ("postgresql+psycopg", "postgresql+psycopg2")
_EXAMPLE = "postgresql://user@host/database"


class PostgresqlDatabase:
    """A PostgreSQL database; a connection that is silent is given up after 10 s.

    Args:
        url: A SQLAlchemy URL; `postgresql://` takes psycopg.
        place: Where it is configured, for messages.

    Raises:
        ConfigError: It is no database URL, of another database, or its driver is not installed.
    """

    is_shared = True

    def __init__(self, url: str, place: str) -> None:
        parsed = _parsed(url, place)
        self._engine = _engine_of(parsed, place)
        self.place = parsed.render_as_string(hide_password=True)
        weakref.finalize(self, self._engine.dispose)

    @contextmanager
    def reading(self) -> Iterator[_Session]:
        """Give a session that reads."""
        with self._connected() as connection:
            yield _Session(connection)

    @contextmanager
    def writing(self) -> Iterator[_Session]:
        """Give a session in a transaction."""
        with self._connected() as connection, connection.begin():
            yield _Session(connection)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise store_error(f"{self.place}: cannot be opened", error) from error
        try:
            with connection:
                yield connection
        except SQLAlchemyError as error:
            raise store_error(self.place, error) from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class _Session:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Row | None = None) -> list[Row]:
        result = self._connection.execute(text(statement), dict(values or {}))
        return [dict(row) for row in result.mappings()] if result.returns_rows else []

    def execute_many(self, statement: str, rows: Sequence[Row]) -> None:
        if rows:
            self._connection.execute(text(statement), [dict(row) for row in rows])


def _engine_of(url: URL, place: str) -> Engine:
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.drivername == "postgresql+psycopg" and "connect_timeout" not in url.query:
        # A server that is silent would be waited for as long as the system does: minutes.
        options["connect_args"] = {"connect_timeout": 10}
    try:
        return create_engine(url, **options)
    except ModuleNotFoundError as error:
        hint = "pip install 'trackyard[postgresql]'"
        if error.name == "psycopg2":
            hint = "pip install psycopg2-binary"
        raise ConfigError(f"{place}: {error.name} is not installed; type: {hint}") from error


def _parsed(url: str, place: str) -> URL:
    """Read a database URL; the text itself may hold a password and is not shown.

    Raises:
        ConfigError: It is none, or of a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # such as a port that is no number
        raise ConfigError(f"{place}: is no database URL such as {_EXAMPLE}") from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in _DRIVERS:
        raise ConfigError(
            f"{place}: {parsed.drivername!r} is not supported; supported are PostgreSQL, as "
            f"{_EXAMPLE}, and sqlite, as sqlite:///path/to/store.db"
        )
    return parsed
