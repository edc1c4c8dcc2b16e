"""Which outputs has a run made, and which other runs stand on them?"""

from __future__ import annotations

import json

from trackyard.store.rows import OutputRow
from trackyard.store.store import Store

_OF_RUN = "SELECT id FROM runs WHERE group_id = :id OR id = :id"
_READERS = (
    "SELECT COALESCE(p.name, r.name) AS name FROM output_reads x "
    "JOIN outputs o ON o.id = x.output_id JOIN runs r ON r.id = x.step_run_id "
    "LEFT JOIN runs p ON p.id = r.group_id "
    f"WHERE o.step_run_id IN ({_OF_RUN}) AND r.id NOT IN ({_OF_RUN})"
)
_CACHED = (
    "SELECT COALESCE(p.name, r.name) AS name, r.metadata FROM runs r "
    "LEFT JOIN runs p ON p.id = r.group_id "
    f"WHERE r.status = 'cached' AND r.id NOT IN ({_OF_RUN})"
)


def outputs_of_run(store: Store, id: str) -> list[OutputRow]:
    """List the versions of outputs that a run, or its steps, have made.

    Args:
        store: The store.
        id: The run's id.
    """
    steps = store.execute(_OF_RUN, {"id": id})
    return [row for step in steps for row in store.list_outputs_of(step["id"])]


def users_of_outputs(store: Store, id: str) -> list[str]:
    """Name the other runs that have read a run's outputs, or took them for their own results.

    Args:
        store: The store.
        id: The run's id.
    """
    own = {row["id"] for row in store.execute(_OF_RUN, {"id": id})}
    names = {row["name"] for row in store.execute(_READERS, {"id": id})}
    for row in store.execute(_CACHED, {"id": id}):
        if json.loads(row["metadata"]).get("cached_from") in own:
            names.add(row["name"])
    return sorted(names)
