"""Which runs may a name mean, together with those that belong to them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trackyard.contract.records import encodable
from trackyard.store.databases import Session
from trackyard.store.details import behind
from trackyard.store.store import Store

# So many ids stand in one statement.
_AT_ONCE = 500
_MEANT = (
    "SELECT id, group_id FROM runs WHERE id = :text OR name = :text OR group_id = :text "
    "OR (id >= :text AND id < :end)"
)


def ids_of_family(store: Store, text: str) -> set[str]:
    """Give the ids of the runs that a name, an id or its beginning may mean, and of their families.

    A family are the runs of one group, those that were started inside one of them, and so on.

    Args:
        store: The store.
        text: The name, the id or its beginning.
    """
    asked = encodable(text)
    if not asked:
        return set()
    with store.reading() as session:
        rows = session.execute(_MEANT, {"text": asked, "end": behind(asked)})
        found = {row["id"] for row in rows}
        ahead = found | {row["group_id"] for row in rows if row["group_id"]}
        while ahead:
            below = set(_below(session, sorted(ahead))) - found
            found |= below
            ahead = below
    return found


def ids_of_groups(store: Store, groups: Iterable[str]) -> dict[str, list[str]]:
    """Give the ids of the runs of each of several groups, the first run of it included.

    Args:
        store: The store.
        groups: Their ids: of pipeline runs, and of runs in which others were started.
    """
    found: dict[str, list[str]] = {}
    with store.reading() as session:
        for names, values in _chunks(sorted(set(groups))):
            query = (
                "SELECT id, COALESCE(group_id, id) AS of_group FROM runs "
                f"WHERE group_id IN ({names}) OR id IN ({names})"
            )
            for row in session.execute(query, values):
                found.setdefault(row["of_group"], []).append(row["id"])
    return found


def groups_without_tracker(store: Store, first: str, last: str) -> dict[str, str]:
    """Give the runs between two ids that are on no tracker, with their groups.

    The row of a pipeline run names no tracker of its own run: it is where its steps' runs are.

    Args:
        store: The store.
        first: The least id.
        last: The greatest id.
    """
    query = (
        "SELECT r.id, COALESCE(r.group_id, r.id) AS of_group FROM runs r "
        "WHERE r.id BETWEEN :first AND :last "
        "AND NOT EXISTS (SELECT 1 FROM trackers t WHERE t.run = r.no) "
        "AND NOT EXISTS (SELECT 1 FROM runs m JOIN trackers t ON t.run = m.no "
        "WHERE m.group_id = r.id)"
    )
    rows = store.execute(query, {"first": first, "last": last})
    return {row["id"]: row["of_group"] for row in rows}


def _below(session: Session, ids: Sequence[str]) -> Iterator[str]:
    """Give the runs of the groups with these ids, and those that were started inside of these."""
    for names, values in _chunks(ids):
        query = (
            f"SELECT id FROM runs WHERE group_id IN ({names}) "
            f"UNION SELECT id FROM runs WHERE parent_id IN ({names})"
        )
        yield from (row["id"] for row in session.execute(query, values))


def _chunks(ids: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Give names for some values at a time, as they stand in a statement, and the values."""
    for start in range(0, len(ids), _AT_ONCE):
        values = {f"id{index}": id_ for index, id_ in enumerate(ids[start : start + _AT_ONCE])}
        yield ", ".join(f":{name}" for name in values), values
