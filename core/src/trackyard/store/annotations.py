"""What do people say of a run after its end, and of an output: tags, a note, another name?

The journal of a run that is on this machine has it, too. For the others the store alone does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from trackyard.contract.records import encodable
from trackyard.store.details import set_tags
from trackyard.store.store import Store


@attrs.frozen
class Annotation:
    """What is said of a run.

    Attributes:
        tags: Texts by key.
        note: A note of any length, which replaces the one before; None leaves that.
        name: Another name; None leaves it.
    """

    tags: Mapping[str, str] = attrs.field(factory=dict)
    note: str | None = None
    name: str | None = None


def annotate(store: Store, id: str, said: Annotation, at: int, by: str | None) -> bool:
    """Write what somebody says of a run; False where the store has no such run.

    Args:
        store: The store.
        id: The run's id.
        said: What.
        at: When, in nanoseconds since the epoch.
        by: Who, where that is known.
    """
    columns = {"note": said.note, "name": said.name}
    known = {key: encodable(value) for key, value in columns.items() if value is not None}
    with store.writing() as session:
        found = session.execute("SELECT no FROM runs WHERE id = :id", {"id": id})
        if not found:
            return False
        if said.tags:
            set_tags(session, int(found[0]["no"]), said.tags, at, by)
        if known:
            changes = ", ".join(f"{key} = :{key}" for key in known)
            session.execute(f"UPDATE runs SET {changes} WHERE id = :id", {**known, "id": id})
    return True


def said_of(store: Store, id: str) -> dict[str, Annotation]:
    """Give what somebody has said by hand of a run, and of its steps, by their ids.

    Args:
        store: The store.
        id: The run's id.
    """
    of_run = "(r.id = :id OR r.group_id = :id)"
    rows = store.execute(f"SELECT r.id, r.name, r.note FROM runs r WHERE {of_run}", {"id": id})
    tags: dict[str, dict[str, str]] = {}
    for row in store.execute(
        "SELECT r.id, t.key, t.value, t.whole FROM tags t JOIN runs r ON r.no = t.run "
        f"WHERE t.set_at IS NOT NULL AND {of_run}",
        {"id": id},
    ):
        text = row["value"] if row["whole"] is None else row["whole"]
        tags.setdefault(row["id"], {})[row["key"]] = text
    return {
        row["id"]: Annotation(tags.get(row["id"], {}), row["note"] or None, row["name"])
        for row in rows
    }


def left_elsewhere(store: Store, id: str) -> str | None:
    """Give what a run's machine has left for others to reach its trackers, where it has.

    Args:
        store: The store.
        id: The run's id.
    """
    rows = store.execute("SELECT journal FROM runs WHERE id = :id", {"id": id})
    return rows[0]["journal"] if rows else None


def read_metadata(store: Store, output_id: str) -> dict[str, Any]:
    """Give what is said of a version of an output.

    Args:
        store: The store.
        output_id: The version's id.
    """
    rows = store.execute("SELECT metadata FROM outputs WHERE id = :id", {"id": output_id})
    return dict(json.loads(rows[0]["metadata"])) if rows else {}


def add_metadata(store: Store, output_id: str, metadata: Mapping[str, Any]) -> None:
    """Say more of a version of an output: the last value of a key counts.

    Args:
        store: The store.
        output_id: The version's id.
        metadata: Values that JSON has, by key.
    """
    with store.writing() as session:
        lock = " FOR UPDATE" if store.database.is_shared else ""  # sqlite has one writer at a time
        query = f"SELECT metadata FROM outputs WHERE id = :id{lock}"
        rows = session.execute(query, {"id": output_id})
        known = json.loads(rows[0]["metadata"]) if rows else {}
        session.execute(
            "UPDATE outputs SET metadata = :metadata WHERE id = :id",
            {"metadata": json.dumps({**known, **metadata}), "id": output_id},
        )
