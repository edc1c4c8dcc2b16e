"""Which rows does MLflow's own client write into an sqlite file, and may they be written here?

That takes a fraction of a millisecond, and no import of MLflow; its client takes several. What is
not plain MLflow does itself: a file that is not there yet, or one of another schema.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock

# Schemas in which the tables of experiments, runs and what is logged into them are the same: those
# of MLflow 3.10 to 3.17, oldest first.
SCHEMAS = (
    "1b5f0d9ad7c1",
    "e1f2a3b4c5d6",
    "76601a5f987d",
    "c3d6457b6d8a",
    "a5b4c3d2e1f0",
    "ae8bbe7743c9",
    "7d34483879f0",
    "da6fb0208061",
    "89d3d66ed43f",
    "b7e4c1a90f23",
    "a8b9c0d1e2f3",
    "c1d2e3f4a5b6",
    "c3d9e7f1a2b4",
    "6f8d9c3b2a1e",
    "1971f2d9a75b",
    "17e22815139b",
    "b7e2c1a4d9f3",
    "75868b020152",
    "dc11669786a5",
)
_END_RUN = """
UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ? AND lifecycle_stage = 'active'
"""
SET_TAG = """
INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)
ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value
"""
# Seconds that a file may be locked.
_MOST_LOCKED = 2.0
# The connection of the last use, by the process and the file that it is of.
_kept: dict[tuple[int, Path, int, int], sqlite3.Connection] = {}


@lru_cache
def _in_use(process: int) -> Lock:  # noqa: ARG001 - a forked child's is free
    """Give the lock of a process on the connection that it keeps."""
    return Lock()


def is_run_ended(
    uri: str, run_id: str, status: str, ended_at: int | None, tags: Mapping[str, str]
) -> bool:
    """End a run and write its last tags, in one transaction; False where MLflow has to do it.

    Args:
        uri: The store's address.
        run_id: MLflow's own id of the run.
        status: In MLflow's word.
        ended_at: When, in milliseconds since the epoch.
        tags: What else the end says.
    """
    if not uri.startswith("sqlite:///") or ended_at is None:
        return False
    try:
        with plain_file(uri) as database:
            if database is None:
                return False
            database.execute("BEGIN IMMEDIATE")
            if database.execute(_END_RUN, (status, ended_at, run_id)).rowcount != 1:
                return False  # MLflow says why
            database.executemany(SET_TAG, [(k, v, run_id) for k, v in tags.items()])
            database.execute("COMMIT")
    except (OSError, sqlite3.Error):
        return False
    return True


@contextmanager
def plain_file(uri: str) -> Iterator[sqlite3.Connection | None]:
    """Give a connection to the file of a store; None where it is not plain.

    It is kept for the next use, since to read a schema takes long. A file that has replaced another
    one is opened anew, and so is one where something failed.

    Args:
        uri: The store's address.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not path.is_file():
        yield None
        return
    found = path.stat()
    process = os.getpid()
    key = process, path, found.st_dev, found.st_ino
    with _in_use(process):
        kept = _kept.pop(key, None)
        for other in [other for other in _kept if other[0] == process]:  # not the parent's
            _kept.pop(other).close()
        with ExitStack() as stack:
            database = kept or _connected(path)
            stack.callback(database.close)
            versions = database.execute("SELECT version_num FROM alembic_version").fetchall()
            is_plain = len(versions) == 1 and is_schema_installed(versions[0][0])
            yield database if is_plain else None
            if database.in_transaction:
                database.execute("ROLLBACK")
            stack.pop_all()
            _kept[key] = database


def _connected(path: Path) -> sqlite3.Connection:
    # An address may say more, such as a mode; of a name it would be nothing but a file.
    address = f"{path.absolute().as_uri()}?mode=rw"
    database = sqlite3.connect(
        address, uri=True, timeout=_MOST_LOCKED, isolation_level=None, check_same_thread=False
    )
    database.execute("PRAGMA foreign_keys = ON")
    return database


@lru_cache
def is_schema_installed(revision: str) -> bool:
    """Tell whether a schema is known here, and is the one of the MLflow that is installed.

    Another one MLflow itself would refuse, or bring to its own.

    Args:
        revision: What the file says.
    """
    package = importlib.util.find_spec("mlflow")
    if revision not in SCHEMAS or package is None or not package.submodule_search_locations:
        return False
    folder = Path(package.submodule_search_locations[0]) / "store/db_migrations/versions"
    files = [file.read_text(encoding="utf-8") for file in folder.glob("*.py")]
    has_it = any(f'revision = "{revision}"' in text for text in files)
    return has_it and not any(f'down_revision = "{revision}"' in text for text in files)
