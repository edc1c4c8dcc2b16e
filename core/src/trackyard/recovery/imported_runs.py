"""How does a run that a source holds become a run of the project?

It is written to `.trackyard/importing/` and moved to the others when it is whole: a process that is
killed leaves no half of one. A run that was imported and has grown gets the rest as a journal file
of its own, behind what is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.context import Context
from trackyard.contract.errors import TrackyardError, refuse_newer
from trackyard.contract.importing import ImportNote, MetricPoints, PointsByMetric, RemoteRun
from trackyard.contract.records import SEVERITY, Artifact, Failure, Metric, Param, Record, Run, Tag
from trackyard.delivery.capturing import CaptureJournal
from trackyard.hooks.filters import record_filters
from trackyard.hooks.managers import NamedPlugins
from trackyard.journal.columns import Column
from trackyard.journal.descriptions import save_description
from trackyard.journal.entries import Entry, Holder
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter
from trackyard.recovery.indexing import IMPORTED_FROM
from trackyard.redaction.redactor import Redactor
from trackyard.system.files import make_private_folder, write_whole
from trackyard.system.ranks import REIMPORT

FORMAT = 1
# The tag that has the source's own id of a run, beside the one of `indexing`.
IMPORTED_ID = "trackyard.imported_id"
# Of the source's own copy of the run, not of the run.
_OF_THE_COPY = {
    *("trackyard.run_id", "trackyard.cursor", "trackyard.status", "trackyard.failure"),
    *("trackyard.parent", "trackyard.group", "trackyard.name"),
}
_RUN_ID, _STATUS = "trackyard.run_id", "trackyard.status"
_FILE = "import.json"
# So many records become one entry of the journal.
_AT_ONCE = 500
# So many different things that cannot be imported are told apart, of a run.
_MOST_NOTES = 1000
# What 64 bits of nanoseconds hold, as the store does: to the year 2262.
_LAST_MOMENT = 2**63 - 1

Piece = Record | RemoteRun | ImportNote | MetricPoints


class IsOtherRun(Exception):
    """Raised where a run says that it is a run of Trackyard's, of another id.

    Args:
        run_id: The id.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


@attrs.frozen
class Place:
    """Where a run stands among the others.

    Attributes:
        parent_id: Id of the run that it stands below.
        group: Id that the runs below one run share.
    """

    parent_id: str | None = None
    group: str | None = None


@attrs.frozen
class Mark:
    """What is written down of an import beside a run's journal.

    Attributes:
        flavor, remote_id: Where it comes from.
        version: As `RemoteRun.version` was.
        status, ended_at: As the source said.
        counts: How many records of each kind were imported, by `metrics`, `params`, ...
        left, changed: What was not imported, or as something else, with how often.
    """

    flavor: str
    remote_id: str
    version: str | None = None
    status: str | None = None
    ended_at: int | None = None
    counts: Mapping[str, int] = attrs.field(factory=dict)
    left: Mapping[str, int] = attrs.field(factory=dict)
    changed: Mapping[str, int] = attrs.field(factory=dict)


