"""Flavors that keep tidy data, and get wrong what is irregular, each one thing."""

# ruff: noqa: E741

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs

from mutants.ledger import Ledger
from trackyard.contract import Capabilities, flavor, hookimpl

_Line = tuple[Any, ...]


class _Changing(Ledger):
    """Changes lines of one kind before they are written."""

    changed: ClassVar[str]

    def change(self, line: _Line) -> _Line | None:
        raise NotImplementedError

    def write(self, run, *lines):
        kept = (self.change(l) if l[0] == self.changed else l for l in lines)
        super().write(run, *(l for l in kept if l is not None))


class _ChangingPoints(_Changing):
    """Changes the value, the step or the time of points."""

    changed = "metric"

    def change(self, line):
        kind, key, value, step, timestamp = line
        return kind, key, *self.point(value, step, timestamp)

    def point(self, value: float, step: Any, timestamp: int) -> tuple[Any, ...]:
        return value, step, timestamp


class _ChangingParams(_Changing):
    """Changes the values of params."""

    changed = "param"

    def change(self, line):
        return *line[:2], self.value(line[2])

    def value(self, value: Any) -> Any:
        return value


@flavor
class KeepsOnePointOfAStep(Ledger):
    """The second of two points at one step takes the place of the first."""

    caught_by = "test_irregular_points_are_kept"

    def place(self, number, *point):
        return "metric", *(point[:2] if point[1] is not None else point)


@flavor
class KeepsOnePointWithoutAStep(Ledger):
    """All points without a step are one."""

    caught_by = "test_irregular_points_are_kept"

    def place(self, number, *point):
        return "metric", *(point[:2] if point[1] is None else point)


@flavor
class KeepsStepsAsFloats(_ChangingPoints):
    """Steps beyond 2^53 become other ones."""

    caught_by = "test_irregular_points_are_kept"

    def point(self, value, step, timestamp):
        return value, None if step is None else int(float(step)), timestamp


@flavor
class CutsStepsTo32Bits(_ChangingPoints):
    """Large steps become others."""

    caught_by = "test_irregular_points_are_kept"

    def point(self, value, step, timestamp):
        return value, None if step is None else min(step, 2**31 - 1), timestamp


@flavor
class TakesNoNegativeStep(_ChangingPoints):
    """A negative step becomes 0."""

    caught_by = "test_irregular_points_are_kept"

    def point(self, value, step, timestamp):
        return value, None if step is None else max(step, 0), timestamp


@flavor
class CountsInMicroseconds(Ledger):
    """Points of one step and microsecond are one."""

    caught_by = "test_irregular_points_are_kept"

    def place(self, number, *point):
        key, step, timestamp = point
        return "metric", key, step, timestamp // 1000


@flavor
class LeavesUnchangedValuesOut(Ledger):
    """A point with the value and step of the last one is taken for the same."""

    caught_by = "test_irregular_points_are_kept"

    _last: dict[str, Any] = attrs.field(init=False, factory=dict)

    def write(self, run, *lines):
        for line in lines:
            if line[0] == "metric":
                if self._last.get(line[1]) == line[2:4]:
                    continue
                self._last[line[1]] = line[2:4]
            super().write(run, line)


@flavor
class LeavesZeroStepsOut(_ChangingPoints):
    """A step that is not true is none, and none is given the number of the point."""

    caught_by = "test_irregular_points_are_kept"

    def point(self, value, step, timestamp):
        return value, step or -1, timestamp


@flavor
class KeepsWholeSeconds(_ChangingPoints):
    """Times are cut to seconds."""

    caught_by = "test_times_are_exact"

    def point(self, value, step, timestamp):
        return value, step, timestamp // 10**9 * 10**9


@flavor
class TakesTheTimeOfTheBatch(Ledger):
    """The time of a batch's first point stands for all of its points."""

    caught_by = "test_times_are_exact"

    def write(self, run, *lines):
        first = next((l[4] for l in lines if l[0] == "metric"), 0)
        super().write(run, *((*l[:4], first) if l[0] == "metric" else l for l in lines))


@flavor
class DeclaresNanoseconds(_ChangingPoints):
    """It declares to keep nanoseconds, and writes floats of seconds."""

    caught_by = "test_times_are_exact"

    capabilities: ClassVar[Capabilities] = Capabilities(
        time_resolution=1, nests=True, shared_runs=True
    )

    def point(self, value, step, timestamp):
        return value, step, round(timestamp / 1e9 * 1e9)


