"""How are metrics, params and tags written into an MLflow backend?

Into an sqlite file by the rows that MLflow's client writes, in one transaction, which takes a tenth
of its time. What it would look at twice it gets itself: values that are no numbers, names or values
that it may refuse, points and params that are there already.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trackyard_mlflow.sqlite_rows import SET_TAG, plain_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Key, value, milliseconds since the epoch, step.
Point = tuple[str, float, int, int]
Pair = tuple[str, str]

# Names that MLflow takes on each system, and values that it takes whole.
_NAME = re.compile(r"[A-Za-z0-9_][\w.\- ]*(/[A-Za-z0-9_][\w.\- ]*)*", re.ASCII)
_LONGEST_NAME, _LONGEST_VALUE = 250, 5000
# What its client writes in one call.
_MOST_PAIRS, _MOST_ROWS = 100, 1000

_INSERT_METRIC = """
INSERT INTO metrics (key, value, timestamp, step, run_uuid, is_nan) VALUES (?, ?, ?, ?, ?, 0)
"""
_SET_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, run_uuid, is_nan)
VALUES (?, ?, ?, ?, ?, 0)
ON CONFLICT (key, run_uuid) DO UPDATE SET
    value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = 0
WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)
"""


def write_batch(
    client: MlflowClient,
    run_id: str,
    rows: Mapping[str, Sequence[Any]],
    is_refused: Callable[[BaseException], bool],
) -> None:
    """Write a batch, in one call where it can be.

    One bad param makes MLflow refuse a whole call, so that what it refuses is sent by kind.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        rows: What is written by its kind, as `is_batch_written` takes it.
        is_refused: Tells whether MLflow will never take what it raised an error for.
    """
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.fluent import get_active_model_id

    is_of_model = "metrics" in rows and get_active_model_id() is not None
    if not rows or (not is_of_model and is_batch_written(client.tracking_uri, run_id, **rows)):
        return
    entities = {"metrics": Metric, "params": Param, "tags": RunTag}
    kinds = {kind: [entities[kind](*row) for row in found] for kind, found in rows.items()}
    try:
        client.log_batch(run_id, **kinds)
    except MlflowException as error:
        if not is_refused(error) or len(kinds) == 1:
            raise
        for kind, found in kinds.items():
            client.log_batch(run_id, **{kind: found})


def is_batch_written(
    uri: str,
    run_id: str,
    metrics: Sequence[Point] = (),
    params: Sequence[Pair] = (),
    tags: Sequence[Pair] = (),
) -> bool:
    """Write a batch; False where MLflow has to do it, and nothing is written.

    Args:
        uri: The store's address.
        run_id: MLflow's own id of the run.
        metrics: Points, in the order in which they were logged.
        params: Keys and values.
        tags: Keys and values.
    """
    if not uri.startswith("sqlite:///") or not _is_plain(metrics, params, tags):
        return False
    try:
        with plain_file(uri) as database:
            if database is None:
                return False
            database.execute("BEGIN IMMEDIATE")
            is_active = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
            if database.execute(is_active, (run_id,)).fetchone() is None:
                return False  # MLflow says why
            if not _are_params_written(database, run_id, params):
                return False
            _write_metrics(database, run_id, metrics)
            database.executemany(SET_TAG, [(key, value, run_id) for key, value in tags])
            database.execute("COMMIT")
    except (OSError, sqlite3.Error, ValueError, OverflowError):
        return False
    return True


def _is_plain(metrics: Sequence[Point], params: Sequence[Pair], tags: Sequence[Pair]) -> bool:
    pairs = [*params, *tags]
    if max(len(params), len(tags)) > _MOST_PAIRS or len(metrics) + len(pairs) > _MOST_ROWS:
        return False
    if len({key for key, _ in params}) < len(params) or "mlflow.runName" in dict(tags):
        return False
    keys = {point[0] for point in metrics} | {key for key, _ in pairs}
    return (
        all(len(key) <= _LONGEST_NAME and _NAME.fullmatch(key) for key in keys)
        and all(type(value) is str and len(value) <= _LONGEST_VALUE for _, value in pairs)
        and all(
            type(value) in (float, int) and type(step) is int and math.isfinite(value)
            for _, value, _, step in metrics
        )
    )


def _are_params_written(database: sqlite3.Connection, run_id: str, params: Sequence[Pair]) -> bool:
    """Write params that are not there; False where one is there with another value."""
    if not params:
        return True
    there = dict(database.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run_id,)))
    if any(there.get(key, value) != value for key, value in params):
        return False
    database.executemany(
        "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
        [(key, value, run_id) for key, value in params if key not in there],
    )
    return True


def _write_metrics(database: sqlite3.Connection, run_id: str, metrics: Sequence[Point]) -> None:
    """Write points, each once, and of each curve the one that MLflow takes for its last."""
    rows = dict.fromkeys((key, float(value), at, step, run_id) for key, value, at, step in metrics)
    latest: dict[str, tuple[str, float, int, int, str]] = {}
    for row in rows:
        key, value, at, step, _ = row
        known = latest.setdefault(key, row)
        if (step, at, value) > (known[3], known[2], known[1]):
            latest[key] = row
    database.executemany(_INSERT_METRIC, list(rows))
    database.executemany(_SET_LATEST, list(latest.values()))
