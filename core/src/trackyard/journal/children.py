"""What have children of a run's process written that lies behind a cursor?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trackyard.journal.ending import last_sequences
from trackyard.journal.entries import dropped_in
from trackyard.journal.ranked import as_counted, children_in
from trackyard.journal.reader import JournalReader
from trackyard.system.locks import is_locked


class Count(NamedTuple):
    """How many records there are, and how many log calls are lost, so far as known."""

    records: int = 0
    lost: int = 0


def has_living_children(folder: Path) -> bool:
    """Tell whether a child of the run's process that has logged into it lives."""
    return any(is_locked(path) for path in folder.glob("child*.lock"))


def count_late(folder: Path, cursor: Mapping[str, int], *, all_ranks: bool) -> Count:
    """Count what children wrote behind the cursor of a tracker that has the run's end.

    Where nobody wrote anything more, only names and the ends of children's files are looked at.
    """
    children = children_in(folder)
    if not children:
        return Count()
    last = last_sequences(folder)
    ahead = {name for name in children if last.get(name, -1) > cursor.get(name, -1)}
    return count(JournalReader(folder, cursor, wants=ahead.__contains__), all_ranks=all_ranks)


def count(reader: JournalReader, *, all_ranks: bool) -> Count:
    """Count what a reader gives, by the rule of ranks."""
    records = lost = 0
    while entries := reader.read(1000):
        for position, entry in entries:
            lost += dropped_in(entry)
            counted = as_counted(entry, position.writer, all_ranks=all_ranks)
            records += len(counted.records()) if counted is not None else 0
    return Count(records, lost + reader.lost)
