"""How does a run lie in a folder of SwanLab's, so that it goes on after a crash, each point once?

As the SDK keeps it where nothing is sent (`mode="offline"`, SwanLab 0.10), so that `swanlab sync
FOLDER` uploads it: `run-ID.swanlab` with the records, `media/`, `files/`. What SwanLab has no place
for, such as tags with values, is in `files/trackyard.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract import (
    Artifact,
    Failure,
    Metric,
    Param,
    Record,
    Run,
    Tag,
    put_file,
    replacing,
    write_whole,
)
from trackyard_swanlab.framing import HEADER, framed, read_framed

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

# Records of this process that are recognised when they come again: more than a batch holds.
_RECENT = 5000

# How an artifact of a kind is shown: SwanLab's type of a column, and the folder of its files.
_MEDIA = {
    "image": ("IMAGE", "image"),
    "figure": ("IMAGE", "image"),
    "audio": ("AUDIO", "audio"),
    "text": ("TEXT", "text"),
    "html": ("HTML", "html"),
}

# How an end that is no success is called there.
_STATES = {"failed": "CRASHED", "crashed": "CRASHED", "killed": "ABORTED"}

_Identity = tuple[str, int, int, str]


@attrs.define
class RunState:
    """What is true of a run as a whole.

    Attributes:
        tags, params: By key.
        is_ended: The file has a record of the end.
    """

    tags: dict[str, str] = attrs.field(factory=dict)
    params: dict[str, Any] = attrs.field(factory=dict)
    is_ended: bool = False


class RunFolder:
    """The folder of a run, as one process writes it.

    Args:
        folder: Where; it is made.
        run: The run.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        (folder / "files").mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._path = file_of(folder, run)
        self.state = read_state(folder)
        self._columns: dict[str, int] = {}  # the last step of each key of media
        # What a process before this one has written, and may be about to send once more.
        self._held: set[_Identity] = set()
        self._recent: dict[_Identity, None] = {}  # what this process has written last
        whole = 0
        for record, end in _records(self._path):
            self._held.update(_identities(record))
            self._note_column(record)
            whole = end
        if not whole:
            write_whole(self._path, HEADER, mode=0o644)
            self._append([_start(run)])
        elif whole < self._path.stat().st_size:
            os.truncate(self._path, whole)  # torn: it comes again

    def keep_state(self) -> None:
        """Write what is true of the run as a whole, with its params as SwanLab has them."""
        import yaml

        config = {
            key: {"desc": "", "sort": number, "value": value}
            for number, (key, value) in enumerate(self.state.params.items())
        }
        files = self._folder / "files"
        write_whole(files / "config.yaml", yaml.safe_dump(config, allow_unicode=True), mode=0o644)
        write_whole(files / "trackyard.json", json.dumps(attrs.asdict(self.state), indent=1))

    def append(self, metrics: Iterable[Metric]) -> None:
        """Append points, all of them or none; those that are there already are left out."""
        new = [m for m in metrics if not self._is_known(_identity_of(m))]
        records: list[SwanRecord] = []
        columns = dict.fromkeys(m.key for m in new if m.key not in self._columns)
        records += (_column(key, "SCALAR") for key in columns)
        records += map(_scalar, new)
        self._append(records)
        self._columns.update(dict.fromkeys(columns, 0))
        self._remember(map(_identity_of, new))

    def keep(self, artifact: Artifact) -> None:
        """Copy a file to where SwanLab shows it, or to the others."""
        shown = _MEDIA.get(artifact.kind)
        if shown is None:
            target = self._folder / "files" / "artifacts" / artifact.name
            put_file(artifact.path, target, by_link=artifact.is_final)
            self._append([_save(f"artifacts/{artifact.name}", target)])
            return
        digest = hashlib.sha256(artifact.path.read_bytes()).hexdigest()
        known = artifact.name, 0, artifact.timestamp, digest
        if self._is_known(known):
            return
        column, folder = shown
        step = max(int(artifact.step or 0), self._columns.get(artifact.name, -1) + 1)
        name = f"{step:03d}-{digest[:8]}{artifact.path.suffix or Path(artifact.name).suffix}"
        target = self._folder / "media" / folder / name
        put_file(artifact.path, target, by_link=artifact.is_final)
        is_new = artifact.name not in self._columns
        records = [_column(artifact.name, column)] if is_new else []
        self._append([*records, _medium(artifact, column, step, target, digest)])
        self._columns[artifact.name] = step
        self._remember([known])

    def end(self, run: Run, failure: Failure | None) -> None:
        """Write how the run ended, in place of an end before.

        Args:
            run: The run, with `ended_at`.
            failure: Why it did not finish, or None.
        """
        self.reopen()
        self._append([_finish(run, failure)])
        self.state.is_ended = True
        self.keep_state()

    def reopen(self) -> None:
        """Take the record of an end out of the file: SwanLab counts the first one."""
        if not self.state.is_ended:
            return
        kept = [r.SerializeToString() for r, _ in _records(self._path) if not r.HasField("finish")]
        with replacing(self._path) as part:
            part.write_bytes(HEADER + framed(kept, len(HEADER)))
        self.state.is_ended = False
        self.keep_state()

    def _append(self, records: Iterable[SwanRecord]) -> None:
        with self._path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            data = framed((record.SerializeToString() for record in records), size)
            try:
                written = file.write(data)
                if written < len(data):
                    raise OSError(f"{self._path}: only {written} of {len(data)} bytes fit")
            except OSError:
                file.truncate(size)
                raise

    def _is_known(self, identity: _Identity) -> bool:
        return identity in self._held or identity in self._recent

    def _remember(self, identities: Iterable[_Identity]) -> None:
        self._recent.update(dict.fromkeys(identities))
        for oldest in list(islice(self._recent, max(0, len(self._recent) - _RECENT))):
            del self._recent[oldest]

    def _note_column(self, record: SwanRecord) -> None:
        if record.HasField("column"):
            self._columns.setdefault(record.column.column_key, -1)
        elif record.HasField("media"):
            self._columns[record.media.key] = record.media.step


