"""Which runs fit a filter such as `metrics.loss < 0.1`, in which order, page by page?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trackyard.store.databases import Session
from trackyard.store.details import MetricRow, RunDetails
from trackyard.store.filters import Condition, SortedBy, compile_filter, sorted_by
from trackyard.store.rows import STEP_ORDER, ListedRow
from trackyard.store.store import Store

_COLUMNS = (
    "r.no, r.id, r.kind, r.name, r.experiment, r.stack, r.status, r.started_at, r.ended_at, "
    "r.opened"
)
_AT_TOP = "r.parent_id IS NULL"
# The run that is listed, of one that holds a value: a pipeline's steps hold those of its run.
_LISTED = "CASE WHEN h.kind = 'step' AND h.parent_id IS NOT NULL THEN h.parent_id ELSE h.id END"


def search(
    store: Store, filter: str = "", order_by: str = "", *, side: str = "last", most: int, skip: int
) -> list[ListedRow]:
    """Find runs that stand below no other.

    Runs that lack what is sorted by come last; of those that are equal the latest comes first.

    Args:
        store: The store.
        filter: See `store.filters`; an empty one lets everything pass.
        order_by: Such as `metrics.loss DESC`; the latest come first where it is empty.
        side: Of metrics that are sorted by, which value counts: `last`, `least` or `greatest`.
        most: How many at most.
        skip: How many are passed over.

    Raises:
        FilterError: The filter or `order_by` is wrong.
    """
    where = compile_filter(filter, is_postgresql=store.database.is_shared)
    wanted = sorted_by(order_by or "start_time DESC", side)
    with store.reading() as session:
        if wanted.entity == "attributes":
            rows = _by_attribute(session, where, wanted, most, skip)
        else:
            rows = _by_value(session, where, wanted, most, skip)
    return [ListedRow(**{k: v for k, v in row.items() if k != "no"}) for row in rows]


def count(store: Store, filter: str = "") -> int:
    """Count the runs that stand below no other and fit a filter.

    Args:
        store: The store.
        filter: See `store.filters`.

    Raises:
        FilterError: The filter is wrong.
    """
    where = compile_filter(filter, is_postgresql=store.database.is_shared)
    query = f"SELECT COUNT(*) AS n FROM runs r WHERE {_AT_TOP} AND {where.sql}"
    return int(store.execute(query, where.values)[0]["n"])


def keys_of(store: Store, entity: str, most: int) -> list[str]:
    """Name the params, metrics or tags that runs have, in the order of their names.

    The index is gone through from each key to the next, since few keys have many values.

    Args:
        store: The store.
        entity: `params`, `metrics` or `tags`.
        most: How many at most.
    """
    query = (
        f"WITH RECURSIVE found (key) AS (SELECT MIN(key) FROM {entity} "
        f"UNION ALL SELECT (SELECT MIN(t.key) FROM {entity} t WHERE t.key > found.key) "
        "FROM found WHERE found.key IS NOT NULL) "
        "SELECT key FROM found WHERE key IS NOT NULL LIMIT :most"
    )
    return [row["key"] for row in store.execute(query, {"most": most})]


def _by_attribute(
    session: Session, where: Condition, wanted: SortedBy, most: int, skip: int
) -> list[Mapping[str, Any]]:
    direction = "ASC" if wanted.is_ascending else "DESC"
    then = f"r.id {direction}" if wanted.key == "started_at" else "r.started_at DESC, r.id DESC"
    query = (
        f"SELECT {_COLUMNS} FROM runs r WHERE {_AT_TOP} AND {where.sql} "
        f"ORDER BY r.{wanted.key} {direction}, {then} LIMIT :most OFFSET :skip"
    )
    return session.execute(query, {**where.values, "most": most, "skip": skip})


def _by_value(
    session: Session, where: Condition, wanted: SortedBy, most: int, skip: int
) -> list[Mapping[str, Any]]:
    """Go along the index of the values, then take the runs without one."""
    column = wanted.column if wanted.entity == "metrics" else "number"
    direction = "ASC" if wanted.is_ascending else "DESC"
    query = (
        f"SELECT {_COLUMNS} FROM {wanted.entity} d JOIN runs h ON h.no = d.run "
        f"JOIN runs r ON r.id = {_LISTED} "
        f"WHERE d.key = :sort_key AND d.{column} IS NOT NULL AND {_AT_TOP} AND {where.sql} "
        f"ORDER BY d.{column} {direction}, d.run DESC LIMIT :enough"
    )
    values = {**where.values, "sort_key": wanted.key}
    enough = skip + most
    found: dict[int, Mapping[str, Any]] = {}
    limit = enough
    while True:
        rows = session.execute(query, {**values, "enough": limit})
        found = {}
        for row in rows:
            found.setdefault(row["no"], row)
        if len(found) >= enough or len(rows) < limit:
            break
        limit *= 4  # several steps of one run have the value
    first = [*found.values()][skip:enough]
    if len(first) == most:
        return first
    rest = (most - len(first), max(0, skip - len(found)))
    return first + _without_value(session, where, wanted, rest)


def _without_value(
    session: Session, where: Condition, wanted: SortedBy, rest: tuple[int, int]
) -> list[Mapping[str, Any]]:
    column = wanted.column if wanted.entity == "metrics" else "number"
    has_value = (
        f"SELECT {_LISTED} FROM {wanted.entity} d JOIN runs h ON h.no = d.run "
        f"WHERE d.key = :sort_key AND d.{column} IS NOT NULL"
    )
    query = (
        f"SELECT {_COLUMNS} FROM runs r WHERE {_AT_TOP} AND {where.sql} "
        f"AND r.id NOT IN ({has_value}) "
        "ORDER BY r.started_at DESC, r.id DESC LIMIT :most OFFSET :skip"
    )
    values = {"sort_key": wanted.key, "most": rest[0], "skip": rest[1]}
    return session.execute(query, {**where.values, **values})


def details_with_steps(store: Store, ids: Iterable[str]) -> dict[str, RunDetails]:
    """Give what was logged in runs, and in the steps of those that are pipelines' runs.

    Args:
        store: The store.
        ids: The runs' ids.
    """
    wanted = list(ids)
    query = f"SELECT id FROM runs WHERE group_id = :id AND kind = 'step' ORDER BY {STEP_ORDER}"
    steps = {id_: [row["id"] for row in store.execute(query, {"id": id_})] for id_ in wanted}
    known = store.details_of([*wanted, *(step for of in steps.values() for step in of)])
    nothing = RunDetails({}, {}, ())
    return {
        id_: _joined([known.get(step, nothing) for step in (id_, *steps[id_])]) for id_ in wanted
    }


def _joined(parts: Iterable[RunDetails]) -> RunDetails:
    """Join what several steps have; of a key that several have the last one counts."""
    params: dict[str, Any] = {}
    tags: dict[str, str] = {}
    metrics: dict[str, MetricRow] = {}
    for part in parts:
        params |= part.params
        tags |= part.tags
        metrics |= {metric.key: metric for metric in part.metrics}
    return RunDetails(params, tags, tuple(metrics.values()))
