"""Flavors that are wrong about runs of others, files of others, and programs of others."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

import attrs

from mutants.sources import SourceLedger, ask_nobody
from trackyard.contract import Metric, RemoteRun, flavor, hookimpl


@flavor
class ListsTheFirstPage(SourceLedger):
    """It never asks for the next page."""

    caught_by = "test_runs_are_listed_once"

    def listed(self, query):
        yield from list(super().listed(query))[: query.page]


@flavor
class ListsPagesThatOverlap(SourceLedger):
    """Each page begins with the last run of the one before it."""

    caught_by = "test_runs_are_listed_once"

    def listed(self, query):
        for number, path in enumerate(super().listed(query)):
            yield path
            if number % query.page == query.page - 1:
                yield path


@flavor
class ListsRunningOnesAlone(SourceLedger):
    """Runs that have ended are not listed."""

    caught_by = "test_runs_are_listed_once"

    @hookimpl
    def tracker_list_runs(self, query):
        yield from (run for run in super().tracker_list_runs(query) if run.status is None)


@flavor
class TakesSinceForSeconds(SourceLedger):
    """A run's start, in seconds, is compared with nanoseconds."""

    caught_by = "test_query_leaves_out_no_run_that_fits"

    @hookimpl
    def tracker_list_runs(self, query):
        for run in super().tracker_list_runs(attrs.evolve(query, since=None)):
            if query.since is None or (run.started_at or 0) / 10**9 >= query.since:
                yield run


