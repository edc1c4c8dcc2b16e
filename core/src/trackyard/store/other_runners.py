"""How is the run of a pipeline recorded whose steps another runner starts, each by itself?

No process drives such a run: the process of each step writes its row, and the run's status, which
follows from those of its steps. A lock per run lets them do so one at a time, on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from sqlalchemy import Connection, func, insert, select, update

from trackyard.contract.records import SEVERITY
from trackyard.store.rows import PipelineRunRow, StepRunRow
from trackyard.store.schema import PIPELINE_RUNS, STEP_RUNS
from trackyard.store.store import Store, to_columns

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


def begin_step(store: Store, step: RunnerStep) -> Placed:
    """Record that a step runs, and its pipeline run with it; a second time changes nothing.

    Args:
        store: The store.
        step: The step, and the pipeline run that it belongs to.
    """
    with store.writing() as connection:
        _lock(connection, step.pipeline_run_id)
        _add_pipeline_run(connection, step)
        return _add_step(connection, step)


def end_step(store: Store, step: RunnerStep, values: Mapping[str, Any]) -> None:
    """Record how a step ended, whether or not its start is recorded.

    Args:
        store: The store.
        step: The step.
        values: Columns of its row to change.
    """
    with store.writing() as connection:
        _lock(connection, step.pipeline_run_id)
        _add_pipeline_run(connection, step)
        _add_step(connection, step)
        of_step = update(STEP_RUNS).where(STEP_RUNS.c.id == step.id)
        connection.execute(of_step.values(**to_columns(values)))
        _settle(connection, step.pipeline_run_id)


def _lock(connection: Connection, pipeline_run_id: str) -> None:
    if connection.dialect.name == "postgresql":  # sqlite has one writer at a time
        key = func.hashtext(pipeline_run_id)
        connection.execute(select(func.pg_advisory_xact_lock(7236142, key)))


def _add_pipeline_run(connection: Connection, step: RunnerStep) -> None:
    runs = PIPELINE_RUNS.c
    if connection.execute(select(runs.id).where(runs.id == step.pipeline_run_id)).first():
        return
    name = f"{step.pipeline}-{step.run}"
    if len(name) > _LONGEST or connection.execute(select(runs.id).where(runs.name == name)).first():
        name = f"{name[: _LONGEST - 33]}-{step.pipeline_run_id}"
    row = PipelineRunRow(
        id=step.pipeline_run_id,
        name=name,
        pipeline=step.pipeline[:_LONGEST],
        stack=NO_STACK,
        status="running",
        started_at=step.started_at,
    )
    connection.execute(insert(PIPELINE_RUNS), to_columns(attrs.asdict(row)))


def _add_step(connection: Connection, step: RunnerStep) -> Placed:
    columns = STEP_RUNS.c
    query = select(columns.id, columns.name, columns.attempt, columns.position, columns.status)
    found = connection.execute(query.where(columns.pipeline_run_id == step.pipeline_run_id)).all()
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
    connection.execute(insert(STEP_RUNS), to_columns(attrs.asdict(new)))
    values = {"status": "running", "ended_at": None}
    of_run = PIPELINE_RUNS.c.id == step.pipeline_run_id
    connection.execute(update(PIPELINE_RUNS).where(of_run).values(values))
    return placed


def place(step: RunnerStep, found: Iterable[Any]) -> Placed:
    """Find the place of a step among those of its run.

    Args:
        step: The step.
        found: What is known of each attempt: `id`, `name`, `attempt`, `position`, `status`.
    """
    latest: dict[str, Any] = {}
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


def _settle(connection: Connection, pipeline_run_id: str) -> None:
    """Give a pipeline run the status that follows from the last attempts of its steps."""
    columns = STEP_RUNS.c
    query = select(columns.name, columns.status, columns.ended_at)
    query = query.where(columns.pipeline_run_id == pipeline_run_id).order_by(columns.attempt)
    latest = {row.name: row for row in connection.execute(query)}.values()
    status, ended_at = max((row.status for row in latest), key=SEVERITY.index), None
    if any(row.status == "running" for row in latest):
        status = "running"
    else:
        ended_at = max(row.ended_at for row in latest)
    of_run = PIPELINE_RUNS.c.id == pipeline_run_id
    connection.execute(update(PIPELINE_RUNS).where(of_run).values(status=status, ended_at=ended_at))
