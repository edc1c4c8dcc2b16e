"""What is one entry of a journal, and how is it written as JSON?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import attrs
import msgspec

from trackyard.contract.context import Context
from trackyard.contract.errors import refuse_newer
from trackyard.contract.records import (
    Artifact,
    Failure,
    Metric,
    Param,
    ParamValue,
    Record,
    Tag,
    encodable,
)
from trackyard.journal.blobs import Blob, file_of, value_of
from trackyard.journal.columns import (
    ODD_NUMBERS,
    Column,
    decode_columns,
    encode_columns,
    odd_as_text,
    rows_of,
)
from trackyard.journal.encoding import encode_plain

EntryKind = Literal[
    "header", "metrics", "params", "tags", "artifact", "context", "dropped", "signal", "status",
    "resumed", "end",
]  # fmt: skip
# Before the point: a reader of a lower one would be wrong. Behind it: kinds that it may skip.
# 2: calls of SDKs themselves, as `captured`. 2.3: `resumed`, in runs whose description is newer.
# 3: artifacts that are final; 4: points by columns, as `points`. Files without such say that they
# are of the one before.
FORMAT, USUAL_FORMAT = "4", "2.3"
_KINDS: dict[str, EntryKind] = {kind: kind for kind in get_args(EntryKind)}

_OF_ARTIFACTS = ("name", "kind", "media_type", "step", "timestamp")
_decode = msgspec.json.Decoder().decode


class Holder(NamedTuple):
    """Where the records of an entry are already, since calls of an SDK itself put them there.

    Attributes:
        source: The tracker, or the flavor where no tracker of it takes part in the run.
        remote_id: The backend's own id of the run.
        position: What the flavor calls the place in its own files, or an empty text.
        captured_at: When they were captured, in nanoseconds since the epoch: the records have the
            SDK's own times.
    """

    source: str
    remote_id: str
    position: str = ""
    captured_at: int = 0


class Entry(NamedTuple):
    """One log call: all metrics of one `log_metrics` are one entry and share step and time.

    Attributes:
        kind: What it holds.
        timestamp: When it was logged, in nanoseconds since the epoch.
        step: The training step, or None.
        data: By kind: numbers, params or tags by key, an `Artifact`; for `end` a `Failure` or
            None; for `header`, `dropped`, `signal`, `status`, `resumed` a dict; for `context` one,
            too, with what is known, and `is_awaited` where more of it follows within moments.
        held_by: Where its records are already; None for what was logged by portable calls.
    """

    kind: EntryKind
    timestamp: int
    step: int | float | None
    data: Any
    held_by: Holder | None = None

    def records(self) -> list[Record]:
        """Give the records of the contract that this entry holds."""
        match self.kind:
            case "metrics":
                return [Metric(k, v, self.step, self.timestamp) for k, v in self.data.items()]
            case "params":
                return [Param(key, value) for key, value in self.data.items()]
            case "tags":
                return [Tag(key, str(value)) for key, value in self.data.items()]
            case "artifact":
                return [self.data]
            case "context":
                return [Context.from_plain(self.data)]
            case _:
                return []

    def of_record(self, record: Record) -> Entry:
        """Give the entry of a record that a filter has made of one of this entry's.

        Args:
            record: The record.
        """
        match record:
            case Metric():
                return Entry("metrics", record.timestamp, record.step, {record.key: record.value})
            case Param():
                return Entry("params", self.timestamp, self.step, {record.key: record.value})
            case Tag():
                return Entry("tags", self.timestamp, self.step, {record.key: record.value})
            case Artifact():
                return Entry("artifact", record.timestamp, record.step, record)
            case Context():
                return Entry("context", self.timestamp, None, record.plain())


def encode_entry(entry: Entry) -> bytes:
    """Write an entry as one line of JSON, without its line end; it never raises for odd text.

    NaN and infinities become the texts "NaN", "Infinity" and "-Infinity". Only metrics hold
    floats that may be such, and only texts in the place of a metric's value stand for them.
    """
    data = entry.data
    if entry.kind == "metrics":
        data = {key: odd_as_text(value) for key, value in data.items()}
    elif entry.kind == "params":
        data = {key: _to_json_param(value) for key, value in data.items()}
    elif isinstance(data, Failure):
        data = attrs.asdict(data)
    try:
        return encode_plain((entry.kind, entry.timestamp, entry.step, data))
    except (UnicodeEncodeError, msgspec.ValidationError, TypeError, OverflowError, ValueError):
        # Lone surrogates: the standard library writes them as escapes.
        return json.dumps((entry.kind, entry.timestamp, entry.step, data), default=str).encode()


def encode_captured(holder: Holder, entries: list[bytes]) -> bytes:
    """Write what one call of an SDK logged, which may be of several kinds, as one entry.

    Args:
        holder: Where it is already.
        entries: Its parts, each as `encode_entry` or `encode_artifact` writes it.
    """
    who = encode_plain([encodable(text) for text in holder[:3]])
    parts = b",".join(entries)
    return b'["captured",%d,null,{"by":%b,"entries":[%b]}]' % (holder.captured_at, who, parts)


def encode_points(holder: Holder, columns: Sequence[Column]) -> bytes:
    """Write points of several metrics, by the hundred, as one entry.

    Args:
        holder: Where they are already.
        columns: Of each metric its points.
    """
    who = encode_plain([encodable(text) for text in holder[:3]])
    return b'["points",%d,null,{"by":%b,"columns":%b}]' % (
        holder.captured_at,
        who,
        encode_columns(columns),
    )


def entries_of_columns(columns: Sequence[Column]) -> list[Entry]:
    """Give points as entries: numbers of one step and time together, as one log call has them.

    Args:
        columns: Of each metric its points.
    """
    return [Entry("metrics", time, step, numbers) for time, step, numbers in rows_of(columns)]


def dropped_in(entry: Entry) -> int:
    """Give how many log calls an entry says are lost: a disk refused them, or a machine died."""
    return int(entry.data["count"]) if entry.kind == "dropped" else 0


def encode_artifact(entry: Entry, blob: Blob) -> bytes:
    """Write the entry of an artifact whose content is stored: its place follows from the two.

    Args:
        entry: The entry.
        blob: Its content as it is stored.
    """
    data = {name: getattr(entry.data, name) for name in _OF_ARTIFACTS}
    if entry.data.is_final:
        data["is_final"] = True
    return encode_entry(entry._replace(data={**data, "sha256": blob.sha256, "size": blob.size}))


def encode_reference(blob: Blob) -> bytes:
    """Write what stands in the journal for an entry that is stored as a blob."""
    return encode_plain(("blob", 0, None, {"sha256": blob.sha256, "size": blob.size}))


def shortened_failure(failure: Failure) -> Failure:
    """Give what fits into the space that is kept for a run's end."""
    message, text = failure.message[:500], failure.traceback[-1500:]
    return attrs.evolve(failure, kind=failure.kind[:200], message=message, traceback=text)