@attrs.define
class Tallied:
    """What came of a run so far.

    Attributes:
        remote: The run, as far as it is known.
        counts: Records by kind, and `bytes` of artifacts.
        left, changed: As in `Mark`.
        place: Where it says that it stands, by ids of Trackyard's.
        first, last: The first and the last time of a record.
        now: When it was begun to be read.
    """

    remote: RemoteRun
    counts: Counter[str] = attrs.field(factory=Counter)
    left: Counter[str] = attrs.field(factory=Counter)
    changed: Counter[str] = attrs.field(factory=Counter)
    place: Place = attrs.field(factory=Place)
    first: int = 0
    last: int = 0
    now: int = attrs.field(factory=time.time_ns)

    def __attrs_post_init__(self) -> None:
        self.take(self.remote)

    def take(self, remote: RemoteRun) -> None:
        """Take what the source says of the run, without times that cannot be.

        Args:
            remote: The run.
        """
        known = {"started_at": remote.started_at, "ended_at": remote.ended_at}
        for name, moment in known.items():
            if moment is not None and not _can_be(moment):
                known[name] = None
                self.left[f"{name}: {moment} nanoseconds since 1970 are no time that can be"] = 1
        self.remote = attrs.evolve(remote, **known)  # type: ignore[arg-type]

    def timed(self, record: Record | MetricPoints) -> Record | MetricPoints:
        """Give a record with times that can be; one that cannot becomes that of the run's start.

        Args:
            record: As the source gives it.
        """
        match record:
            case MetricPoints(timestamps=times) if times and not (
                _can_be(min(times)) and _can_be(max(times))
            ):
                known = [self._timed(moment) for moment in times]
                return attrs.evolve(record, timestamps=known)
            case Metric() | Artifact() if not _can_be(record.timestamp):
                return attrs.evolve(record, timestamp=self._timed(record.timestamp))
        return record

    def _timed(self, moment: int) -> int:
        if _can_be(moment):
            return moment
        self.note(ImportNote("times that cannot be, which became that of the start", "changed"))
        return self.remote.started_at or 0

    def note(self, note: ImportNote) -> None:
        """Count what cannot be imported as it is."""
        noted = self.left if note.state == "left" else self.changed
        is_known = note.what in noted or len(noted) < _MOST_NOTES
        noted[note.what if is_known else "more of this kind"] += note.count

    def add(self, record: Record | MetricPoints) -> None:
        """Count a record, or the points of a metric."""
        match record:
            case MetricPoints():
                self.counts["metrics"] += len(record)
                known = [moment for moment in record.timestamps if moment]
                if known:
                    self._at(min(known))
                    self._at(max(known))
            case Metric():
                self.counts["metrics"] += 1
                self._at(record.timestamp)
            case Param():
                self.counts["params"] += 1
            case Tag():
                self.counts["tags"] += 1
            case Artifact():
                self.counts["artifacts"] += 1
                self.counts["bytes"] += record.path.stat().st_size
                self._at(record.timestamp)

    def note_afresh(self) -> None:
        """Count from nothing, for who reads the run once more."""
        for counter in (self.counts, self.left, self.changed):
            counter.clear()
        self.take(self.remote)

    def _at(self, timestamp: int) -> None:
        if timestamp:
            self.first = min(self.first or timestamp, timestamp)
            self.last = max(self.last, timestamp)


def id_of(flavor: str, remote_id: str) -> str:
    """Give the id of an imported run: it follows from the source's own, wherever it lies.

    It is a UUID of version 8 as 32 hexadecimal digits.

    Args:
        flavor: Who reads it.
        remote_id: The source's own id of the run.
    """
    digest = hashlib.sha256(f"trackyard import\0{flavor}\0{remote_id}".encode()).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def id_of_run(flavor: str, remote: RemoteRun) -> str:
    """Give the id of an imported run: the same one wherever the run is read.

    Args:
        flavor: Who reads it.
        remote: The run.
    """
    return id_of(flavor, remote.identity or remote.remote_id)


def load_mark(folder: Path) -> Mark | None:
    """Read what is written down of a run's import; None where it was not imported.

    Args:
        folder: The run's folder.

    Raises:
        NewerFormatError: A newer Trackyard imported it.
    """
    try:
        values = json.loads((folder / _FILE).read_bytes())
        refuse_newer(folder / _FILE, values["format"], FORMAT)
        known = attrs.fields_dict(Mark)
        return Mark(**{key: value for key, value in values.items() if key in known})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def pieces_of(
    stream: Iterable[Piece], tallied: Tallied, own_id: str
) -> Iterator[Record | MetricPoints]:
    """Give the records of a run that count, and tally everything.

    Args:
        stream: What the source gives.
        tallied: Takes what else is said.
        own_id: The id that the run is to have.

    Raises:
        IsOtherRun: The run says that it is another one of Trackyard's.
    """
    for piece in stream:
        match piece:
            case RemoteRun():
                known = attrs.asdict(piece, recurse=False)
                given = {key: value for key, value in known.items() if value is not None}
                tallied.take(attrs.evolve(tallied.remote, **given))
            case ImportNote():
                tallied.note(piece)
            case Tag(key, value) if key in _OF_THE_COPY:
                if key == _RUN_ID and value != own_id and is_run_id(value):
                    raise IsOtherRun(value)
                if key in ("trackyard.parent", "trackyard.group") and is_run_id(value):
                    name = "parent_id" if key == "trackyard.parent" else "group"
                    tallied.place = attrs.evolve(tallied.place, **{name: value})
                if key == _STATUS and tallied.remote.status is None and value in SEVERITY:
                    tallied.remote = attrs.evolve(tallied.remote, status=value)
            case Artifact() if not piece.path.is_file():
                tallied.note(ImportNote(f"artifact {piece.name}: its file is not there"))
            case _:
                timed = tallied.timed(piece)
                tallied.add(timed)
                yield timed


def _can_be(moment: int) -> bool:
    return 0 <= moment <= _LAST_MOMENT


def is_run_id(text: str) -> bool:
    """Tell whether a text is the id of a run."""
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


