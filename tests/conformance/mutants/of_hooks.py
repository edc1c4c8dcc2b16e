"""Flavors whose hooks for commands, or for the SDK's own calls, are wrong, each one."""

from __future__ import annotations

import json
import math
import shutil
import time
from contextlib import contextmanager
from typing import Any, ClassVar

from mutants.ledger import Ledger
from trackyard.contract import Capabilities, Metric, RetryLater, flavor, hookimpl


@flavor
class DeletesEverything(Ledger):
    """A deletion takes the whole folder."""

    caught_by = "test_deleted_run_is_gone_and_no_other_is"

    @hookimpl
    def tracker_delete_run(self, run):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.greet(run)


@flavor
class DeletesNothing(Ledger):
    """A deletion is noted, and done by nobody."""

    caught_by = "test_deleted_run_is_gone_and_no_other_is"

    @hookimpl
    def tracker_delete_run(self, run):
        self.greet(run)
        if self.path(run).exists():
            self.write(run, ("tag", "deleted", "yes"))


@flavor
class DeletesByName(Ledger):
    """Runs whose names begin alike are deleted with it."""

    caught_by = "test_deleted_run_is_gone_and_no_other_is"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        (self.directory / f"{run.name}.{run.id}").touch()

    @hookimpl
    def tracker_delete_run(self, run):
        self.greet(run)
        for named in self.directory.glob(f"{run.name}*"):
            id_ = named.name.rpartition(".")[2]
            (self.directory / f"{id_}.jsonl").unlink(missing_ok=True)


@flavor
class DeletesOnce(Ledger):
    """A run that is gone cannot be deleted."""

    caught_by = "test_deleted_run_is_gone_and_no_other_is"

    @hookimpl
    def tracker_delete_run(self, run):
        self.path(run).unlink(missing_ok=not (self.directory / "made").exists())
        (self.directory / "made").touch()


@flavor
class NeedsARunToDelete(Ledger):
    """A run that was never there cannot be deleted."""

    caught_by = "test_run_that_was_never_there_is_deleted"

    @hookimpl
    def tracker_delete_run(self, run):
        super().tracker_delete_run(run)
        (self.directory / run.id).rmdir()


@flavor
class ForgetsRunsThatItCannotReach(Ledger):
    """Where the server is away, a deletion is taken for done."""

    caught_by = "test_delete_waits_for_a_server_that_is_away"

    @hookimpl
    def tracker_delete_run(self, run):
        try:
            super().tracker_delete_run(run)
        except RetryLater:
            return


@flavor
class IsAlwaysWell(Ledger):
    """Its check looks at nothing."""

    caught_by = "test_check_names_the_problem"

    @hookimpl
    def tracker_check(self):
        return []


@flavor
class TakesARefusalForAnAnswer(Ledger):
    """A server that answers is well, whatever it answers."""

    caught_by = "test_check_names_the_problem"

    @hookimpl
    def tracker_check(self):
        return [problem for problem in super().tracker_check() if "401" not in problem]


@flavor
class ShowsItsTokenInProblems(Ledger):
    """A problem quotes the token."""

    caught_by = "test_check_names_the_problem"

    @hookimpl
    def tracker_check(self):
        token = self.token.reveal() if self.token else ""
        return [f"{problem} (token {token})" for problem in super().tracker_check()]


@flavor
class TellsATraceback(Ledger):
    """A problem is a text of many lines."""

    caught_by = "test_check_names_the_problem"

    @hookimpl
    def tracker_check(self):
        return [f"cannot connect\n  File x\n{problem}" for problem in super().tracker_check()]


@flavor
class ComplainsAlways(Ledger):
    """What it would like to have is named as a problem."""

    caught_by = "test_check_finds_no_problem_where_there_is_none"

    @hookimpl
    def tracker_check(self):
        return [*super().tracker_check(), "no token is configured"]


@flavor
class ServesAtItsOwnPort(Ledger):
    """The page is served at one port, whatever is asked for."""

    caught_by = "test_page_is_served_where_it_is_asked_for"

    @hookimpl
    def tracker_ui_command(self, host):
        return super().tracker_ui_command(host, None)


@flavor
class ServesEverybody(Ledger):
    """The page is served at every address of the machine."""

    caught_by = "test_page_is_served_where_it_is_asked_for"

    @hookimpl
    def tracker_ui_command(self, port):
        return super().tracker_ui_command("0.0.0.0", port)


@flavor
class GivesALineForAShell(Ledger):
    """The command is one text."""

    caught_by = "test_page_is_served_where_it_is_asked_for"

    @hookimpl
    def tracker_ui_command(self, host, port):
        return " ".join(super().tracker_ui_command(host, port))


@flavor
class EndsWhatItSends(Ledger):
    """A run that is sent while it lives is ended by that, as its file says for good."""

    caught_by = "test_sync_of_a_live_run_ends_nothing"

    capabilities: ClassVar[Capabilities] = Capabilities(forwards_native=True, shared_runs=True)

    @hookimpl
    def tracker_sync_run(self, run):
        self.path(run).with_suffix(".final").touch()

    def write(self, run, *lines):
        if not self.path(run).with_suffix(".final").exists():
            super().write(run, *lines)


