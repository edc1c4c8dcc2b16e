"""Where is an sqlite store of MLflow's, how is it made, and who gives a client of it?"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trackyard.contract import home

if TYPE_CHECKING:
    from mlflow import MlflowClient


def sqlite_uri(path: Path) -> str:
    """Give the address of a sqlite file.

    In a URL `?`, `#` and `%` would mean something else, and the file would be made elsewhere: in
    such a folder it is reached by a link of this user's.

    Args:
        path: The file.
    """
    folder = path.parent
    if re.search(r"[?#%]", folder.as_posix()):
        folder = _link_to(folder.absolute())
    return f"sqlite:///{(folder / path.name).as_posix()}"


def _link_to(folder: Path) -> Path:
    links = Path.home() / ".cache" / "trackyard" / "links"
    link = links / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    if not (link.is_symlink() and link.readlink() == folder):
        links.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = links / secrets.token_hex(8)
        new.symlink_to(folder)
        new.replace(link)
    return link


def _folder_of(path: Path) -> Path:
    """Give the folder of a file, itself where it is reached by a link."""
    return path.parent.readlink() if path.parent.is_symlink() else path.parent


def new_client(tracking_uri: str) -> MlflowClient:
    """Make a client, and its sqlite file where there is none yet.

    Without a registry URI MLflow would look for pyspark each time: an import, on this thread, that
    waits for ever beside an `mlflow.autolog()` of the step, which holds a lock of MLflow's.
    """
    from mlflow import MlflowClient

    path = Path(tracking_uri.removeprefix("sqlite:///"))
    if tracking_uri.startswith("sqlite:///") and not path.is_file():
        _make_database(path)
    return MlflowClient(tracking_uri, tracking_uri)


def _make_database(path: Path) -> None:
    """Make a sqlite file beside its place, and move it there once it is whole.

    MLflow makes it by 40 migrations, in place: two processes that begin at once, or one that is
    killed, would leave a file that no release can open.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    new.touch(mode=0o600)  # it fails at once where MLflow would try for minutes
    try:
        with _without_migrations_shown():
            files = (_folder_of(path).absolute() / "mlflow-artifacts").as_uri()
            SqlAlchemyStore(sqlite_uri(new), files).engine.dispose()
        if _folder_of(path) == home():
            _use_write_ahead_log(new)
        try:
            path.hardlink_to(new)  # unlike a renaming it replaces nothing
        except OSError:
            if not path.is_file():  # a file system without hard links
                new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def _without_migrations_shown() -> Iterator[None]:
    """Keep 60 lines off stderr."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def without_tracebacks() -> Iterator[None]:
    """Keep MLflow from writing a traceback for each call that a database cannot take.

    What is said of that, and how often, is core's to decide. Other threads are heard.
    """
    logger, own = logging.getLogger("mlflow.store.db.utils"), threading.get_ident()

    def is_of_others(_: logging.LogRecord) -> bool:
        return threading.get_ident() != own

    logger.addFilter(is_of_others)
    try:
        yield
    finally:
        logger.removeFilter(is_of_others)


def let_go_of_file(tracking_uri: str) -> None:
    """Have MLflow open a sqlite file anew: the one that it holds may be deleted, or replaced.

    Args:
        tracking_uri: The store's address.
    """
    from mlflow import MlflowClient

    with suppress(Exception):  # it may have no store yet
        tracking = MlflowClient(tracking_uri, tracking_uri)._tracking_client  # noqa: SLF001 - no public way
        tracking.store.engine.dispose()


def _use_write_ahead_log(path: Path) -> None:
    """Let the page be read while runs are written, with a third of the waits for the disk.

    The mode is kept in the file. Another process may be at it: then it is left as it is.
    """
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


def artifact_location(store: str) -> str | None:
    """Give an absolute place for the files of a sqlite store, beside it.

    MLflow's own default is in the working directory of the moment. A server has its own place.

    Args:
        store: The store's address.
    """
    if not store.startswith("sqlite:///"):
        return None
    folder = _folder_of(Path(store.removeprefix("sqlite:///")).absolute())
    return (folder / "mlflow-artifacts").as_uri()
