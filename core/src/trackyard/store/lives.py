"""Which runs of a team live, on whatever machine, and how does somebody end one that does not?

Who drives runs writes now and then that they live, by the database's own clock. A run that falls
silent has neither another status nor an end: it is called unreachable, and may come back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import attrs

from trackyard.contract.records import Failure
from trackyard.project.storing import SILENT_AFTER
from trackyard.store.databases import Session
from trackyard.store.details import write_last_values
from trackyard.store.rows import StepRunRow
from trackyard.store.saving import add_step
from trackyard.store.store import Store
from trackyard.system.identifiers import new_id

UNREACHABLE = "unreachable"
# Seconds between two signs of life.
BEAT_EVERY = 30.0
# Runs that one statement names.
_AT_ONCE = 500

_BEAT = """
UPDATE runs SET heartbeat_at = :now,
    opened = opened + CASE WHEN status = 'running' THEN 0 ELSE 1 END,
    resumed_at = CASE WHEN status = 'running' THEN resumed_at ELSE :now END,
    status = 'running', ended_at = NULL, error = NULL
WHERE id IN ({ids}) AND (status = 'running' OR heartbeat_at IS NOT NULL)
"""


@attrs.frozen
class SilentRun:
    """A run that says it runs, and that has given no sign of life for a while.

    Attributes:
        id, name, kind: As the store has it.
        host: The machine that it ran on, where that is known.
        silent_for: Seconds since its last sign of life.
    """

    id: str
    name: str
    kind: str
    host: str | None
    silent_for: float


def beat(store: Store, values: Mapping[str, Mapping[str, float]]) -> None:
    """Write that runs live, and the last values of their metrics, in one transaction.

    A run that somebody has ended by hand meanwhile is open again; one that has ended by itself, or
    whose row was deleted, is left as it is.

    Args:
        store: The store.
        values: What is new of each run's metrics, by its id.
    """
    ids = list(values)
    with store.writing() as session:
        now = _now(session, is_shared=store.database.is_shared)
        for start in range(0, len(ids), _AT_ONCE):
            names = {f"id{i}": id_ for i, id_ in enumerate(ids[start : start + _AT_ONCE])}
            statement = _BEAT.format(ids=", ".join(f":{name}" for name in names))
            session.execute(statement, {**names, "now": now})
        write_last_values(session, values)


def silent_runs(store: Store, seconds: float = SILENT_AFTER) -> list[SilentRun]:
    """Give the runs that have given no sign of life for so long, the longest silent first.

    Args:
        store: The store.
        seconds: How long.
    """
    with store.reading() as session:
        now = _now(session, is_shared=store.database.is_shared)
        rows = session.execute(
            "SELECT id, name, kind, host, heartbeat_at FROM runs "
            "WHERE status = 'running' AND heartbeat_at < :since ORDER BY heartbeat_at",
            {"since": now - int(seconds * 1e9)},
        )
    return [
        SilentRun(
            *(row["id"], row["name"], row["kind"], row["host"]),
            silent_for=(now - row["heartbeat_at"]) / 1e9,
        )
        for row in rows
    ]


def unreachable_ids(store: Store, ids: Iterable[str]) -> set[str]:
    """Tell which of some runs are unreachable.

    Args:
        store: The store.
        ids: The runs' ids.
    """
    wanted = set(ids)
    return {run.id for run in silent_runs(store) if run.id in wanted} if wanted else set()


def seconds_since_sign(store: Store, id: str) -> float | None:
    """Give how long ago a run, or one of its steps, gave a sign of life; None if it runs nowhere.

    Args:
        store: The store.
        id: The run's id.
    """
    with store.reading() as session:
        (row,) = session.execute(
            "SELECT MAX(heartbeat_at) AS last FROM runs "
            "WHERE status = 'running' AND (id = :id OR group_id = :id)",
            {"id": id},
        )
        if row["last"] is None:
            return None
        return (_now(session, is_shared=store.database.is_shared) - int(row["last"])) / 1e9


def end_by_hand(store: Store, id: str, failure: Failure | None) -> list[str]:
    """End a run that nobody else ends, with its steps, as somebody says; give what was ended.

    What had ended stays as it is. It ended with its last sign of life, where one is known.

    Args:
        store: The store.
        id: The run's id.
        failure: How it ended; None where it finished.
    """
    with store.writing() as session:
        open_ = "status = 'running' AND (id = :id OR group_id = :id)"
        rows = session.execute(f"SELECT id FROM runs WHERE {open_}", {"id": id})
        values = {
            "id": id,
            "status": failure.status if failure else "finished",
            "error": str(failure) if failure else None,
            "now": _now(session, is_shared=store.database.is_shared),
        }
        session.execute(
            "UPDATE runs SET status = :status, error = :error, "
            f"ended_at = COALESCE(heartbeat_at, :now) WHERE {open_}",
            values,
        )
    return [str(row["id"]) for row in rows]


def mark_as_dead(
    store: Store, step_run_id: str, pipeline_run_id: str, status: str, ended_at: int
) -> None:
    """Record the death of a step's process, and of its pipeline run, unless they had ended.

    A pipeline run that another runner drives goes on (see `store.other_runners`).

    Args:
        store: The store.
        step_run_id: The step run's.
        pipeline_run_id: That of the pipeline run that it belongs to.
        status: What became of them.
        ended_at: When, in nanoseconds since the epoch.
    """
    statement = (
        "UPDATE runs SET status = :status, ended_at = :ended_at, heartbeat_at = NULL "
        "WHERE status = 'running' AND (id = :step OR (id = :run AND stack != ''))"
    )
    values = {"status": status, "ended_at": ended_at}
    with store.writing() as session:
        session.execute(statement, {**values, "step": step_run_id, "run": pipeline_run_id})


def end_dead_pipeline_run(
    store: Store, id: str, steps: Iterable[tuple[str, int]], status: str, ended_at: int
) -> None:
    """Record that a pipeline run's driver has died, in one transaction.

    Attempts that ran have died with it, and steps that it never reached are skipped.

    Args:
        store: The store.
        id: The pipeline run's.
        steps: The names and positions of all its steps.
        status: What became of it.
        ended_at: When, in nanoseconds since the epoch.
    """
    of_run = "kind = 'step' AND group_id = :id"
    with store.writing() as session:
        if not session.execute("SELECT no FROM runs WHERE id = :id", {"id": id}):
            return
        query = f"SELECT name, ended_at FROM runs WHERE {of_run}"
        found = session.execute(query, {"id": id})
        # A file's time, by which it was seen alive, may lie milliseconds behind.
        last = max([ended_at, *(row["ended_at"] or 0 for row in found)])
        # A step that is called for each of several items is there under its parts' names.
        names = {row["name"].partition("[")[0] for row in found} | {r["name"] for r in found}
        for name, position in steps:
            if name not in names:
                add_step(session, StepRunRow(new_id(), id, name, 1, position, "skipped"))
        session.execute(
            "UPDATE runs SET status = :status, ended_at = :ended_at, heartbeat_at = NULL "
            f"WHERE status = 'running' AND (id = :id OR ({of_run}))",
            {"id": id, "status": status, "ended_at": last},
        )


def _now(session: Session, *, is_shared: bool) -> int:
    """Give the database's own time: the clocks of a team's machines differ."""
    if not is_shared:
        return time.time_ns()
    query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000 AS BIGINT) AS now"
    return int(session.execute(query)[0]["now"])