def file_of(folder: Path, run: Run) -> Path:
    """Give the file of a run's records.

    Args:
        folder: The run's folder.
        run: The run.
    """
    return folder / f"run-{run.id}.swanlab"


def read_state(folder: Path) -> RunState:
    """Give what was noted of a run as a whole; nothing before its start."""
    path = folder / "files" / "trackyard.json"
    try:
        return RunState(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return RunState()


def read_records(folder: Path, run: Run) -> Iterator[Record]:
    """Read params, tags, metrics and files of a run.

    Args:
        folder: The run's folder.
        run: The run.
    """
    state = read_state(folder)
    for key, value in state.params.items():
        yield Param(key, value)
    for key, text in state.tags.items():
        yield Tag(key, text)
    media: dict[str, Path] = {}
    folders = dict(_MEDIA.values())
    for record, _ in _records(file_of(folder, run)):
        if record.HasField("scalar"):
            scalar = record.scalar
            time = scalar.timestamp.ToNanoseconds()
            yield Metric(scalar.key, scalar.value.number, scalar.step, time)
        elif record.HasField("media"):
            place = folder / "media" / folders[_column_name(record.media.type)]
            media[record.media.key] = place / record.media.value.items[0].filename
    kept = folder / "files" / "artifacts"
    for path in sorted(path for path in kept.rglob("*") if path.is_file()):
        yield Artifact(path.relative_to(kept).as_posix(), path, "file")
    for name, path in media.items():
        yield Artifact(name, path, "file")


def _records(path: Path) -> Iterator[tuple[SwanRecord, int]]:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

    if path.exists():
        for data, end in read_framed(path):
            yield SwanRecord.FromString(data), end


def _identity_of(metric: Metric) -> _Identity:
    return metric.key, int(metric.step or 0), metric.timestamp, metric.value.hex()


def _identities(record: SwanRecord) -> Iterator[_Identity]:
    if record.HasField("scalar"):
        scalar = record.scalar
        number = float(scalar.value.number).hex()
        yield scalar.key, scalar.step, scalar.timestamp.ToNanoseconds(), number
    elif record.HasField("media"):
        medium = record.media
        yield medium.key, 0, medium.timestamp.ToNanoseconds(), medium.value.items[0].sha256


def _time(nanoseconds: int) -> Timestamp:
    from google.protobuf.timestamp_pb2 import Timestamp

    seconds, nanos = divmod(nanoseconds, 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)


def _column_name(number: int) -> str:
    from swanlab.proto.swanlab.metric.column.v1.column_pb2 import ColumnType

    return ColumnType.Name(number).removeprefix("COLUMN_TYPE_")


def _start(run: Run) -> SwanRecord:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

    record = SwanRecord(num=-1, timestamp=_time(run.started_at))
    start = record.start
    start.id, start.project, start.name = run.id, run.experiment or "default", run.name
    start.group = run.group or ""
    start.tags.extend(f"{key}={value}" if value else key for key, value in run.tags.items())
    start.started_at.CopyFrom(_time(run.started_at))
    return record


def _finish(run: Run, failure: Failure | None) -> SwanRecord:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord
    from swanlab.proto.swanlab.run.v1.run_pb2 import RunState as SwanState

    ended = _time(run.ended_at or run.started_at)
    record = SwanRecord(num=-2, timestamp=ended)
    name = _STATES[failure.status] if failure else "FINISHED"
    record.finish.state = SwanState.Value(f"RUN_STATE_{name}")
    record.finish.finished_at.CopyFrom(ended)
    if failure:
        record.finish.error = failure.traceback or f"{failure.kind}: {failure.message}"
    return record


def _column(key: str, type_name: str) -> SwanRecord:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

    record = SwanRecord(num=1)
    column = record.column
    column.column_key = key
    column.column_type = f"COLUMN_TYPE_{type_name}"
    column.column_class = "COLUMN_CLASS_CUSTOM"
    column.section_type = "SECTION_TYPE_PUBLIC"
    return record


def _scalar(metric: Metric) -> SwanRecord:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

    record = SwanRecord(num=1, timestamp=_time(metric.timestamp))
    scalar = record.scalar
    scalar.key, scalar.step, scalar.type = metric.key, int(metric.step or 0), "COLUMN_TYPE_SCALAR"
    scalar.timestamp.CopyFrom(_time(metric.timestamp))
    scalar.value.number = metric.value
    return record


def _medium(artifact: Artifact, column: str, step: int, path: Path, digest: str) -> SwanRecord:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

    record = SwanRecord(num=1, timestamp=_time(artifact.timestamp))
    medium = record.media
    medium.key, medium.step, medium.type = artifact.name, step, f"COLUMN_TYPE_{column}"
    medium.timestamp.CopyFrom(_time(artifact.timestamp))
    medium.value.items.add(filename=path.name, sha256=digest, size=path.stat().st_size)
    return record


def _save(name: str, path: Path) -> SwanRecord:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record as SwanRecord

    record = SwanRecord(num=1)
    record.save.name, record.save.source_path, record.save.target_path = name, str(path), str(path)
    return record