@flavor
class KeepsLocalTimes(_ChangingPoints):
    """Times are moved by a zone's offset."""

    caught_by = "test_times_are_exact"

    def point(self, value, step, timestamp):
        return value, step, timestamp + 3600 * 10**9


@flavor
class KeepsFloatsOf32Bits(_ChangingPoints):
    """Values have 32 bits, and that is not declared."""

    caught_by = "test_numbers_are_exact"

    def point(self, value, step, timestamp):
        is_large = abs(value) > 3e38
        return (
            value if is_large else struct.unpack("f", struct.pack("f", value))[0],
            step,
            timestamp,
        )


@flavor
class WritesSixDigits(_ChangingPoints):
    """Values are written as people read them."""

    caught_by = "test_numbers_are_exact"

    def point(self, value, step, timestamp):
        return float(f"{value:.6g}"), step, timestamp


@flavor
class TakesSmallForNothing(_ChangingPoints):
    """Denormals become zero."""

    caught_by = "test_numbers_are_exact"

    def point(self, value, step, timestamp):
        return 0.0 if abs(value) < 1e-300 else value, step, timestamp


@flavor
class TakesLargeForInfinite(_ChangingPoints):
    """The largest numbers become infinite."""

    caught_by = "test_numbers_are_exact"

    def point(self, value, step, timestamp):
        return float("inf") if value > 1e308 else value, step, timestamp


@flavor
class ReadsTextsAsJson(_ChangingParams):
    """Texts that look like numbers or truth become such."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            return value


@flavor
class ReadsTextsAsInts(_ChangingParams):
    """Of texts of digits the leading zeros get lost."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        return str(int(value)) if isinstance(value, str) and value.isdigit() else value


@flavor
class StripsTexts(_ChangingParams):
    """White space around a text is lost."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        return value.strip() if isinstance(value, str) else value


@flavor
class KeepsIntsAsFloats(_ChangingParams):
    """Long ints lose their last digits."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        return float(value) if type(value) is int else value


@flavor
class TakesTruthForOne(_ChangingParams):
    """True is kept as 1."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        return int(value) if isinstance(value, bool) else value


@flavor
class RoundsParams(_ChangingParams):
    """Floats are params of a few digits, as numpy's float32 would be."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        return float(f"{value:.7g}") if isinstance(value, float) else value


@flavor
class KnowsOneLineEnd(_ChangingParams):
    """Line ends become those of Unix."""

    caught_by = "test_params_are_exact"

    def value(self, value):
        return value.replace("\r\n", "\n") if isinstance(value, str) else value


@flavor
class LeavesBlankTextsOut(_Changing):
    """A text of blanks is taken for none."""

    caught_by = "test_params_are_exact"
    changed = "param"

    def change(self, line):
        return None if isinstance(line[2], str) and not line[2].strip() else line


@flavor
class MakesNaNParamsNull(_Changing):
    """Its JSON has no NaN."""

    caught_by = "test_params_are_exact"
    changed = "param"

    def change(self, line):
        return (*line[:2], None) if line[2] != line[2] else line


@flavor
class StripsTags(_Changing):
    """White space around a tag is lost."""

    caught_by = "test_tags_are_exact"
    changed = "tag"

    def change(self, line):
        return *line[:2], line[2].strip()


@flavor
class WritesTagsInLowerCase(_Changing):
    """Tags are labels for it, which have no capitals."""

    caught_by = "test_tags_are_exact"
    changed = "tag"

    def change(self, line):
        return *line[:2], line[2].lower()


@flavor
class KeepsTheFirstTag(_Changing):
    """A tag that it has is not written again."""

    caught_by = "test_tag_may_change_later"
    changed = "tag"

    _known: set[str] = attrs.field(init=False, factory=set)

    def change(self, line):
        is_known = line[1] in self._known
        self._known.add(line[1])
        return None if is_known else line


@flavor
class EndsWithTheFirstTags(Ledger):
    """The tags that a run began with are written once more at its end."""

    caught_by = "test_tag_may_change_later"

    def end(self, run, status):
        self.write(run, *(("tag", *tag) for tag in run.tags.items()))
        super().end(run, status)


@flavor
class TakesLocalTimesForUtc(_ChangingPoints):
    """Its times are those of the clock on the wall."""

    caught_by = "test_times_are_exact"

    def change(self, line):
        return (*line[:4], line[4] + time.localtime().tm_gmtoff * 10**9)


@flavor
class DropsTheNote(_Changing):
    """Tags of Trackyard's own are its own, it thinks: the note that somebody writes is lost."""

    caught_by = "test_tag_may_change_later"
    changed = "tag"

    def change(self, line):
        return None if line[1] == "trackyard.note" else line