@attrs.frozen
class RunWriter:
    """Writes the runs of one source.

    Attributes:
        flavor: Who reads the source.
        redactor: Keeps secrets out of what is written down.
        plugins: Cross-cutting plugins, whose filters records pass.
        told: Called with how many records more were written.
    """

    flavor: str
    redactor: Redactor
    plugins: NamedPlugins
    told: Callable[[int], None]

    def write(self, folder: Path, stream: Iterable[Piece], tallied: Tallied, place: Place) -> None:
        """Write a run anew.

        Args:
            folder: Where, which is named by the run's id; what is there is deleted.
            stream: What the source gives.
            tallied: Takes what comes of it.
            place: Where the run stands.

        Raises:
            IsOtherRun: It is another run.
            TrackyardError: The disk does not take it, or the source failed.
        """
        shutil.rmtree(folder, ignore_errors=True)
        make_private_folder(folder)
        # Files of many small runs are written in few pieces: to map them takes longer than that.
        journal = JournalWriter(folder, is_mapped=False)
        try:
            self._append(journal, folder, pieces_of(stream, tallied, folder.name), tallied)
            self._end(journal, tallied)
        finally:
            journal.close()
        _check(journal)
        found = place if place.parent_id is not None else tallied.place
        save_description(folder, self._run(folder, tallied, found), ())
        self._mark(folder, tallied)

    def go_on(self, folder: Path, stream: Iterable[Piece], tallied: Tallied, before: Mark) -> bool:
        """Write what a run has more than its journal; tell whether there is any.

        Args:
            folder: The run's folder.
            stream: All that the source gives.
            tallied: Takes what comes of it.
            before: What is written down of the import before.

        Raises:
            TrackyardError: The disk does not take it, or the source failed.
        """
        known = Known.of(folder)
        journal = JournalWriter(
            folder, f"{REIMPORT}-{known.files:06d}", makes_folder=False, is_mapped=False
        )
        pieces = known.unknown(pieces_of(stream, tallied, folder.name), self.redactor)
        try:
            self._append(journal, folder, pieces, tallied)
            remote = tallied.remote
            has_ended = remote.status not in (None, "running")
            if has_ended and (remote.status, remote.ended_at) != (before.status, before.ended_at):
                self._end(journal, tallied)
        finally:
            has_grown = journal.has_entries
            journal.close()
        _check(journal)
        self._mark(folder, tallied)
        return has_grown

    def _append(
        self,
        journal: JournalWriter,
        folder: Path,
        records: Iterator[Record | MetricPoints],
        tallied: Tallied,
    ) -> None:
        run = Run(id=folder.name, name="", experiment="", started_at=0, folder=folder)
        captured = CaptureJournal(journal, self.redactor, record_filters(self.plugins, run))
        context = Context(user=tallied.remote.user)
        for points, others in _chunks(records):
            for record in others:
                if isinstance(record, Context):
                    context = context.updated(record)
            now = tallied.remote.started_at or tallied.first or time.time_ns()
            holder = Holder(self.flavor, tallied.remote.remote_id, captured_at=now)
            captured.write(holder, [r for r in others if not isinstance(r, Context)])
            for columns in points:
                captured.write_points(holder, columns)
            self.told(len(others) + sum(len(c.values) for columns in points for c in columns))
            _check(journal)
        known = context.plain()
        if known and not journal.folder.joinpath(_FILE).exists():
            started_at = tallied.remote.started_at or time.time_ns()
            plain = self.redactor.redact_nested(known)
            journal.append(Entry("context", started_at, None, plain))

    def _end(self, journal: JournalWriter, tallied: Tallied) -> None:
        """Write the end; a run that goes on in its source has none yet."""
        remote = tallied.remote
        status = remote.status or "finished"
        if status == "running":
            return
        ended_at = remote.ended_at or tallied.last or _start_of(tallied)
        failure = None if status == "finished" else remote.failure
        if failure is None and status != "finished":
            failure = Failure(status, status.capitalize(), f"{self.flavor} says no more of it")
        journal.end(Entry("end", ended_at, None, failure))

    def _run(self, folder: Path, tallied: Tallied, place: Place) -> Run:
        remote = tallied.remote
        started_at = _start_of(tallied)
        return Run(
            id=folder.name,
            name=self.redactor.redact(remote.name or remote.remote_id),
            experiment=self.redactor.redact(remote.experiment or "default"),
            started_at=started_at,
            folder=folder,
            group=place.group,
            parent_id=place.parent_id,
            tags={IMPORTED_FROM: self.flavor, IMPORTED_ID: remote.remote_id},
        )

    def _mark(self, folder: Path, tallied: Tallied) -> None:
        remote = tallied.remote
        mark = Mark(
            *(self.flavor, remote.remote_id, remote.version, remote.status, remote.ended_at),
            counts=dict(tallied.counts),
            left=dict(tallied.left),
            changed=dict(tallied.changed),
        )
        write_whole(folder / _FILE, json.dumps({"format": FORMAT, **attrs.asdict(mark)}))


