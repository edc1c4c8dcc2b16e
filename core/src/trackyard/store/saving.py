"""How is the row of a run written, with what belongs to it, whoever writes it?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trackyard.contract.records import encodable
from trackyard.store.databases import Session
from trackyard.store.details import write_metrics, write_params, write_summary, write_trackers
from trackyard.store.rows import StepRunRow

if TYPE_CHECKING:
    from trackyard.store.store import Store

# Columns that hold JSON.
JSON_COLUMNS = {"outputs", "metadata"}
# What belongs to a run, in tables beside it.
_DETAILS = {"params", "metrics", "summary"}

_WRITTEN = {
    "pipeline": (
        *("id", "kind", "name", "experiment", "group_id", "stack", "status"),
        *("started_at", "ended_at"),
    ),
    "step": (
        *("id", "kind", "name", "experiment", "parent_id", "group_id", "attempt", "position"),
        *("status", "started_at", "ended_at", "error", "outputs", "metadata", "cache_key"),
    ),
}

# A step's experiment is that of its pipeline run.
_GIVEN = {
    ("step", "kind"): "'step'",
    ("step", "experiment"): "COALESCE((SELECT experiment FROM runs WHERE id = :group_id), '')",
}


def _as_given(names: Iterable[str]) -> str:
    """Give what a run that is there takes over; its name stays, which may have been changed.

    Where it has ended, nobody waits for signs of its life any more.
    """
    own = [f"{name} = excluded.{name}" for name in names if name not in ("id", "name")]
    life = "CASE WHEN excluded.status = 'running' THEN runs.heartbeat_at END"
    return ", ".join([*own, f"heartbeat_at = {life}"])


# A run that is written again, by a driver whose answer was lost or whose rows were deleted, is the
# same run.
UPSERT = {
    kind: f"INSERT INTO runs ({', '.join(names)}) "
    f"VALUES ({', '.join(_GIVEN.get((kind, n), f':{n}') for n in names)}) "
    f"ON CONFLICT (id) DO UPDATE SET {_as_given(names)}"
    for kind, names in _WRITTEN.items()
}


def add_step(session: Session, row: StepRunRow) -> None:
    """Record an attempt of a step; a second time changes what has changed.

    Args:
        session: In a transaction.
        row: The attempt.
    """
    values = {
        "id": row.id,
        "name": encodable(row.name),
        "parent_id": row.pipeline_run_id,
        "group_id": row.pipeline_run_id,
        "attempt": row.attempt,
        "position": row.position,
        "status": row.status,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "error": row.error and encodable(row.error),
        "outputs": json.dumps(row.outputs) if row.outputs else "{}",
        "metadata": json.dumps(row.metadata) if row.metadata else "{}",
        "cache_key": row.cache_key,
    }
    session.execute(UPSERT["step"], values)
    if row.metrics or row.metadata:
        number = number_of(session, row.id) or 0
        write_metrics(session, number, row.metrics)
        write_trackers(session, number, row.metadata)


# A run that was read while it lived, and has ended since: without a heartbeat it was not ended by
# somebody else, and one that was opened again counts its openings.
_HAS_ENDED_SINCE = (
    "excluded.status = 'running' AND runs.status <> 'running' "
    "AND runs.heartbeat_at IS NULL AND excluded.opened <= runs.opened"
)


def save_run(
    session: Session,
    values: Mapping[str, Any],
    summary: Mapping[str, Any] | None,
    *,
    is_news: bool = True,
) -> None:
    """Record a run of any kind.

    Args:
        session: In a transaction.
        values: Its columns; those of a run that is there and are not given stay.
        summary: What its journal comes to, where that is known.
        is_news: It was not read some time ago, from a run that may have ended since.
    """
    names = [name for name in values if name != "id"]
    session.execute(
        f"INSERT INTO runs (id, {', '.join(names)}) "
        f"VALUES (:id, {', '.join(f':{name}' for name in names)}) "
        f"ON CONFLICT (id) DO UPDATE SET {_as_given(names)}"
        f"{'' if is_news else f' WHERE NOT ({_HAS_ENDED_SINCE})'}",
        to_columns(values),
    )
    if not is_news and values["status"] == "running":
        query = "SELECT status FROM runs WHERE id = :id"
        if session.execute(query, {"id": values["id"]})[0]["status"] != "running":
            return
    if values.get("metadata"):
        write_trackers(session, number_of(session, values["id"]) or 0, values["metadata"])
    _write_summary(session, values["id"], summary)


def save_running(store: Store, values: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    """Record what a run comes to that goes on; False where it has ended, which is left as it is.

    Args:
        store: The store.
        values: Its columns, of which those that are there stay.
        summary: What its journal comes to so far.
    """
    with store.writing() as session:
        query = "SELECT status FROM runs WHERE id = :id"
        known = session.execute(query, {"id": values["id"]})
        if known and known[0]["status"] != "running":
            return False
        if known:
            _write_summary(session, values["id"], summary)
        else:
            save_run(session, values, summary)
    return True


def _write_summary(session: Session, id: str, summary: Mapping[str, Any] | None) -> None:
    number = number_of(session, id) if summary else None
    if summary and number is not None:
        write_summary(session, number, summary)


def update_run(session: Session, id: str, values: Mapping[str, Any]) -> None:
    """Change columns of a run, and what belongs to it.

    Args:
        session: In a transaction.
        id: The run's id.
        values: New values by column; `params` and `metrics` by key; `summary`, see
            `details.write_summary`.
    """
    columns = to_columns({key: value for key, value in values.items() if key not in _DETAILS})
    if columns.get("ended_at"):
        columns["heartbeat_at"] = None
    if columns:
        changes = ", ".join(f"{key} = :{key}" for key in columns)
        session.execute(f"UPDATE runs SET {changes} WHERE id = :id", {**columns, "id": id})
    beside = {key: values[key] for key in ("params", "metrics", "metadata") if values.get(key)}
    _write_summary(session, id, values.get("summary"))
    number = number_of(session, id) if beside else None
    if number is None:
        return
    if "params" in beside:
        write_params(session, number, beside["params"])
    if "metrics" in beside:
        write_metrics(session, number, beside["metrics"])
    if "metadata" in beside:
        write_trackers(session, number, beside["metadata"])


def number_of(session: Session, id: str) -> int | None:
    """Give the number by which the tables beside it name a run; None where it is not there.

    Args:
        session: In a transaction.
        id: The run's id.
    """
    found = session.execute("SELECT no FROM runs WHERE id = :id", {"id": id})
    return int(found[0]["no"]) if found else None


def to_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give values as the tables hold them."""
    return {key: _to_column(key, value) for key, value in values.items()}


def _to_column(key: str, value: Any) -> Any:
    if key in JSON_COLUMNS:
        return json.dumps(value)
    return encodable(value) if isinstance(value, str) else value
