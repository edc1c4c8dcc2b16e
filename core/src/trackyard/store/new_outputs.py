"""How does an output become the next version of its name in the store?"""

from __future__ import annotations

import json

from trackyard.contract.records import encodable
from trackyard.store.databases import Database, Session
from trackyard.store.rows import OutputRow

# Its columns, as a row of `outputs` is read.
OUTPUT = "id, name, version, uri, materializer, size, sha256, step_run_id, created_at"
_COLUMNS = tuple(OUTPUT.split(", "))
# The next version of its name; nothing where it is there, as after an answer that was lost.
_NEXT = "(SELECT COALESCE(MAX(version), 0) + 1 FROM outputs WHERE name = :name)"
_ADD = (
    f"INSERT INTO outputs ({OUTPUT}) "
    f"VALUES ({', '.join(_NEXT if n == 'version' else f':{n}' for n in _COLUMNS)}) "
    "ON CONFLICT (id) DO NOTHING"
)


def add_output(session: Session, row: OutputRow, database: Database) -> None:
    """Record an output as the next version of its name, unless it is there.

    Args:
        session: In a transaction.
        row: The output; its version does not count.
        database: Where the session is.
    """
    if database.is_shared:  # sqlite has one writer at a time
        lock = "SELECT pg_advisory_xact_lock(7236141, hashtext(:name))"
        session.execute(lock, {"name": row.name})
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["name"] = encodable(row.name)
    session.execute(_ADD, values)
    if row.metadata:
        said = {"id": row.id, "metadata": json.dumps(row.metadata)}
        session.execute("UPDATE outputs SET metadata = :metadata WHERE id = :id", said)