@flavor
class GivesTimesInMilliseconds(SourceLedger):
    """Times are those of the backend's answer."""

    caught_by = "test_listed_run_is_described"

    def described(self, path):
        run = super().described(path)
        return attrs.evolve(run, started_at=(run.started_at or 0) // 10**6)


@flavor
class TakesTheEndForTheStart(SourceLedger):
    """A run that has ended is listed as one that runs."""

    caught_by = "test_listed_run_is_described"

    def described(self, path):
        return attrs.evolve(super().described(path), status="running")


@flavor
class NamesRunsAnewEachTime(SourceLedger):
    """An id is made for each listing."""

    caught_by = "test_listed_run_is_described"

    _given: dict[str, str] = attrs.field(init=False, factory=dict)

    def described(self, path):
        run = super().described(path)
        own = f"{run.remote_id}-{os.urandom(2).hex()}"
        self._given[own] = run.remote_id
        return attrs.evolve(run, remote_id=own)

    def records(self, run, remote_id):
        yield from super().records(run, self._given.get(remote_id, remote_id))


@flavor
class ReadsTheLastThatWasListed(SourceLedger):
    """Whatever is asked for, it reads the run at which the listing stands."""

    caught_by = "test_runs_are_listed_once"

    _last: str = attrs.field(init=False, default="")

    def described(self, path):
        self._last = path.stem
        return super().described(path)

    def records(self, run, remote_id):
        yield from super().records(run, remote_id and (self._last or remote_id))


@flavor
class ReadsPointsByTheText(SourceLedger):
    """Steps come in the order of their texts: 1, 10, 11, 2."""

    caught_by = "test_listed_run_is_read_whole"

    def records(self, run, remote_id):
        found = [*super().records(run, remote_id)]
        yield from (r for r in found if not isinstance(r, Metric))
        points = [r for r in found if isinstance(r, Metric)]
        yield from sorted(points, key=lambda point: (point.key, str(point.step)))


@flavor
class ReadsTheLatestPointsAlone(SourceLedger):
    """An import gets the last point of each metric."""

    caught_by = "test_listed_run_is_read_whole"

    def records(self, run, remote_id):
        found = [*super().records(run, remote_id)]
        last = {r.key: r for r in found if isinstance(r, Metric)}
        yield from (r for r in found if not isinstance(r, Metric))
        yield from last.values() if remote_id else (r for r in found if isinstance(r, Metric))


@flavor
class GivesAnyRunForAForeignId(SourceLedger):
    """An id that nobody has gives the first run."""

    caught_by = "test_foreign_remote_id_is_not_read"

    def records(self, run, remote_id):
        if remote_id and not (self.directory / f"{remote_id}.jsonl").exists():
            remote_id = sorted(self.directory.glob("*.jsonl"))[0].stem
        yield from super().records(run, remote_id)


@flavor
class MigratesWhatItReads(SourceLedger):
    """A file that is read is written in its newest form."""

    caught_by = "test_source_is_not_written_to"

    def records(self, run, remote_id):
        yield from super().records(run, remote_id)
        if remote_id:
            with (self.directory / f"{remote_id}.jsonl").open("a") as file:
                file.write("\n")


@flavor
class KeepsAnIndexInTheSource(SourceLedger):
    """What was listed is remembered beside the runs."""

    caught_by = "test_source_is_not_written_to"

    @hookimpl
    def tracker_list_runs(self, query):
        found = [*super().tracker_list_runs(query)]
        (self.directory / "index").write_text(str(len(found)))
        yield from found


@flavor
class LogsInAsASource(SourceLedger):
    """The SDK asks its server before it writes anything."""

    caught_by = "test_source_alone_gives_its_records"

    def alone(self, run):
        with suppress(OSError):
            ask_nobody()
        super().alone(run)


@flavor
class WritesWhereTheTrackerWould(SourceLedger):
    """A source writes where the tracker would: into the working directory."""

    caught_by = "test_source_alone_leaves_nothing_behind"

    def alone(self, run):
        self.directory.mkdir(exist_ok=True)


@flavor
class LeavesAVariableBehind(SourceLedger):
    """A source alone switches the SDK off for good."""

    caught_by = "test_source_alone_leaves_nothing_behind"

    def alone(self, run):
        os.environ["LEDGER_MODE"] = f"offline in {run.id}"
        super().alone(run)


@flavor
class CapturesNothingAlone(SourceLedger):
    """A source alone has no run that calls could land in."""

    caught_by = "test_source_alone_gives_its_records"

    def active(self, run, capture):
        return super().active(run, None if self.directory == run.folder else capture)


@flavor
class ReadsFilesFromTheStart(SourceLedger):
    """The position is given, and not looked at."""

    caught_by = "test_files_are_read_from_a_position"

    def read(self, files, position):
        return super().read(files, "")


@flavor
class LosesALineOfEachRead(SourceLedger):
    """The position is one too far where a file has grown."""

    caught_by = "test_files_are_read_from_a_position"

    def read(self, files, position):
        records, end = super().read(files, position)
        return records, str(int(end) + (1 if position and records else 0))


@flavor
class ReadsFilesOnce(SourceLedger):
    """What is in memory decides what is new, and another process has none of it."""

    caught_by = "test_files_are_read_from_a_position"

    _read: int = attrs.field(init=False, default=0)

    def read(self, files, position):
        records, end = super().read(files, str(self._read))
        self._read = int(end)
        return records, end


@flavor
class NeedsFilesAtOnce(SourceLedger):
    """A file that is not there yet is an error."""

    caught_by = "test_files_need_not_be_there_and_stay_as_they_are"

    def read(self, files, position):
        files.stat()
        return super().read(files, position)


@flavor
class MakesTheFolder(SourceLedger):
    """What is not there is made."""

    caught_by = "test_files_need_not_be_there_and_stay_as_they_are"

    def read(self, files, position):
        files.touch()
        return super().read(files, position)


@flavor
class RotatesWhatItHasRead(SourceLedger):
    """What was read is moved away."""

    caught_by = "test_files_need_not_be_there_and_stay_as_they_are"

    def read(self, files, position):
        found = super().read(files, position)
        if files.exists():
            shutil.move(files, files.with_suffix(".read"))
        return found


@flavor
class SetsTheVariablesItself(SourceLedger):
    """The variables of a command are set in this process, too."""

    caught_by = "test_variables_of_a_command_are_the_sdks"

    def variables(self, run):
        os.environ.update(super().variables(run))
        return super().variables(run)


@flavor
class GivesAPath(SourceLedger):
    """A value is no text."""

    caught_by = "test_variables_of_a_command_are_the_sdks"

    def variables(self, run):
        return {"LEDGER_RUN": self.path(run)}


@flavor
class ChangesThePythonPath(SourceLedger):
    """The SDK is hooked into by the path of all modules."""

    caught_by = "test_variables_of_a_command_are_the_sdks"

    def variables(self, run):
        return {**super().variables(run), "PYTHONPATH": str(run.folder)}


@flavor
class NamesARelativePath(SourceLedger):
    """A command that changes its directory writes elsewhere."""

    caught_by = "test_native_calls_of_a_command_land_in_the_run"

    def variables(self, run):
        return {"LEDGER_RUN": f"{run.id}.jsonl"}


@flavor
class QuietsTheSdk(SourceLedger):
    """The calls of a command go nowhere."""

    caught_by = "test_native_calls_of_a_command_land_in_the_run"

    def variables(self, run):
        return {"LEDGER_RUN": os.devnull}


@flavor
class DescribesNothing(SourceLedger):
    """A listed run has another name than it was given."""

    caught_by = "test_listed_run_is_described"

    def described(self, path):
        run = super().described(path)
        return RemoteRun(run.remote_id, name=path.stem[:8])


@flavor
class ForgetsTagsOfAnEarlyStart(SourceLedger):
    """A run that is started early bears no tags."""

    caught_by = "test_early_start_makes_the_same_run"

    def early(self, run):
        if self.path(run).exists():
            return False
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write(run, ("tag", "name", run.name))
        return True


@flavor
class StartsEarlyWhatWasStarted(SourceLedger):
    """A run that was started before is begun anew."""

    caught_by = "test_early_start_makes_the_same_run"

    def early(self, run):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.path(run).write_text("")
        self.tracker_start_run(run)
        return True