@flavor
class SendsItAgain(Ledger):
    """What is there already is sent once more."""

    caught_by = "test_sync_of_a_whole_run_changes_nothing"

    @hookimpl
    def tracker_sync_run(self, run):
        found = [record for record in self.tracker_read_run(run) if isinstance(record, Metric)]
        now = time.time_ns()
        self.write(run, *(("metric", m.key, m.value, m.step, now) for m in found))


@flavor
class SyncsOnce(Ledger):
    """A second upload is an error."""

    caught_by = "test_sync_of_a_whole_run_changes_nothing"

    @hookimpl
    def tracker_sync_run(self, run):
        self.path(run).with_suffix(".synced").touch(exist_ok=False)


@flavor
class SyncsAsRunning(Ledger):
    """An upload marks the run as one that is open."""

    caught_by = "test_sync_of_a_whole_run_changes_nothing"

    @hookimpl
    def tracker_sync_run(self, run):
        self.end(run, "running")


@flavor
class ReadsTheLastRun(Ledger):
    """Where it has no run of an id, it reads the last one of that name."""

    caught_by = "test_run_of_a_foreign_id_is_not_read"

    @hookimpl
    def tracker_read_run(self, run):
        path = self.path(run)
        last = max(self.directory.glob("*.jsonl"), key=lambda p: p.stat().st_mtime, default=path)
        if not path.exists():
            shutil.copy(last, path)
        yield from super().tracker_read_run(run)


@flavor
class CannotEndLate(Ledger):
    """An end in the past is an error."""

    caught_by = "test_end_may_be_long_ago"

    @hookimpl
    def tracker_end_run(self, run):
        if run.ended_at is not None and run.ended_at < time.time_ns() - 10**12:
            raise ValueError("the end lies in the past")
        super().tracker_end_run(run)


@flavor
class DropsWhatComesBehindTheEnd(Ledger):
    """A run has ended when it says so: points of a later time are taken for a mistake."""

    caught_by = "test_end_may_be_long_ago"

    @hookimpl
    def tracker_end_run(self, run):
        lines = [json.loads(line) for line in self.path(run).read_text().split("\n") if line]
        late = run.ended_at or math.inf
        kept = [line for line in lines if line[0] != "metric" or line[-1] <= late]
        self.path(run).unlink()
        self.write(run, *kept)
        super().tracker_end_run(run)


@flavor
class DropsRecordsOfARunThatEnded(Ledger):
    """What comes after the end is not sent."""

    caught_by = "test_end_may_be_long_ago"

    @hookimpl
    def tracker_log(self, run, batch):
        if run.ended_at is None:
            super().tracker_log(run, batch)


def _changed(capture: Any, change: Any) -> Any:
    """Give a capture that is told something else."""
    return None if capture is None else lambda records, *more: change(capture, records, *more)


@flavor
class CapturesTwice(Ledger):
    """Two wraps around the SDK capture each call."""

    caught_by = "test_native_calls_are_captured_once"

    def active(self, run, capture):
        def twice(own, records, *more):
            own(records, *more)
            own(records, *more)

        return super().active(run, _changed(capture, twice))


@flavor
class CapturesTheFirstCall(Ledger):
    """Every call has the same position."""

    caught_by = "test_native_calls_are_captured_once"

    def active(self, run, capture):
        return super().active(run, _changed(capture, lambda own, records: own(records, "call")))


@flavor
class CapturesNothing(Ledger):
    """It takes the capture, and does not call it."""

    caught_by = "test_native_calls_are_captured_once"

    def active(self, run, capture):
        return super().active(run, None)


@flavor
class LandsByCaptureAlone(Ledger):
    """Without a capture the SDK's own calls go nowhere."""

    caught_by = "test_native_calls_land_without_capture"

    @contextmanager
    def active(self, run, capture):
        with super().active(run, capture):
            yield
        if capture is None:
            text = self.path(run).read_text(encoding="utf-8")
            kept = [line for line in text.splitlines(keepends=True) if '"native"' not in line]
            self.path(run).write_text("".join(kept), encoding="utf-8")


class _ReadsFiles(Ledger):
    """Reads what the SDK's own calls wrote from their file."""

    def active(self, run, capture):
        return super().active(run, None)

    @hookimpl
    def tracker_read_native(self, run, position):
        first, found = int(position or 0), list(self.tracker_read_run(run))
        native = [record for record in found if getattr(record, "key", "") == "native"]
        return native[first:], str(len(native))


@flavor
class ForgetsWhereItWas(_ReadsFiles):
    """Each reading begins anew."""

    caught_by = "test_native_files_are_read_from_a_position"

    @hookimpl
    def tracker_read_native(self, run, position):
        return super().tracker_read_native(run, "")


@flavor
class ReadsOnce(_ReadsFiles):
    """What was read is not read again, whatever the position."""

    caught_by = "test_native_files_are_read_from_a_position"

    @hookimpl
    def tracker_read_native(self, run, position):
        mark = self.path(run).with_suffix(".read")
        is_read = mark.exists()
        mark.touch()
        records, position = super().tracker_read_native(run, position)
        return [] if is_read else records, position