@attrs.define
class Known:
    """What a journal has of a run, to tell what is new.

    Attributes:
        points: How many of each metric.
        params, tags: By key.
        artifacts: Names and digests of their contents.
        files: How many writers have written it.
    """

    points: Counter[str] = attrs.field(factory=Counter)
    params: dict[str, Any] = attrs.field(factory=dict)
    tags: dict[str, str] = attrs.field(factory=dict)
    artifacts: set[tuple[str, str]] = attrs.field(factory=set)
    files: int = 0

    @classmethod
    def of(cls, folder: Path) -> Known:
        """Read a journal.

        Args:
            folder: The run's folder.
        """
        known, writers = cls(), set()
        reader = JournalReader(folder)
        while entries := reader.read(1000):
            for position, entry in entries:
                writers.add(position.writer)
                match entry.kind:
                    case "metrics":
                        known.points.update(entry.data.keys())
                    case "params":
                        known.params |= entry.data
                    case "tags":
                        known.tags |= {key: str(value) for key, value in entry.data.items()}
                    case "artifact":
                        known.artifacts.add((entry.data.name, entry.data.path.parent.name))
        known.files = len(writers)
        return known

    def unknown(
        self, records: Iterable[Record | MetricPoints], redactor: Redactor
    ) -> Iterator[Record | MetricPoints]:
        """Leave out what the journal has.

        Args:
            records: All records of the run, those of each metric in the same order as before.
            redactor: What is in the journal has passed it.
        """
        for record in records:
            if isinstance(record, MetricPoints):
                yield from self._unknown_points(record, redactor)
            elif isinstance(record, Param):
                yield from self._changed_param(record, redactor)
            elif not self._has(record, redactor):
                yield record

    def _unknown_points(self, points: MetricPoints, redactor: Redactor) -> Iterator[MetricPoints]:
        key = redactor.redact(points.key)
        known = min(max(self.points[key], 0), len(points))
        self.points[key] -= len(points)
        if known < len(points):
            rest = (points.steps[known:], points.values[known:], points.timestamps[known:])
            yield MetricPoints(points.key, *rest)

    def _has(self, record: Record, redactor: Redactor) -> bool:
        match record:
            case Metric(key):
                redacted = redactor.redact(key)
                self.points[redacted] -= 1
                return self.points[redacted] >= 0
            case Tag(key, value):
                return self.tags.get(key) == redactor.redact_pair(key, value)[1]
            case Artifact():
                return (redactor.redact(record.name), _digest(record.path)) in self.artifacts
        return isinstance(record, Context)

    def _changed_param(self, param: Param, redactor: Redactor) -> Iterator[Record]:
        """Give a param that is new, and a tag for one that has another value now."""
        key, value = redactor.redact_pair(param.key, param.value)
        text = str(value)
        if key not in self.params:
            yield param
        elif text not in (str(self.params[key]), self.tags.get(key)):
            yield Tag(param.key, text)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(
    records: Iterable[Record | MetricPoints],
) -> Iterator[tuple[list[list[Column]], list[Record]]]:
    """Give records a few hundred at a time: points as entries hold them, and all others."""
    points, others = PointsByMetric(_AT_ONCE), list[Record]()
    for record in records:
        if isinstance(record, Metric):
            points.add(record.key, float(record.value), record.step, record.timestamp)
        elif isinstance(record, MetricPoints):
            points.extend(record)
        else:
            others.append(record)
        if points.is_full or len(others) >= _AT_ONCE:
            yield _entries_of(points), others
            others = []
    yield _entries_of(points), others


def _entries_of(points: PointsByMetric) -> list[list[Column]]:
    """Cut points into entries of a few hundred, each of which has all metrics at the same place."""
    whole = [*points.take()]
    width = max(1, _AT_ONCE // max(1, len(whole)))
    longest = max(map(len, whole), default=0)
    return [
        [
            Column(p.key, [*p.steps[part]], [*p.values[part]], [*p.timestamps[part]])
            for p in whole
            if len(p) > part.start
        ]
        for part in (slice(at, at + width) for at in range(0, longest, width))
    ]


def _start_of(tallied: Tallied) -> int:
    """Give when a run began; where nobody knows, that is when it is imported."""
    remote = tallied.remote
    return remote.started_at or tallied.first or remote.ended_at or tallied.now


def _check(journal: JournalWriter) -> None:
    if journal.dropped:
        raise TrackyardError(f"{journal.folder}: the disk does not take it")
