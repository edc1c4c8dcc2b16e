"""Which pipeline runs fit a filter, in which order, page by page?

A sqlite store is read with the standard library: SQLAlchemy alone would cost most of the time that
a quick command may take. Both databases get the same query.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

import attrs

from trackyard.project.configuration import Project
from trackyard.store.rows import PipelineRunRow

SortKey = Literal["started", "ended", "duration", "name", "pipeline", "status"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

_EXPRESSIONS: dict[SortKey, str] = {
    "started": "r.started_at",
    "ended": "COALESCE(r.ended_at, 9223372036854775807)",
    "duration": "COALESCE(r.ended_at, 9223372036854775807) - r.started_at",
    "name": "r.name",
    "pipeline": "r.pipeline",
    "status": "r.status",
}
# As this file knows the tables; an older or newer store is left to `Store`.
_VERSIONS = (2, 3)


@attrs.frozen
class RunFilter:
    """Which runs are wanted. Times are nanoseconds since the epoch.

    Attributes:
        pipeline: Name of the pipeline, or of the experiment of a run without one.
        statuses: Any of these; all where there are none.
        tracker: Name of an experiment tracker that the run, or one of its steps, uses.
        since, until: The run started at or after, and before.
        sort: What they are sorted by.
        is_ascending: The least first; names are, else the latest comes first.
        most: How many at most.
        skip: How many are passed over.
    """

    pipeline: str | None = None
    statuses: tuple[str, ...] = ()
    tracker: str | None = None
    since: int | None = None
    until: int | None = None
    sort: SortKey = "started"
    is_ascending: bool = False
    most: int = 100
    skip: int = 0


def has_store(project: Project) -> bool:
    """Tell whether the project's store has been made, or is a database by URL."""
    return "store" in project.table or (project.home / "store.db").exists()


def list_rows(project: Project, wanted: RunFilter) -> list[PipelineRunRow]:
    """List the pipeline runs of a project's store that fit a filter.

    Args:
        project: The project.
        wanted: Which of them, in which order, how many.
    """
    conditions, values = _conditions(wanted)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    direction = "ASC" if wanted.is_ascending else "DESC"
    query = (
        "SELECT r.id, r.name, r.pipeline, r.stack, r.status, r.started_at, r.ended_at, r.params "  # noqa: S608 - no value stands in it
        f"FROM pipeline_runs r {where} "
        f"ORDER BY {_EXPRESSIONS[wanted.sort]} {direction}, r.id {direction} "
        "LIMIT :most OFFSET :skip"
    )
    values |= {"most": wanted.most, "skip": wanted.skip}
    return [
        PipelineRunRow(**{**row, "params": json.loads(row["params"])})
        for row in _rows(project, query, values)
    ]


def known_ids(project: Project, first: str, last: str) -> set[str]:
    """Give the ids of pipeline runs and step runs between two ids, which begin with a time.

    Args:
        project: The project.
        first: The least id that is asked for.
        last: The greatest.
    """
    query = (
        "SELECT id FROM step_runs WHERE id BETWEEN :first AND :last "
        "UNION ALL SELECT id FROM pipeline_runs WHERE id BETWEEN :first AND :last"
    )
    return {row["id"] for row in _rows(project, query, {"first": first, "last": last})}


def _conditions(wanted: RunFilter) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}
    for condition, name, value in (
        ("r.pipeline = :pipeline", "pipeline", wanted.pipeline),
        ("r.started_at >= :since", "since", wanted.since),
        ("r.started_at < :until", "until", wanted.until),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    if wanted.statuses:
        names = {f"status{index}": status for index, status in enumerate(wanted.statuses)}
        conditions.append(f"r.status IN ({', '.join(f':{name}' for name in names)})")
        values |= names
    if wanted.tracker is not None:
        conditions.append(
            "EXISTS (SELECT 1 FROM step_runs s WHERE s.pipeline_run_id = r.id "
            "AND s.metadata LIKE :tracker ESCAPE '!')"
        )
        key = json.dumps(f"experiment_tracker.{wanted.tracker}")
        for character in "!%_":
            key = key.replace(character, f"!{character}")
        values["tracker"] = f"%{key}: %"
    return conditions, values


def _rows(project: Project, query: str, values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if not has_store(project):
        return
    file = project.home / "store.db"
    if "store" not in project.table and _is_known(file):
        with closing(_open(file)) as connection:
            yield from map(dict, connection.execute(query, values))
        return
    from trackyard.store.store import Store

    store = Store.of(project)
    try:
        yield from store.execute(query, values)
    finally:
        store.close()


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=30.0)
    connection.row_factory = sqlite3.Row
    return connection


def _is_known(file: Path) -> bool:
    try:
        with closing(_open(file)) as connection:
            (version,) = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
    except sqlite3.Error:
        return False
    return version in _VERSIONS
