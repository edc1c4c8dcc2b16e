"""Which runs fit a filter such as `metrics.loss < 0.1`, in which order, page by page?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from trackyard.store.databases import Session
from trackyard.store.details import MetricRow, RunDetails
from trackyard.store.filters import Condition, SortedBy, compile_filter, sorted_by
from trackyard.store.rows import STEP_ORDER, ListedRow
from trackyard.store.store import Store

_NAMES = (
    *("no", "id", "kind", "name", "experiment", "stack", "status"),
    *("started_at", "ended_at", "paused"),
)
_COLUMNS = ", ".join(f"r.{name}" for name in _NAMES)
_AT_TOP = "r.parent_id IS NULL"
# The run that is listed, of one that holds a value: a pipeline's steps hold those of its run.
_LISTED = "CASE WHEN h.kind = 'step' AND h.parent_id IS NOT NULL THEN h.parent_id ELSE h.id END"


# So many times as many runs as are wanted are tried one by one, in their order, before all of those
# that fit are gathered: where many fit that costs the same however many runs there are.
_NEAR = 16
# So many runs at most are named one by one in a query.
_NAMED = 1000
# Attributes that an index has in their order.
_INDEXED = ("started_at", "experiment", "status", "name", "id")


def search(
    store: Store,
    filter: str = "",
    order_by: str | Sequence[str] = "",
    *,
    side: str = "last",
    most: int,
    skip: int,
) -> list[ListedRow]:
    """Find runs that stand below no other.

    Runs that lack what is sorted by come last; of those that are equal the latest comes first.

    Args:
        store: The store.
        filter: See `store.filters`; an empty one lets everything pass.
        order_by: Such as `metrics.loss DESC`, or several of these, of which the next one counts
            where the one before is equal; the latest come first where there is none.
        side: Of metrics that are sorted by, which value counts: `last`, `least` or `greatest`.
        most: How many at most.
        skip: How many are passed over.

    Raises:
        FilterError: The filter or `order_by` is wrong.
    """
    texts = [order_by] if isinstance(order_by, str) else [*order_by]
    keys = [sorted_by(text, side) for text in texts if text] or [sorted_by("start_time DESC")]
    where = _Where(filter, is_postgresql=store.database.is_shared)
    with store.reading() as session:
        if len(keys) > 1:
            rows = _by_several(session, where, keys, most, skip)
        elif keys[0].entity == "attributes":
            rows = _by_attribute(session, where, keys[0], most, skip)
        else:
            rows = _by_value(session, where, keys[0], most, skip)
    return [ListedRow(**{name: row[name] for name in _NAMES[1:]}) for row in rows]


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


class _Where:
    """A filter, for a look at all runs and for one at each by itself.

    Args:
        text: The filter.
        is_postgresql: For PostgreSQL and not for sqlite.
    """

    def __init__(self, text: str, *, is_postgresql: bool) -> None:
        self.all = compile_filter(text, is_postgresql=is_postgresql)
        self.each = compile_filter(text, is_postgresql=is_postgresql, is_of_each=True)

    def limited(self, sql: str, values: Mapping[str, Any]) -> _Where:
        """Give the filter with a condition more.

        Args:
            sql: The condition.
            values: Its values by name.
        """
        limited = copy(self)
        limited.all, limited.each = (
            Condition(f"({known.sql}) AND {sql}", {**known.values, **values})
            for known in (self.all, self.each)
        )
        return limited


def _by_attribute(
    session: Session, where: _Where, wanted: SortedBy, most: int, skip: int
) -> list[Mapping[str, Any]]:
    order = ", ".join([*_of_attribute(wanted), *_then(wanted)])
    values = {"most": most, "skip": skip}
    if wanted.key == "started_at" and where.each.values:
        near = _NEAR * (most + skip)
        first = (
            f"SELECT * FROM runs r WHERE {_AT_TOP} AND r.started_at IS NOT NULL "
            f"ORDER BY {order} LIMIT :near"
        )
        rows = session.execute(
            f"SELECT {_COLUMNS} FROM ({first}) r WHERE {where.each.sql} "
            f"ORDER BY {order} LIMIT :most OFFSET :skip",
            {**where.each.values, **values, "near": near},
        )
        if len(rows) == most:
            return rows
    query = (
        f"SELECT {_COLUMNS} FROM runs r WHERE {_AT_TOP} AND {where.all.sql} "
        f"ORDER BY {order} LIMIT :most OFFSET :skip"
    )
    return session.execute(query, {**where.all.values, **values})


def _of_attribute(wanted: SortedBy) -> list[str]:
    direction = "ASC" if wanted.is_ascending else "DESC"
    last = [] if wanted.key in _ALWAYS_THERE else [f"r.{wanted.key} IS NULL"]
    return [*last, f"r.{wanted.key} {direction}"]


# What every run at the top has; without a word on the others an index gives the order.
_ALWAYS_THERE = ("id", "name", "experiment", "status", "kind", "stack", "started_at")


def _then(wanted: SortedBy) -> list[str]:
    """Give what counts where everything that was asked for is equal."""
    if wanted.key == "started_at" and wanted.entity == "attributes":
        return [f"r.id {'ASC' if wanted.is_ascending else 'DESC'}"]
    return ["r.started_at DESC", "r.id DESC"]


def _by_several(
    session: Session, where: _Where, keys: Sequence[SortedBy], most: int, skip: int
) -> list[Mapping[str, Any]]:
    """Give runs sorted by several keys: those that are equal in one are sorted by the next."""
    enough = skip + most
    if enough <= _NAMED:
        return _first_by_several(session, where, keys, enough)[skip:]
    return _sorted_by_all(session, where.all, keys, most, skip)


def _first_by_several(
    session: Session, where: _Where, keys: Sequence[SortedBy], enough: int
) -> list[Mapping[str, Any]]:
    """Go along the index of the first key, and sort nothing but what may be among the first.

    Of those that share the value with which there are enough, the next keys give the first.
    """
    found = _near_in_order(session, where.each, keys[0], enough)
    if len(found) < enough:
        return _sorted_by_all(session, where.all, keys, enough)
    bound = found[enough - 1]["value"]
    ids = {f"id{at}": row["id"] for at, row in enumerate(found) if row["value"] != bound}
    before: list[Mapping[str, Any]] = []
    if ids:
        named = Condition(f"r.id IN ({', '.join(f':{name}' for name in ids)})", ids)
        before = _sorted_by_all(session, named, keys, len(ids))
    left = enough - len(before)
    equal = where.limited(*_equals(keys[0], bound, len(where.each.values)))
    if len(keys) > 1:
        return before + _first_by_several(session, equal, keys[1:], left)
    return before + _sorted_by_all(session, equal.all, keys, left)


def _near_in_order(
    session: Session, where: Condition, wanted: SortedBy, enough: int
) -> list[Mapping[str, Any]]:
    """Give runs in the order of one key, as `value`; fewer where they are not found at once."""
    near = _NEAR * enough
    if wanted.entity != "attributes":
        return _with_value(session, where, wanted, enough, near=near)[:enough]
    if wanted.key not in _INDEXED:
        return []
    order = f"r.{wanted.key} {'ASC' if wanted.is_ascending else 'DESC'}"
    first = (
        f"SELECT * FROM runs r WHERE {_AT_TOP} AND r.{wanted.key} IS NOT NULL "
        f"ORDER BY {order} LIMIT :near"
    )
    return session.execute(
        f"SELECT {_COLUMNS}, r.{wanted.key} AS value FROM ({first}) r WHERE {where.sql} "
        f"ORDER BY {order} LIMIT :enough",
        {**where.values, "near": near, "enough": enough},
    )


def _equals(wanted: SortedBy, bound: Any, place: int) -> tuple[str, dict[str, Any]]:
    """Give the condition that a run has a value of a key; `place` makes its names its own."""
    key, value = f"key_at{place}", f"bound_at{place}"
    if wanted.entity == "attributes":
        return f"r.{wanted.key} = :{value}", {value: bound}
    column = wanted.column if wanted.entity == "metrics" else "number"
    # The index finds them; of several steps' values the first one counts.
    sql = (
        f"r.id IN (SELECT {_LISTED} FROM {wanted.entity} d JOIN runs h ON h.no = d.run "
        f"WHERE d.key = :{key} AND d.{column} = :{value}) "
        f"AND ({_value_of(wanted, f':{key}')}) = :{value}"
    )
    return sql, {key: wanted.key, value: bound}


def _sorted_by_all(
    session: Session, where: Condition, keys: Sequence[SortedBy], most: int, skip: int = 0
) -> list[Mapping[str, Any]]:
    """Sort all runs that fit."""
    order: list[str] = []
    values: dict[str, Any] = {**where.values, "most": most, "skip": skip}
    columns = [_COLUMNS]
    for place, key in enumerate(keys):
        if key.entity == "attributes":
            order += _of_attribute(key)
            continue
        values[f"sort_key{place}"] = key.key
        columns.append(f"({_value_of(key, f':sort_key{place}')}) AS value{place}")
        direction = "ASC" if key.is_ascending else "DESC"
        order += [f"value{place} IS NULL", f"value{place} {direction}"]
    order += _then(keys[-1])
    rows = session.execute(
        f"SELECT * FROM (SELECT {', '.join(columns)} FROM runs r "
        f"WHERE {_AT_TOP} AND {where.sql}) r "
        f"ORDER BY {', '.join(order)} LIMIT :most OFFSET :skip",
        values,
    )
    return [{name: row[name] for name in _NAMES} for row in rows]


def _value_of(wanted: SortedBy, key: str) -> str:
    """Give the query of what a run is sorted by: of several steps' values the one that is first."""
    column = wanted.column if wanted.entity == "metrics" else "number"
    first = "MIN" if wanted.is_ascending else "MAX"
    return (
        f"SELECT {first}(v) FROM ("
        f"SELECT d.{column} AS v FROM {wanted.entity} d WHERE d.run = r.no AND d.key = {key} "
        # A left join begins with the steps, and not with all values of that key.
        f"UNION ALL SELECT d.{column} FROM runs s LEFT JOIN {wanted.entity} d "
        f"ON d.run = s.no AND d.key = {key} WHERE s.parent_id = r.id AND s.kind = 'step') one"
    )


