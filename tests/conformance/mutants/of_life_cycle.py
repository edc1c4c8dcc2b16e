"""Flavors that break a rule of a run's life, each one."""

# ruff: noqa: SIM105

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from mutants.ledger import Ledger
from trackyard.contract import flavor, hookimpl


@flavor
class StartsAnew(Ledger):
    """Each start makes a remote run of its own; the first is what the backend shows."""

    caught_by = "test_start_is_idempotent_on_the_id"

    @hookimpl
    def tracker_start_run(self, run):
        starts = run.folder / "starts"
        run.folder.mkdir(parents=True, exist_ok=True)
        with starts.open("a") as file:
            file.write(".")
        super().tracker_start_run(run)

    def path(self, run):
        starts = run.folder / "starts"
        number = starts.stat().st_size if starts.exists() and not self._is_reading else 1
        return self.directory / f"{run.id}-{number}.jsonl"

    _is_reading: bool = False

    @hookimpl
    def tracker_read_run(self, run):
        self._is_reading = True
        yield from super().tracker_read_run(run)


@flavor
class ForgetsOnResume(Ledger):
    """A start empties what another process has written."""

    caught_by = "test_start_in_another_process_resumes_the_run"

    @hookimpl
    def tracker_start_run(self, run):
        if run.attached:
            self.path(run).write_text("")
        super().tracker_start_run(run)


@flavor
class EndsOnce(Ledger):
    """An end that comes after another one changes nothing, though the run was resumed."""

    caught_by = "test_resumed_run_is_running_and_ends_once_more"

    def end(self, run, status):
        if not run.resumed:
            super().end(run, status)


@flavor
class LeavesItRunning(Ledger):
    """The end is not told to the backend."""

    caught_by = "test_run_that_ended_is_finished"

    @hookimpl
    def tracker_end_run(self, run):
        pass


@flavor
class CallsFailureSuccess(Ledger):
    """A run that raised is shown as finished."""

    caught_by = "test_run_that_raised_is_failed"

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.end(run, "finished")


@flavor
class KnowsOneFailure(Ledger):
    """Killed and crashed runs are shown as failed ones."""

    caught_by = "test_run_that_was_killed_or_crashed_says_so"

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.end(run, "failed")


@flavor
class MirrorsNoIdentity(Ledger):
    """Its runs cannot be found by their pipeline."""

    caught_by = "test_identity_is_mirrored"

    def write(self, run, *lines):
        super().write(run, *(line for line in lines if line[1] != "trackyard.pipeline"))


@flavor
class KnowsNoParent(Ledger):
    """Of a child run nobody knows where it belongs."""

    caught_by = "test_child_run_names_its_parent"

    def write(self, run, *lines):
        super().write(run, *(line for line in lines if line[1] != "trackyard.parent"))


@flavor
class DropsTags(Ledger):
    """The tags of the start get lost."""

    caught_by = "test_tags_of_the_start_are_kept"

    def write(self, run, *lines):
        super().write(run, *(line for line in lines if line[1] not in run.tags))


@flavor
class UsesTheNameAsAFile(Ledger):
    """A run's name is taken for a file's name."""

    caught_by = "test_names_may_be_any_text"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        (self.directory / f"{run.name}.name").write_text(run.id)


@flavor
class GivesTheFrontPage(Ledger):
    """Its URL is that of the server."""

    caught_by = "test_url_opens_the_run"

    @hookimpl
    def tracker_url(self, run):
        return "https://ledger.example.com/"


@flavor
class KnowsTheUrlLate(Ledger):
    """There is a URL when the run has ended, and not before."""

    caught_by = "test_url_is_there_right_after_the_start"

    @hookimpl
    def tracker_url(self, run):
        return super().tracker_url(run) if run.ended_at else None


@flavor
class ChangesTheUrl(Ledger):
    """The URL is another one at each call."""

    caught_by = "test_url_stays_the_same"

    @hookimpl
    def tracker_url(self, run):
        return f"{super().tracker_url(run)}?at={time.time_ns()}"


