"""Are runs listed and read for an import as they are, and is nothing of the backend touched?"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.contract.importing import ImportNote, RemoteRun, RunQuery, one_by_one
from trackyard.contract.records import Metric, Record
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.requirements import implements
from trackyard.testing.stored import StoredRun, difference
from trackyard.testing.workbench import Workbench
from trackyard.tracking.calls import ActiveRun

_HOUR = 3_600 * 10**9
_RUNS = 3
# What SQLite keeps beside a database that is read.
_PASSING = ("-shm", "-wal", ".lock")

is_source = implements("tracker_list_runs", "tracker_read_run")


@attrs.frozen
class _Listed:
    """Runs of this check among those that the backend lists.

    Attributes:
        hooks: The one instance that has listed, and reads.
        runs: By the id that core gave them.
        all: Everything that was listed.
    """

    hooks: TrackerHooks
    runs: dict[str, RemoteRun]
    all: list[RemoteRun]


class SourceChecks:
    """What `trackyard import` asks of a flavor."""

    @check("tracker_list_runs lists the runs of the backend, each once, whatever the page.",
           is_source)  # fmt: skip
    def test_runs_are_listed_once(self, workbench: Workbench, import_place: str | None) -> None:
        ids = [workbench.log(_log, name=f"run {number}") for number in range(_RUNS)]
        for page in (500, 1):
            listed = _list(workbench, RunQuery(import_place, page=page))
            remote_ids = [run.remote_id for run in listed.all]
            twice = {one for one in remote_ids if remote_ids.count(one) > 1}
            expect(not twice, f"with {page} runs a page, these are listed twice: {sorted(twice)}")
            missing = [id_ for id_ in ids if id_ not in listed.runs]
            shown = f"of {_RUNS} runs, with {page} a page, {len(missing)} are not listed"
            expect(not missing, shown)

    @check("What RunQuery asks for is a wish of the user's: no run that fits is left out.",
           is_source)  # fmt: skip
    def test_query_leaves_out_no_run_that_fits(
        self, workbench: Workbench, import_place: str | None
    ) -> None:
        id_ = workbench.log(_log)
        known = _list(workbench, RunQuery(import_place)).runs.get(id_)
        expect(known is not None, "a run that has ended is not listed")
        since = time.time_ns() - _HOUR
        wishes = {
            "since an hour ago": RunQuery(import_place, since=since),
            "of its experiment": RunQuery(import_place, known.experiment if known else None),
            "at most 1000": RunQuery(import_place, limit=1000),
        }
        for wish, query in wishes.items():
            expect(id_ in _list(workbench, query).runs, f"asked for runs {wish}, it is left out")
        late = RunQuery(import_place, since=time.time_ns() + _HOUR)
        fitting = [run for run in _list(workbench, late).runs.values() if late.fits(run)]
        expect(not fitting, f"a run began in an hour from now, it says: {fitting}")

    @check("A listed run is known by its name, status and times, and an id that never changes.",
           is_source)  # fmt: skip
    def test_listed_run_is_described(self, workbench: Workbench, import_place: str | None) -> None:
        before = time.time_ns()
        id_ = workbench.log(_log, name="baseline")
        first, again = (_list(workbench, RunQuery(import_place)).runs.get(id_) for _ in range(2))
        if first is None or again is None:
            raise ConfigError("a run that has ended is not listed")
        expect(first == again, f"listed again it is {again}, and was {first}")
        is_named = first.name is None or "baseline" in first.name  # a folder has more in it
        expect(is_named, f"its name is {first.name!r}, not 'baseline'")
        status = (None, "finished")
        expect(first.status in status, f"its status is {first.status!r}, not 'finished'")
        for what in ("started_at", "ended_at"):
            moment = getattr(first, what)
            is_near = moment is None or abs(moment - before) < _HOUR
            expect(is_near, f"{what} is {moment}; it began at {before}, in nanoseconds")

    @check("A run that is read for an import is whole: as it was logged, points in their order.",
           is_source)  # fmt: skip
    def test_listed_run_is_read_whole(self, workbench: Workbench, import_place: str | None) -> None:
        ids = [workbench.log(_log, name=f"run {number}") for number in range(2)]
        listed = _list(workbench, RunQuery(import_place))
        for id_ in ids:
            run = listed.runs.get(id_)
            expect(run is not None, "a run that has ended is not listed")
            with _read(workbench, listed.hooks, run.remote_id if run else "") as records:
                stored = _stored(records)
                found = difference(workbench.sent(id_), stored, workbench.capabilities)
                expect(not found, f"read for an import, {found}")
                steps = [step for step in stored.steps("loss") if step is not None]
                expect(steps == sorted(steps), f"its points come in the order {steps}")

    @check("A run is read by its remote_id, and an id that nobody has gives no records.",
           is_source)  # fmt: skip
    def test_foreign_remote_id_is_not_read(
        self, workbench: Workbench, import_place: str | None
    ) -> None:
        workbench.log(_log)
        listed = _list(workbench, RunQuery(import_place))
        try:
            with _read(workbench, listed.hooks, "0" * 32) as records:
                points = [record for record in records if isinstance(record, Metric)]
        except TrackyardError:
            return  # it says that there is none
        expect(not points, f"of an id that nobody has, {len(points)} points are read")

    @check("It writes nothing: not a byte of what it reads is another one afterwards.",
           is_source)  # fmt: skip
    def test_source_is_not_written_to(self, workbench: Workbench, import_place: str | None) -> None:
        workbench.finish(workbench.log(_log))
        places = [str(value) for value in (import_place, *workbench.table.values()) if value]
        paths = [Path(place) for place in places if len(place) < 1000 and Path(place).exists()]
        if not paths:
            pytest.skip("the backend is no file or folder of the configuration")
        before = _digests(paths)
        listed = _list(workbench, RunQuery(import_place))
        for run in listed.all:
            with _read(workbench, listed.hooks, run.remote_id):
                pass
        after = _digests(paths)
        changed = sorted(name for name in before | after if before.get(name) != after.get(name))
        expect(not changed, f"an import has changed {', '.join(changed[:5])}")


def _log(run: ActiveRun) -> None:
    run.log_params({"rate": 0.1, "name": "base"})
    for step in range(12):
        run.log_metric("loss", step / 3, step=step)
    run.set_tag("stage", "dev")
    run.log_text("the report", "notes/report.txt")


def _list(workbench: Workbench, query: RunQuery) -> _Listed:
    """List runs, and find those of this check's by reading each."""
    with in_project(workbench.project):
        hooks = workbench.tracker_hooks()
        try:
            found = list(hooks.list_runs(query))
        except TrackyardError as error:
            if query.place is None and error.__cause__ is None:  # it was said to who reads it
                pytest.skip(f"it needs a place, and there is no fixture import_place: {error}")
            raise
    runs = {}
    for run in found:
        with _read(workbench, hooks, run.remote_id) as records:
            own = _stored(records).label("trackyard.run_id")
            late = [record for record in records if isinstance(record, RemoteRun)]
        if own is not None:
            runs[own] = _laid_over(run, late)
    return _Listed(hooks, runs, found)


def _stored(pieces: list[Record | RemoteRun | ImportNote]) -> StoredRun:
    return StoredRun(tuple(p for p in pieces if not isinstance(p, RemoteRun | ImportNote)))


def _laid_over(run: RemoteRun, late: list[RemoteRun]) -> RemoteRun:
    for one in late:
        known = {f.name: getattr(one, f.name) for f in attrs.fields(RemoteRun)}
        run = attrs.evolve(run, **{k: v for k, v in known.items() if v not in (None, 0)})
    return run


@contextmanager
def _read(
    workbench: Workbench, hooks: TrackerHooks, remote_id: str
) -> Iterator[list[Record | RemoteRun | ImportNote]]:
    """Read a run; its files are there meanwhile."""
    with tempfile.TemporaryDirectory() as scratch, in_project(workbench.project):
        run = attrs.evolve(workbench.new_run(attached=True), folder=Path(scratch))
        yield list(one_by_one(hooks.read_remote_run(run, remote_id)))


def _digests(paths: list[Path]) -> dict[str, str]:
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and not file.name.endswith(_PASSING)
    }
