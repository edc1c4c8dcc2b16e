"""Which database does a project's `store` name?"""

from __future__ import annotations

from pathlib import Path

from trackyard.contract.errors import ConfigError
from trackyard.contract.flavors import Secret
from trackyard.project.configuration import Project
from trackyard.project.storing import load_store_options, place_of_url
from trackyard.store.databases import PATIENCE, Database, SqliteDatabase


def database_of(project: Project, patience: float = PATIENCE) -> Database:
    """Give the database of a project's store, see `Store.of`.

    Args:
        project: The project.
        patience: Seconds that a writer waits for others, where it is sqlite.

    Raises:
        ConfigError: The URL is wrong, or its driver is not installed.
        TrackyardError: The database cannot be opened.
    """
    url = load_store_options(project).url
    if url is None:
        return SqliteDatabase(project.home / "store.db", patience)
    place = place_of_url(project)
    if url.startswith(("env:", "file:", "keyring:")):
        try:
            url = Secret(url).reveal()
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error
    return database_at(url, place, patience)


def database_at(url: str, place: str, patience: float = PATIENCE) -> Database:
    """Give the database of a URL: `sqlite:///path`, or `postgresql://...`.

    Args:
        url: The URL.
        place: Where it is configured, for messages.
        patience: Seconds that a writer waits for others, where it is sqlite.

    Raises:
        ConfigError: It is wrong, or its driver is not installed.
        TrackyardError: The database cannot be opened.
    """
    scheme, separator, path = url.partition(":///")
    if separator and scheme in ("sqlite", "sqlite+pysqlite") and path:
        return SqliteDatabase(Path(path), patience)
    from trackyard.store.postgresql import PostgresqlDatabase  # SQLAlchemy costs 190 ms to import

    return PostgresqlDatabase(url, place)