def _by_value(
    session: Session, where: _Where, wanted: SortedBy, most: int, skip: int
) -> list[Mapping[str, Any]]:
    """Go along the index of the values, then take the runs without one."""
    enough = skip + most
    found = _with_value(session, where.each, wanted, enough, near=_NEAR * enough)
    if len(found) < enough:
        found = _with_value(session, where.all, wanted, enough)
    first = found[skip:enough]
    if len(first) == most:
        return first
    rest = (most - len(first), max(0, skip - len(found)))
    return first + _without_value(session, where.all, wanted, rest)


def _with_value(
    session: Session, where: Condition, wanted: SortedBy, enough: int, near: int | None = None
) -> list[Mapping[str, Any]]:
    """Give runs that have the value, in its order.

    Args:
        session: Where to read.
        where: Which runs.
        wanted: The value.
        enough: How many are wanted; there may be more.
        near: Only those that are among the first so many values.
    """
    column = wanted.column if wanted.entity == "metrics" else "number"
    direction = "ASC" if wanted.is_ascending else "DESC"
    order = f"ORDER BY d.{column} {direction}, d.run DESC"
    values = (
        f"SELECT d.run, d.{column}, d.{column} AS value FROM {wanted.entity} d "
        f"WHERE d.key = :sort_key AND d.{column} IS NOT NULL"
    )
    if near is not None:
        values += f" {order} LIMIT :near"
    query = (
        f"SELECT {_COLUMNS}, d.value FROM ({values}) d JOIN runs h ON h.no = d.run "
        f"JOIN runs r ON r.id = {_LISTED} WHERE {_AT_TOP} AND {where.sql} {order} LIMIT :enough"
    )
    bound = {**where.values, "sort_key": wanted.key, **({} if near is None else {"near": near})}
    limit = enough
    while True:
        rows = session.execute(query, {**bound, "enough": limit})
        found: dict[int, Mapping[str, Any]] = {}
        for row in rows:
            found.setdefault(row["no"], row)
        if len(found) >= enough or len(rows) < limit:
            return [*found.values()]
        limit *= 4  # several steps of one run have the value


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