def is_header(payload: bytes) -> bool:
    """Tell whether this is the entry that each file of a journal begins with."""
    return payload.startswith(b'["header"')


def check_header(path: Path, payload: bytes) -> None:
    """Refuse a segment whose first entry says that the others are of a newer format.

    Args:
        path: The segment, for the message.
        payload: Its first entry.

    Raises:
        NewerFormatError: It does.
    """
    if is_header(payload):
        try:
            text = str(_parts(payload)[3]["format"])
            number = int(text.partition(".")[0])
        except (ValueError, KeyError, TypeError):
            return  # a foreign hand
        refuse_newer(path, number, int(FORMAT.partition(".")[0]))


def decode_entries(payload: bytes, folder: Path) -> list[Entry]:
    """Read what one frame holds: one entry, or the parts of one call of an SDK.

    There are none for a kind that a newer Trackyard knows and that can be skipped.

    Args:
        payload: The JSON.
        folder: The run's folder: paths of artifacts lie in it.

    Raises:
        ValueError: It is no entry, or what it refers to is missing or damaged.
    """
    try:
        kind, timestamp, step, data = _decode(payload)
    except (msgspec.DecodeError, TypeError, ValueError):
        kind, timestamp, step, data = _parts(payload)
    if kind == "blob":
        kind, timestamp, step, data = _parts(value_of(folder, data["sha256"], data["size"]))
    if kind in ("captured", "points"):
        source, remote_id, position = map(str, data["by"])
        held_by = Holder(source, remote_id, position, int(timestamp))
        entries: list[Entry | None] = []
        if kind == "points":
            entries += entries_of_columns(decode_columns(data["columns"]))
        else:
            entries += [_entry(*_four(parts), folder) for parts in data["entries"]]
        return [entry._replace(held_by=held_by) for entry in entries if entry is not None]
    entry = _entry(kind, timestamp, step, data, folder)
    return [] if entry is None else [entry]


def _entry(kind: Any, timestamp: Any, step: Any, data: Any, folder: Path) -> Entry | None:
    if not isinstance(kind, str) or kind not in _KINDS:
        return None
    return Entry(_KINDS[kind], int(timestamp), step, _decode_data(kind, data, folder))


def _parts(payload: bytes) -> tuple[Any, Any, Any, Any]:
    try:
        parts: Any = _decode(payload)
    except msgspec.DecodeError:
        parts = json.loads(payload)
    return _four(parts)


def _four(parts: Any) -> tuple[Any, Any, Any, Any]:
    try:
        kind, timestamp, step, data = parts
    except (TypeError, ValueError):
        raise ValueError("not an entry") from None
    return kind, timestamp, step, data


def _decode_data(kind: str, data: Any, folder: Path) -> Any:
    if kind == "metrics":
        for value in data.values():
            if type(value) is not float:
                break
        else:
            return data
        return {
            key: float(ODD_NUMBERS[value] if isinstance(value, str) else value)
            for key, value in data.items()
        }
    if kind == "params":
        return {key: _from_json_param(value) for key, value in data.items()}
    if kind == "artifact":
        values = dict(data)
        path = file_of(folder, values.pop("sha256"), values.pop("size"), values["name"])
        return Artifact(**values, path=path)
    if kind == "context":
        Context.from_plain(data)  # what is none is damaged
    if kind == "end" and data is not None:
        return Failure(**data)
    return data


def _to_json_param(value: ParamValue) -> ParamValue | list[str]:
    if isinstance(value, float) and isinstance(shown := odd_as_text(value), str):
        return [shown]
    return value


def _from_json_param(value: Any) -> ParamValue:
    return ODD_NUMBERS[value[0]] if isinstance(value, list) else value
