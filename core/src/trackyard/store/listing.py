"""Which runs fit a filter, in which order, page by page?"""

from __future__ import annotations

from typing import Any, Literal, get_args

import attrs

from trackyard.contract.records import encodable
from trackyard.project.configuration import Project
from trackyard.store.details import behind
from trackyard.store.rows import ListedRow
from trackyard.store.store import Store

SortKey = Literal["started", "ended", "duration", "name", "pipeline", "status"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

# As the indexes of `store.schema` have them.
_EXPRESSIONS: dict[SortKey, str] = {
    "started": "r.started_at",
    "ended": "COALESCE(r.ended_at, 9223372036854775807)",
    "duration": "(COALESCE(r.ended_at, 9223372036854775807) - r.started_at - r.paused)",
    "name": "r.name",
    "pipeline": "r.experiment",
    "status": "r.status",
}


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
        parents: Only child runs of the runs with these ids; else child runs are left out.
        user: Who made it.
        commit: How the commit begins that it, or one of its steps, was made from.
        tags: Labels that it, or one of its steps, has, with their texts.
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
    parents: tuple[str, ...] = ()
    user: str | None = None
    commit: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


def has_store(project: Project) -> bool:
    """Tell whether the project's store has been made, or is a database by URL."""
    return "store" in project.table or (project.home / "store.db").exists()


def list_rows(project: Project, wanted: RunFilter) -> list[ListedRow]:
    """List the runs of a project's store that fit a filter and stand below no other.

    Args:
        project: The project.
        wanted: Which of them, in which order, how many.
    """
    conditions, values = _conditions(wanted)
    direction = "ASC" if wanted.is_ascending else "DESC"
    query = (
        "SELECT r.id, r.kind, r.name, r.experiment, r.stack, r.status, r.started_at, r.ended_at, "
        "r.paused FROM runs r WHERE r.parent_id IS NULL "
        f"{' '.join(f'AND {condition}' for condition in conditions)} "
        f"ORDER BY {_EXPRESSIONS[wanted.sort]} {direction}, r.id {direction} "
        "LIMIT :most OFFSET :skip"
    )
    values |= {"most": wanted.most, "skip": wanted.skip}
    return [ListedRow(**row) for row in _rows(project, query, values)]


def find_rows(store: Store, text: str) -> list[ListedRow]:
    """Find the runs that a text means: by id, by name, or by a prefix of either.

    Of several runs of one name the latest is meant, and one of a pipeline before one of a block. A
    step of a pipeline is found by its id alone, since its name is not its own.

    Args:
        store: The store.
        text: A name, an id, or a prefix of either.

    Returns:
        One; several where it is a prefix of several, a few of them; none where none fits.
    """
    select = (
        "SELECT id, kind, name, experiment, stack, status, started_at, ended_at, paused FROM runs"
    )
    asked = {"text": encodable(text)}
    by_id = store.execute(f"{select} WHERE id = :text", asked)
    if not by_id:
        by_id = store.execute(
            f"{select} WHERE name = :text AND (kind != 'step' OR parent_id IS NULL) "
            "ORDER BY CASE kind WHEN 'pipeline' THEN 0 ELSE 1 END, started_at DESC LIMIT 1",
            asked,
        )
    if not by_id and text:
        by_id = store.execute(
            f"{select} WHERE (id >= :text AND id < :end) OR (name >= :text AND name < :end "
            "AND (kind != 'step' OR parent_id IS NULL)) ORDER BY started_at DESC LIMIT 6",
            asked | {"end": behind(asked["text"])},
        )
    return [ListedRow(**row) for row in by_id]


def ids_of_runs(project: Project, name: str) -> list[str]:
    """Give the ids of the runs of a name that no pipeline drives.

    Args:
        project: The project.
        name: The name.
    """
    query = "SELECT id FROM runs WHERE name = :name AND kind = 'run' ORDER BY started_at"
    return [row["id"] for row in _rows(project, query, {"name": encodable(name)})]


def known_ids(project: Project, first: str, last: str) -> set[str]:
    """Give the ids of runs of any kind between two ids, which begin with a time.

    Args:
        project: The project.
        first: The least id that is asked for.
        last: The greatest.
    """
    query = "SELECT id FROM runs WHERE id BETWEEN :first AND :last"
    return {row["id"] for row in _rows(project, query, {"first": first, "last": last})}


def _conditions(wanted: RunFilter) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}
    for condition, name, value in (
        ("r.experiment = :pipeline", "pipeline", wanted.pipeline),
        ("r.started_at >= :since", "since", wanted.since),
        ("r.started_at < :until", "until", wanted.until),
        (_ON_TRACKER, "tracker", wanted.tracker),
        (f"r.id IN ({_OF_A_STEP} WHERE s.user_name = :user)", "user", wanted.user),
        (
            f"r.id IN ({_OF_A_STEP} WHERE substr(s.git_commit, 1, length(:commit)) = :commit)",
            "commit",
            wanted.commit,
        ),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    for index, (key, text) in enumerate(wanted.tags):
        conditions.append(
            f"r.id IN ({_OF_A_STEP} JOIN tags t ON t.run = s.no "
            f"WHERE t.key = :tag{index} AND t.value = :text{index})"
        )
        values |= {f"tag{index}": key, f"text{index}": text}
    if wanted.statuses:
        names = {f"status{index}": status for index, status in enumerate(wanted.statuses)}
        conditions.append(f"r.status IN ({', '.join(f':{name}' for name in names)})")
        values |= names
    return conditions, values


# Runs at the top of which this is a part, or which are this.
_OF_A_STEP = "SELECT COALESCE(s.group_id, s.id) FROM runs s"
_ON_TRACKER = (
    "r.id IN (SELECT COALESCE(s.group_id, s.id) FROM trackers t JOIN runs s ON s.no = t.run "
    "WHERE t.name = :tracker)"
)


def _rows(project: Project, query: str, values: dict[str, Any]) -> list[Any]:
    if not has_store(project):
        return []
    store = Store.of(project)
    try:
        return store.execute(query, values)
    finally:
        store.close()
