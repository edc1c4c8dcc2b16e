"""How are event files written, so that a run goes on in them after a crash and loses nothing?

A run has two kinds of files of ours in its folder, beside those of native writers:

* `….records`: what was logged over time; batches are appended whole. A number stands there twice:
  as TensorBoard shows it (32 bits, and the time as a float), and exactly (64 bits, nanoseconds) in
  a field that `exact_values` knows; protobuf's readers pass over fields that they have no name for.
* `….run`: what is true of the run as a whole. TensorBoard keeps the first hyperparameters that it
  meets, so that each change makes a new file and removes the one before.

The format is TFRecord: length, CRC, data, CRC (tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trackyard.contract import Artifact, Batch, Metric, Run, replacing

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

# Records of this process that are recognised when they come again: more than a batch holds.
_RECENT = 5000

# Protobuf field 20001, of 64 bits, and its tag as a varint: the time in nanoseconds, then a number
# for each value of the summary.
_EXACT_FIELD, _EXACT_TAG = 20001, b"\x89\xe2\x09"


def new_event(timestamp: int, step: float | None = None) -> Event:
    """Make an event of a moment in nanoseconds; without a step it is of step 0, as natively.

    Args:
        timestamp: The moment.
        step: The training step, or None.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=timestamp / 1e9, step=int(step or 0))


def encoded(event: Event, timestamp: int, values: Iterable[float] = ()) -> bytes:
    """Give an event as bytes, with its time and numbers exactly as they were logged.

    Args:
        event: The event, whose own time is a float.
        timestamp: Its time in nanoseconds since the epoch.
        values: Its numbers as floats of 64 bits; the event's own have 32.
    """
    exact = [struct.pack("<q", timestamp), *(struct.pack("<d", value) for value in values)]
    return bytes(event.SerializeToString() + b"".join(_EXACT_TAG + each for each in exact))


def exact_values(event: Event) -> tuple[int, list[float]]:
    """Give an event's time in nanoseconds, and its numbers where Trackyard has written it."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    fields = [f.data for f in UnknownFieldSet(event) if f.field_number == _EXACT_FIELD]
    if not fields:
        return round(event.wall_time * 1e6) * 1000, []
    timestamp, *numbers = (struct.pack("<Q", field) for field in fields)
    return struct.unpack("<q", timestamp)[0], [struct.unpack("<d", each)[0] for each in numbers]


def read_events(path: Path) -> Iterator[Event]:
    """Read a file's events, up to a torn end."""
    for event, _ in read_events_from(path, 0):
        yield event


def read_events_from(path: Path, offset: int) -> Iterator[tuple[Event, int]]:
    """Read a file's events behind an offset, each with where the next one begins.

    Args:
        path: The file.
        offset: Where an event begins.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    for record in _read_records(path, offset):
        offset += len(record) + 16
        try:
            yield Event.FromString(record), offset
        except DecodeError:  # the CRC was right: another writer's, of another kind
            continue


class EventFiles:
    """The event files that Trackyard writes into a run's folder.

    Args:
        folder: The run's folder in TensorBoard's.
        run: The run.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._prefix = f"events.out.tfevents.{run.started_at // 10**9:010d}.{run.id[-8:]}"
        paths = sorted(folder.glob(f"{self._prefix}.*.records"))
        # What a process before this one has written, and may be about to send once more.
        self._held = {
            found for path in paths for event in read_events(path) for found in _identities(event)
        }
        self._recent: dict[Hashable, None] = {}  # what this process has written last
        is_new = not paths or not _is_whole(paths[-1])  # nobody reads on behind a torn end
        self._path = folder / f"{self._prefix}.{len(paths):06d}.records" if is_new else paths[-1]

    def new_of(self, batch: Batch) -> Batch:
        """Give a batch without what is written already: its answer was lost, and it comes again.

        Known are the records of processes before this one, and the latest of its own.
        """
        known = self._held, self._recent
        metrics = [m for m in batch.metrics if not any(_of_metric(m) in k for k in known)]
        artifacts = [a for a in batch.artifacts if not any(_of_artifact(a) in k for k in known)]
        return attrs.evolve(batch, metrics=tuple(metrics), artifacts=tuple(artifacts))

    def remember(self, batch: Batch) -> None:
        """Note a batch that is written."""
        self._recent.update(dict.fromkeys(map(_of_metric, batch.metrics)))
        self._recent.update(dict.fromkeys(map(_of_artifact, batch.artifacts)))
        for oldest in list(islice(self._recent, max(0, len(self._recent) - _RECENT))):
            del self._recent[oldest]

    def append(self, events: Iterable[bytes]) -> None:
        """Append events, all or none of them."""
        data = _records(events)
        if not data:
            return
        if not self._path.exists():
            data = _records([_version()]) + data
        with self._path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                written = file.write(data)
                if written < len(data):
                    raise OSError(f"{self._path}: only {written} of {len(data)} bytes fit")
            except OSError:
                file.truncate(size)
                raise

    def replace_run(self, events: Iterable[bytes]) -> None:
        """Write anew what is true of the run as a whole."""
        before = run_files(self._folder)
        number = int(before[-1].name.split(".")[-2]) + 1 if before else 0
        path = self._folder / f"{self._prefix}.{number:06d}.run"
        with replacing(path, name=".part") as part:  # no name that TensorBoard looks at
            part.write_bytes(_records([_version(), *events]))
        for old in before:
            old.unlink(missing_ok=True)


def tag_of(artifact: Artifact) -> str:
    """Give the tag of what is shown of an artifact; that of a histogram has no suffix."""
    is_histogram = artifact.kind == "histogram"
    return artifact.name.removesuffix(".json") if is_histogram else artifact.name


def run_files(folder: Path) -> list[Path]:
    """Give the files that say what is true of a run as a whole; the last one counts."""
    return sorted(folder.glob("events.out.tfevents.*.run"))


def _identity(key: str, step: float | None, timestamp: int, value: float | None) -> Hashable:
    """Give what tells one record from all others, also where its value is NaN."""
    number = b"" if value is None else struct.pack("<d", value)
    return key, int(step or 0), timestamp, number


def _of_metric(metric: Metric) -> Hashable:
    return _identity(metric.key, metric.step, metric.timestamp, metric.value)


def _of_artifact(artifact: Artifact) -> Hashable:
    return _identity(tag_of(artifact), artifact.step, artifact.timestamp, None)


def _identities(event: Event) -> Iterator[Hashable]:
    timestamp, numbers = exact_values(event)
    for index, value in enumerate(event.summary.value):
        number = numbers[index] if index < len(numbers) else None
        yield _identity(value.tag, event.step, timestamp, number)


def _version() -> bytes:
    """The first event of a file: without it, TensorBoard drops what steps back."""
    event = new_event(0)
    event.file_version = "brain.Event:2"
    return bytes(event.SerializeToString())


def _records(events: Iterable[bytes]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event)
    return buffer.getvalue()


def _read_records(path: Path, offset: int = 0) -> Iterator[bytes]:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    with path.open("rb") as file:
        file.seek(offset)
        while len(head := file.read(12)) == 12:
            length, check = struct.unpack("<QI", head)
            if masked_crc32c(head[:8]) != check:
                return
            data, end = file.read(length), file.read(4)
            if len(end) < 4 or struct.unpack("<I", end)[0] != masked_crc32c(data):
                return
            yield data


def _is_whole(path: Path) -> bool:
    return path.stat().st_size == sum(len(record) + 16 for record in _read_records(path))