@flavor
class PutsTheTokenIntoTheUrl(Ledger):
    """The URL signs its reader in."""

    caught_by = "test_url_carries_no_credential"

    @hookimpl
    def tracker_url(self, run):
        return f"{super().tracker_url(run)}?token=abcdef"


@flavor
class AsksForTheUrl(Ledger):
    """The URL is asked from the server."""

    caught_by = "test_url_needs_no_network"

    @hookimpl
    def tracker_url(self, run):
        with socket.socket() as asking:
            asking.settimeout(0.1)
            asking.connect_ex(("127.0.0.1", 9))
            try:
                asking.connect(("127.0.0.1", 9))
            except OSError:
                pass
        return super().tracker_url(run)


@flavor
class MixesRuns(Ledger):
    """What is logged goes to the run that was started last."""

    caught_by = "test_two_runs_at_once_do_not_mix"

    latest: ClassVar[dict[str, Any]] = {}

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        self.latest["run"] = run

    @hookimpl
    def tracker_log(self, run, batch):
        super().tracker_log(self.latest["run"], batch)


@flavor
class EndsAllRuns(Ledger):
    """The end of a run ends the one that was started last."""

    caught_by = "test_end_of_a_run_ends_no_other"

    latest: ClassVar[dict[str, Any]] = {}

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        self.latest["run"] = run

    @hookimpl
    def tracker_end_run(self, run):
        self.end(self.latest["run"], "finished")


@flavor
class NestsNothing(Ledger):
    """A run with a parent is not written."""

    caught_by = "test_parent_and_step_are_both_whole"

    def end(self, run, status):
        if run.parent_id is None:
            super().end(run, status)


@flavor
class LeavesNativeCallsOut(Ledger):
    """What the SDK's own calls log goes to a run of their own."""

    caught_by = "test_native_calls_land_in_the_run"

    @contextmanager
    def active(self, run, capture):
        other = self.directory / "native.jsonl"
        os.environ["LEDGER_RUN"] = str(other)
        yield
        del os.environ["LEDGER_RUN"]


@flavor
class LeaksAVariable(Ledger):
    """A variable that the SDK reads is set for the run, and stays."""

    caught_by = "test_process_is_as_it_was_before"

    @contextmanager
    def active(self, run, capture):
        os.environ["LEDGER_LATEST_RUN"] = run.id
        yield


@flavor
class TouchesTheProcessOfOthers(Ledger):
    """An attached run sets a variable of the process that continues it."""

    caught_by = "test_attached_run_leaves_the_process_alone"

    @hookimpl
    def tracker_start_run(self, run):
        os.environ["LEDGER_ATTACHED"] = run.id
        super().tracker_start_run(run)


@flavor
class WritesWhereItStands(Ledger):
    """It keeps notes in the working directory."""

    caught_by = "test_working_directory_stays_clean"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        Path("ledger.log").write_text(run.id)


@flavor
class Prints(Ledger):
    """It greets on the step's standard output."""

    caught_by = "test_nothing_is_printed"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        print("view your run at", self.path(run))


@flavor
class CannotBeActivatedLate(Ledger):
    """Where the start has failed, native calls raise into the step."""

    caught_by = "test_activation_works_without_a_start"

    @contextmanager
    def active(self, run, capture):
        if self.path(run).exists():
            with super().active(run, capture):
                yield
        else:
            yield


@flavor
class MovesTheProcess(Ledger):
    """It changes into the folder of its files, and the step's relative paths lie elsewhere."""

    caught_by = "test_process_is_as_it_was_before"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        os.chdir(self.directory)


@flavor
class AsksForTheCommit(Ledger):
    """Every run is taken for one from a repository."""

    caught_by = "test_context_may_be_unknown"

    @hookimpl
    def tracker_log(self, run, batch):
        if batch.context is not None:
            self.write(run, ("tag", "commit", batch.context.git.commit[:8]))
        super().tracker_log(run, batch)


@flavor
class EndsOnceOfAKind(Ledger):
    """An end that was told is not told again: also where the run was resumed meanwhile."""

    caught_by = "test_resumed_run_is_running_and_ends_once_more"

    def end(self, run, status):
        told = run.folder / f"told-{status}"
        if not told.exists():
            super().end(run, status)
        told.touch()
