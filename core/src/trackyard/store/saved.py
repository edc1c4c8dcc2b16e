"""Which lists of runs has somebody saved by a name?"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import encodable
from trackyard.store.store import Store
from trackyard.system.suggestions import did_you_mean, listed

_SAVE = (
    "INSERT INTO saved_lists (name, query, saved_at, saved_by) VALUES (:name, :query, :at, :by) "
    "ON CONFLICT (name) DO UPDATE SET query = excluded.query, saved_at = excluded.saved_at, "
    "saved_by = excluded.saved_by"
)


def save_list(store: Store, name: str, words: Sequence[str], by: str | None = None) -> None:
    """Save what was typed for a list; what the name stood for before is replaced.

    Args:
        store: The store.
        name: The list's name.
        words: What stands behind `trackyard runs list`.
        by: Who saves it, where that is known.
    """
    values = {
        "name": encodable(name),
        "query": json.dumps({"words": [*words]}),
        "at": time.time_ns(),
        "by": by,
    }
    with store.writing() as session:
        session.execute(_SAVE, values)


def words_of_list(store: Store, name: str) -> list[str]:
    """Give what was typed for a list that was saved.

    Args:
        store: The store.
        name: The list's name.

    Raises:
        TrackyardError: None has that name, or a newer Trackyard saved it.
    """
    values = {"name": encodable(name)}
    found = store.execute("SELECT query FROM saved_lists WHERE name = :name", values)
    if not found:
        rows = store.execute("SELECT name FROM saved_lists ORDER BY name", {})
        known = [row["name"] for row in rows]
        hint = did_you_mean(name, known) or f"; there are {listed(known)}"
        raise TrackyardError(
            f"no list is saved as {name!r}{hint}; to save one, type: trackyard runs list --as NAME"
        )
    words = json.loads(found[0]["query"]).get("words")
    if not isinstance(words, list):
        raise TrackyardError(f"list {name!r} was saved by another Trackyard; save it again")
    return [str(word) for word in words]