@flavor
class ReplacesAllTags(Ledger):
    """A batch's tags take the place of all that were there."""

    caught_by = "test_tag_may_change_later"

    @hookimpl
    def tracker_log(self, run, batch):
        if len(batch.tags) > 1 and self.path(run).exists():
            batch = attrs.evolve(batch, tags=batch.tags[1:] if self._has(run) else batch.tags)
        super().tracker_log(run, batch)

    def _has(self, run: Any) -> bool:
        return '"stage"' in self.path(run).read_text()


class _Copying(Ledger):
    """Has a way of its own to copy the files of artifacts."""

    def copy(self, source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())

    def kept(self, run, batch) -> Iterator[_Line]:
        for artifact in batch.artifacts:
            target = self.directory / run.id / artifact.name
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy(artifact.path, target)
            if target.exists():
                yield "artifact", artifact.name, str(target)


@flavor
class KeepsTheFirstFile(_Copying):
    """A file that is there is not written again."""

    caught_by = "test_artifact_may_change_later"

    def copy(self, source, target):
        if not target.exists():
            super().copy(source, target)


@flavor
class AppendsToFiles(_Copying):
    """What comes again is added to the file."""

    caught_by = "test_artifact_may_change_later"

    def copy(self, source, target):
        with target.open("ab") as file:
            file.write(source.read_bytes())


@flavor
class WritesOverFiles(_Copying):
    """A shorter content leaves the end of the longer one before it."""

    caught_by = "test_artifact_may_change_later"

    def copy(self, source, target):
        target.touch()
        with target.open("r+b") as file:
            file.write(source.read_bytes())


@flavor
class LeavesEmptyFilesOut(_Copying):
    """A file without bytes is no file."""

    caught_by = "test_odd_files_are_kept"

    def copy(self, source, target):
        if source.stat().st_size:
            super().copy(source, target)


@flavor
class ConvertsLineEnds(_Copying):
    """Texts get the line ends of Unix."""

    caught_by = "test_odd_files_are_kept"

    def copy(self, source, target):
        target.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))


@flavor
class LeavesHiddenFilesOut(_Copying):
    """A name that begins with a dot is the system's."""

    caught_by = "test_odd_files_are_kept"

    def copy(self, source, target):
        if not target.name.startswith("."):
            super().copy(source, target)


@flavor
class KnowsFilesByContent(_Copying):
    """The second file of equal content is taken for the first."""

    caught_by = "test_odd_files_are_kept"

    _known: set[str] = attrs.field(init=False, factory=set)

    def copy(self, source, target):
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        if digest not in self._known:
            self._known.add(digest)
            super().copy(source, target)


@flavor
class TakesOneForNone(Ledger):
    """A batch of one record is passed over."""

    caught_by = "test_batches_of_one_are_taken"

    @hookimpl
    def tracker_log(self, run, batch):
        if len(batch) > 1:
            super().tracker_log(run, batch)


@flavor
class FilesNeedAMetric(Ledger):
    """Files are uploaded with the metrics, and not alone."""

    caught_by = "test_batches_of_one_are_taken"

    def kept(self, run, batch):
        if batch.metrics or len(batch) > 1:
            yield from super().kept(run, batch)


class _Few(Ledger):
    """Sends the first page of one kind."""

    paged: ClassVar[str]
    size: ClassVar[int] = 100

    @hookimpl
    def tracker_log(self, run, batch):
        page = getattr(batch, self.paged)[: self.size]
        super().tracker_log(run, attrs.evolve(batch, **{self.paged: page}))


@flavor
class SendsOnePageOfParams(_Few):
    """Of many params the first hundred arrive."""

    caught_by = "test_largest_batch_of_each_kind_is_taken"
    paged = "params"


@flavor
class SendsOnePageOfTags(_Few):
    """Of many tags the first hundred arrive."""

    caught_by = "test_largest_batch_of_each_kind_is_taken"
    paged = "tags"


@flavor
class SendsTenFiles(_Few):
    """Of many files the first ten arrive."""

    caught_by = "test_largest_batch_of_each_kind_is_taken"
    paged, size = "artifacts", 10


@flavor
class KnowsFilesOrTags(Ledger):
    """Where a batch has files, its tags are left out."""

    caught_by = "test_untidy_program_is_kept"

    @hookimpl
    def tracker_log(self, run, batch):
        if batch.artifacts:
            batch = attrs.evolve(batch, tags=())
        super().tracker_log(run, batch)
