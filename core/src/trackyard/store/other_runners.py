"""How is the run of a pipeline recorded whose steps another runner starts, each by itself?

No process drives such a run: the process of each step writes its row, and the run's status, which
follows from those of its steps. A lock per run lets them do so one at a time, on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from trackyard.contract.records import SEVERITY
from trackyard.store.databases import Session
from trackyard.store.rows import StepRunRow
from trackyard.store.saving import add_step, to_columns, update_run
from trackyard.store.store import Store

# What stands in place of a stack's name in the row of such a run.
NO_STACK = ""
_LONGEST = 255
_UNFINISHED = ("killed", "failed", "crashed")


@attrs.frozen
class RunnerStep:
    """A step that another runner starts, as its process knows it.

    Attributes:
        id: Of the step's run.
        pipeline_run_id: The same for all steps of the pipeline run.
        pipeline, run, step: What the runner calls them.
        attempt: As the runner counts, or None where it does not: a step of the same run that has
            not finished before is tried again then.
        started_at: In nanoseconds since the epoch.
    """

    id: str
    pipeline_run_id: str
    pipeline: str
    run: str
    step: str
    attempt: int | None
    started_at: int


@attrs.frozen
class Placed:
    """Where a step stands in its pipeline run.

    Attributes:
        name: Its own: that of a step which is called again has a number.
        attempt: From 1.
        position: Place in the pipeline run, from 0.
        retry_of: The id of the attempt that it repeats, or None.
    """

    name: str
    attempt: int
    position: int = 0
    retry_of: str | None = None


@attrs.frozen
class Known:
    """What the store knows of an attempt of a step."""

    id: str
    name: str
    attempt: int
    position: int
    status: str
    ended_at: int | None = None


_OF_NAME = "SELECT 1 AS found FROM runs WHERE name = :name AND kind = 'pipeline' LIMIT 1"
_ADD_RUN = (
    "INSERT INTO runs (id, kind, name, experiment, group_id, stack, status, started_at) "
    "VALUES (:id, 'pipeline', :name, :experiment, :id, :stack, 'running', :started_at) "
    "ON CONFLICT (id) DO NOTHING"
)
_STEPS = (
    "SELECT id, name, attempt, position, status, ended_at FROM runs "
    "WHERE group_id = :id AND kind = 'step'"
)


def begin_step(store: Store, step: RunnerStep) -> Placed:
    """Record that a step runs, and its pipeline run with it; a second time changes nothing.

    Args:
        store: The store.
        step: The step, and the pipeline run that it belongs to.
    """
    with store.writing() as session:
        _lock(session, store, step.pipeline_run_id)
        _add_pipeline_run(session, step)
        return _add_step(session, step)


def end_step(store: Store, step: RunnerStep, values: Mapping[str, Any]) -> None:
    """Record how a step ended, whether or not its start is recorded.

    Args:
        store: The store.
        step: The step.
        values: Columns of its row to change.
    """
    with store.writing() as session:
        _lock(session, store, step.pipeline_run_id)
        _add_pipeline_run(session, step)
        _add_step(session, step)
        update_run(session, step.id, values)
        _settle(session, step.pipeline_run_id)


def _lock(session: Session, store: Store, pipeline_run_id: str) -> None:
    if store.database.is_shared:  # sqlite has one writer at a time
        lock = "SELECT pg_advisory_xact_lock(7236142, hashtext(:id))"
        session.execute(lock, {"id": pipeline_run_id})


def _add_pipeline_run(session: Session, step: RunnerStep) -> None:
    name = f"{step.pipeline}-{step.run}"
    if len(name) > _LONGEST or session.execute(_OF_NAME, {"name": name}):
        name = f"{name[: _LONGEST - 33]}-{step.pipeline_run_id}"
    values = {
        "id": step.pipeline_run_id,
        "name": name,
        "experiment": step.pipeline[:_LONGEST],
        "stack": NO_STACK,
        "started_at": step.started_at,
    }
    session.execute(_ADD_RUN, to_columns(values))


def _add_step(session: Session, step: RunnerStep) -> Placed:
    found = [Known(**row) for row in session.execute(_STEPS, {"id": step.pipeline_run_id})]
    for row in found:
        if row.id == step.id:
            return Placed(row.name, row.attempt, row.position)
    placed = place(step, found)
    new = StepRunRow(
        step.id,
        step.pipeline_run_id,
        placed.name,
        placed.attempt,
        placed.position,
        "running",
        step.started_at,
    )
    add_step(session, new)
    update_run(session, step.pipeline_run_id, {"status": "running", "ended_at": None})
    return placed


def place(step: RunnerStep, found: Iterable[Known]) -> Placed:
    """Find the place of a step among those of its run.

    Args:
        step: The step.
        found: What is known of each attempt.
    """
    latest: dict[str, Known] = {}
    for row in sorted(found, key=lambda row: row.attempt):
        latest[row.name] = row
    own = step.step[: _LONGEST - 10]
    number = 1
    names = [own]
    while names[-1] in latest:
        number += 1
        names.append(f"{own}_{number}")
    attempt = step.attempt or 1
    # An attempt whose process was lost may not have been found dead yet.
    for statuses in (_UNFINISHED, ("running",)) if attempt > 1 else (_UNFINISHED,):
        for name in names[:-1]:
            before = latest[name]
            follows = step.attempt is None or before.attempt < attempt
            if before.status in statuses and follows:
                attempt = before.attempt + 1 if step.attempt is None else attempt
                return Placed(name, attempt, before.position, before.id)
    position = 1 + max((row.position for row in latest.values()), default=-1)
    return Placed(names[-1], attempt, position)


def _settle(session: Session, pipeline_run_id: str) -> None:
    """Give a pipeline run the status that follows from the last attempts of its steps."""
    found = [Known(**row) for row in session.execute(_STEPS, {"id": pipeline_run_id})]
    latest = {row.name: row for row in sorted(found, key=lambda row: row.attempt)}.values()
    status: str = max((row.status for row in latest), key=_severity)
    ended_at = None
    if any(row.status == "running" for row in latest):
        status = "running"
    else:
        ended_at = max(row.ended_at or 0 for row in latest)
    update_run(session, pipeline_run_id, {"status": status, "ended_at": ended_at})


def _severity(status: str) -> int:
    return [*map(str, SEVERITY)].index(status)
