"""How are records of an SDK's own calls written to a journal?"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from trackyard.contract.records import Artifact, Metric, Param, ParamValue, Record, Tag
from trackyard.hooks.filters import RecordFilter, apply_filters
from trackyard.journal.columns import Column
from trackyard.journal.entries import Entry, Holder, encode_points, entries_of_columns
from trackyard.journal.writer import JournalWriter
from trackyard.redaction.redactor import RedactedKeys, Redactor


class CaptureJournal:
    """Writes records, filtered and redacted as those of portable calls are.

    Args:
        journal: Where they are written.
        redactor: Keeps secrets out of them.
        filters: Those of cross-cutting plugins.
    """

    def __init__(
        self, journal: JournalWriter, redactor: Redactor, filters: list[RecordFilter]
    ) -> None:
        self._journal = journal
        self._redactor = redactor
        self._keys = RedactedKeys(redactor)
        self._filters = filters
        self._params: dict[str, ParamValue] = {}

    def write(self, holder: Holder, records: Sequence[Record]) -> None:
        """Write the records of one call as one entry.

        Args:
            holder: Where they are already.
            records: The records, in their order.
        """
        if self._filters:
            passed = (apply_filters(self._filters, record) for record in records)
            records = [record for record in passed if record is not None]
        records = [kept for record in records if (kept := self._first_value(record)) is not None]
        entries = [self._redacted(entry) for entry in entries_of(records, holder.captured_at)]
        if entries:
            self._journal.append_captured(holder, entries)

    def write_points(self, holder: Holder, columns: Sequence[Column]) -> None:
        """Write points by the hundred as one entry.

        Args:
            holder: Where they are already.
            columns: Of each metric its points.
        """
        if self._filters:
            self.write(holder, [r for e in entries_of_columns(columns) for r in e.records()])
        elif columns:
            redacted = [column._replace(key=self._keys[column.key]) for column in columns]
            if not self._journal.append_newest(encode_points(holder, redacted)):
                self._journal.append_captured(holder, entries_of_columns(redacted))

    def _first_value(self, record: Record) -> Record | None:
        """Give a param once: backends refuse a second value, which is a tag then."""
        if not isinstance(record, Param):
            return record
        if record.key not in self._params:
            self._params[record.key] = record.value
            return record
        first = self._params[record.key]
        is_same = type(first) is type(record.value) and first == record.value
        return None if is_same else Tag(record.key, str(record.value))

    def _redacted(self, entry: Entry) -> Entry:
        match entry.kind:
            case "params" | "tags":
                return entry._replace(data=dict(self._redactor.redact_pairs(entry.data)))
            case "metrics":
                return entry._replace(data={self._keys[k]: v for k, v in entry.data.items()})
            case "artifact":
                name = self._redactor.redact(entry.data.name)
                return entry._replace(data=attrs.evolve(entry.data, name=name))
        return entry


def entries_of(records: Sequence[Record], now: int) -> list[Entry]:
    """Give records as entries: metrics of one step and time together, as one log call writes them.

    Args:
        records: The records, in their order.
        now: The time of those that have none, in nanoseconds since the epoch.
    """
    entries: list[Entry] = []
    for record in records:
        match record:
            case Metric(key, value, step, timestamp):
                if _goes_on(entries, "metrics", key, step, timestamp):
                    entries[-1].data[key] = float(value)
                else:
                    entries.append(Entry("metrics", timestamp, step, {key: float(value)}))
            case Param(key, value):
                if _goes_on(entries, "params", key, None, now):
                    entries[-1].data[key] = value
                else:
                    entries.append(Entry("params", now, None, {key: value}))
            case Tag(key, text):
                if _goes_on(entries, "tags", key, None, now):
                    entries[-1].data[key] = text
                else:
                    entries.append(Entry("tags", now, None, {key: text}))
            case Artifact():
                entries.append(Entry("artifact", record.timestamp or now, record.step, record))
    return entries


def _goes_on(entries: list[Entry], kind: str, key: str, step: float | None, timestamp: int) -> bool:
    """Tell whether a record belongs to the last entry, which says nothing of its key yet."""
    if not entries:
        return False
    last = entries[-1]
    return (
        last.kind == kind
        and last.timestamp == timestamp
        and last.step == step
        and type(last.step) is type(step)
        and key not in last.data
    )
