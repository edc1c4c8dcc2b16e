"""Which outputs have steps read, and of which other steps?"""

from __future__ import annotations

from trackyard.store.rows import OutputRow
from trackyard.store.store import Store


def inputs_of(store: Store, step_run_id: str) -> list[OutputRow]:
    """Give the outputs that a step run has read, by name.

    Args:
        store: The store.
        step_run_id: Its id.
    """
    query = (
        "SELECT o.id, o.name, o.version, o.uri, o.materializer, o.size, o.sha256, o.step_run_id, "
        "o.created_at FROM outputs o JOIN output_reads x ON x.output_id = o.id "
        "WHERE x.step_run_id = :id ORDER BY o.name, o.version"
    )
    return [OutputRow(**row) for row in store.execute(query, {"id": step_run_id})]


def reads_in(store: Store, pipeline_run_id: str) -> list[tuple[str, str]]:
    """Give which step of a pipeline run has read an output of which other one, by their names.

    Args:
        store: The store.
        pipeline_run_id: Its id.
    """
    query = (
        "SELECT r.name AS reader, m.name AS maker FROM output_reads x "
        "JOIN runs r ON r.id = x.step_run_id JOIN outputs o ON o.id = x.output_id "
        "JOIN runs m ON m.id = o.step_run_id WHERE r.group_id = :id "
        "ORDER BY r.position, m.position"
    )
    rows = store.execute(query, {"id": pipeline_run_id})
    return [(row["reader"], row["maker"]) for row in rows]
