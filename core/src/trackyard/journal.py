"""Where do the records of a run wait until every tracker has them?

This is the *transactional outbox* pattern: a log call appends an entry here and returns; each
tracker's delivery reads from its own cursor, so that a slow one keeps nothing from the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from trackyard.records import Artifact, Metric, Param, ParamValue, Record, Tag

EntryKind = Literal["metrics", "params", "tags", "artifact"]
EntryData = Mapping[str, float] | Mapping[str, ParamValue] | Mapping[str, str] | Artifact


class Entry(NamedTuple):
    """One log call: all metrics of one `log_metrics` are one entry and share step and time."""

    kind: EntryKind
    timestamp: int
    step: int | float | None
    data: EntryData

    def records(self) -> list[Record]:
        """Give the records of the contract that this entry holds."""
        if isinstance(self.data, Artifact):
            return [self.data]
        if self.kind == "metrics":
            return [
                Metric(key, value, self.step, self.timestamp)  # type: ignore[arg-type]
                for key, value in self.data.items()
            ]
        if self.kind == "params":
            return [Param(key, value) for key, value in self.data.items()]
        return [Tag(key, str(value)) for key, value in self.data.items()]


class MemoryJournal:
    """A run's entries in memory, in the order of their sequence numbers, which begin at 0.

    Appending takes no lock: `list.append` is atomic, and entries are never removed.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        """Add an entry; any thread may call this."""
        self._entries.append(entry)

    def read(self, start: int, most: int) -> list[Entry]:
        """Give at most `most` entries from sequence number `start` on."""
        return self._entries[start : start + most]

    def __len__(self) -> int:
        return len(self._entries)
