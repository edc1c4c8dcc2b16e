"""Does a backend hold what is irregular: twice, backwards, empty, equal, taken for another?"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import attrs
import pytest

from trackyard.contract.records import NAME, NOTE, Artifact, Batch, Metric, Param, Record, Tag
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.irregular import NUMBERS, ODD_PARAMS, log_irregularly, log_points
from trackyard.testing.requirements import can_be_read, keeps_times
from trackyard.testing.stored import StoredRun, difference
from trackyard.testing.workbench import Logging, Workbench

_NONE: Mapping[str, str] = MappingProxyType({})
_LARGEST = {"metrics": 2_000, "params": 500, "tags": 500, "artifacts": 30}


class IrregularChecks:
    """The data of programs that nobody has tidied up."""

    @check(
        "Each point is kept, once: without a step, twice at one step, at steps that go back, are "
        "negative or beyond 2^53, and within one microsecond.",
        can_be_read,
    )
    def test_irregular_points_are_kept(self, workbench: Workbench) -> None:
        _compare(workbench, log_points)

    @check(
        "Numbers are kept to the last bit, or to the number_bits that are declared.", can_be_read
    )
    def test_numbers_are_exact(self, workbench: Workbench) -> None:
        _compare(workbench, lambda run: run.log_metrics(NUMBERS, step=1))

    @check("Times are kept to the time_resolution that is declared.", can_be_read, keeps_times)
    def test_times_are_exact(self, workbench: Workbench) -> None:
        resolution = workbench.capabilities.time_resolution or 1
        begun = time.time_ns() // 10**9 * 10**9 - 10**12
        points = [Metric("loss", n / 8, n, begun + n * 1_234_567_891) for n in range(9)]
        zone = os.environ.get("TZ")
        try:  # a time that is local somewhere on its way is off by some hours
            os.environ["TZ"] = "Asia/Kolkata"
            time.tzset()
            stored = _sent(workbench, [points])
        finally:
            os.environ.pop("TZ")
            if zone is not None:
                os.environ["TZ"] = zone
            time.tzset()
        for sent, kept in zip(points, stored.metrics.get("loss", []), strict=False):
            off = abs(kept.timestamp - sent.timestamp)
            expect(off < resolution, f"a time is off by {off} ns; {resolution} ns are declared")

    @check(
        "Params are kept as they are: texts as texts, whole numbers as such, to the last digit.",
        can_be_read,
    )
    def test_params_are_exact(self, workbench: Workbench) -> None:
        _compare(workbench, lambda run: run.log_params(ODD_PARAMS))

    @check("Tags are texts, kept to the last character.", can_be_read)
    def test_tags_are_exact(self, workbench: Workbench) -> None:
        texts = {key: value for key, value in ODD_PARAMS.items() if isinstance(value, str)}
        _compare(workbench, lambda run: run.set_tags(texts))

    @check(
        "A tag that changes in a later batch has its last value; so have the note and the name "
        "that somebody gives a run.",
        can_be_read,
    )
    def test_tag_may_change_later(self, workbench: Workbench) -> None:
        keys = ("stage", NOTE, NAME)
        steps = [
            [*(Tag(key, text) for key in keys), Tag("owner", "kim")]
            for text in ("dev", "test", "prod")
        ]
        stored = _sent(workbench, steps, {"stage": "new"})
        expect(stored.label("stage") == "prod", f"of dev, test, prod it is {stored.label('stage')}")
        expect(stored.label("owner") == "kim", f"a tag beside it is {stored.label('owner')!r}")

    @check("An artifact that is logged again under its name has its last content.", can_be_read)
    def test_artifact_may_change_later(self, workbench: Workbench, tmp_path: Path) -> None:
        contents = (b"first", b"the second, which is longest", b"third")
        stored = _sent(workbench, [[_file(tmp_path / str(n), "notes/report.txt", content, n)]
                                   for n, content in enumerate(contents)])  # fmt: skip
        found = stored.artifacts.get("notes/report.txt")
        expect(found == contents[-1], f"an artifact that changed twice is {found!r}")

    @check(
        "Artifacts of equal content, of none, and in folders are files of their own.", can_be_read
    )
    def test_odd_files_are_kept(self, workbench: Workbench, tmp_path: Path) -> None:
        contents = {
            "one.bin": b"\0\xffthe same",
            "again/one.bin": b"\0\xffthe same",
            "empty.bin": b"",
            "empty.txt": b"",
            "a/b/c/d.bin": b"\r\n\r\n",
            "lines.txt": b"one\r\ntwo\nthree\r",
            "no suffix": b"x",
            ".hidden": b"y",
        }
        files = [_file(tmp_path / str(n), *item, n) for n, item in enumerate(contents.items())]
        stored = _sent(workbench, [files])
        for name, content in contents.items():
            found = stored.artifacts.get(name)
            expect(found == content, f"of {name!r} with {content!r} the backend has {found!r}")

    @check("A batch may hold one record, of any kind.", can_be_read)
    def test_batches_of_one_are_taken(self, workbench: Workbench, tmp_path: Path) -> None:
        records: list[Record] = [
            Metric("loss", 0.5, 1, 10**18),
            Param("rate", 0.1),
            Tag("stage", "dev"),
            _file(tmp_path / "a", "a.bin", b"a", 1),
            Metric("loss", 0.25, None, 10**18 + 10**9),
        ]
        _sent(workbench, [[record] for record in records])

    @check("largest_batch: a batch of that size is taken whole, of each kind.", can_be_read)
    @pytest.mark.parametrize("kind", list(_LARGEST))
    def test_largest_batch_of_each_kind_is_taken(
        self, workbench: Workbench, kind: str, tmp_path: Path
    ) -> None:
        most = [_record(kind, number, tmp_path) for number in range(_LARGEST[kind])]
        _sent(workbench, [workbench.one_call(most)])

    @check("What several batches bring is one run: all kinds, at any time.", can_be_read)
    def test_untidy_program_is_kept(self, workbench: Workbench) -> None:
        _compare(workbench, log_irregularly)


def _record(kind: str, number: int, folder: Path) -> Record:
    match kind:
        case "metrics":
            return Metric(f"m{number % 7}", number / 7, number // 7, 10**18 + number * 10**6)
        case "params":
            return Param(f"p{number}", number)
        case "tags":
            return Tag(f"t{number}", f"{number:03}")
        case _:
            return _file(folder / str(number), f"files/{number}.txt", b"%d" % (number // 2), number)


def _file(folder: Path, name: str, content: bytes, number: int) -> Artifact:
    """Write a file as core keeps it: under the last part of its name, in a folder of its own."""
    folder.mkdir()
    path = folder / name.rpartition("/")[2]
    path.write_bytes(content)
    return Artifact(name, path, "file", timestamp=10**18 + number * 10**9)


def _sent(
    workbench: Workbench, batches: Sequence[Sequence[Record]], tags: Mapping[str, str] = _NONE
) -> StoredRun:
    """Send batches to the hooks themselves, and break the check where the backend differs."""
    run, hooks, first = workbench.new_run(), workbench.tracker_hooks(), 1
    run = attrs.evolve(run, tags={**run.tags, **tags})
    fitted = iter(workbench.fitted(record for batch in batches for record in batch))
    batches = [list(islice(fitted, len(batch))) for batch in batches]
    with in_project(workbench.project):
        outcomes = [hooks.start_run(run)]
        for records in batches:
            last = first + len(records) - 1
            outcomes.append(hooks.log(run, Batch.of(tuple(records), first, last)))
            first = last + 1
        outcomes.append(hooks.end_run(run))
    problems = [outcome.reason for outcome in outcomes if outcome.kind != "done"]
    expect(not problems, f"of {len(batches)} batches, the hooks say: {'; '.join(problems)}")
    stored = workbench.read_now(run)
    records = [record for batch in batches for record in batch]
    found = difference(records, stored, workbench.capabilities)
    expect(not found, found)
    return stored


def _compare(workbench: Workbench, log: Logging) -> None:
    """Log something, and break the check where the backend holds anything else."""
    run_id = workbench.log(log)
    found = workbench.difference(run_id)
    expect(not found, found)
    refused = workbench.refused(run_id)
    expect(not refused, f"the tracker refused {refused} records")
