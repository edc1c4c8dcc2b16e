"""Does it change nothing when the same thing is delivered again, later or from elsewhere?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest

from trackyard.contract.records import Record
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.faulty import Fault
from trackyard.testing.irregular import log_irregularly
from trackyard.testing.requirements import can_be_read, declares, outlives_its_process
from trackyard.testing.stored import difference
from trackyard.testing.workbench import Workbench, append
from trackyard.tracking.calls import ActiveRun

_AGAIN = "Delivered at least once, and re-delivery changes nothing"


class DeliveryChecks:
    """The same records twice, late, out of order, in another process, from a journal."""

    @check(
        f"{_AGAIN}: idempotence natural, sending a batch twice changes nothing.",
        declares("idempotence", "natural"),
        can_be_read,
    )
    def test_batch_that_comes_twice_changes_nothing(self, workbench: Workbench) -> None:
        workbench.break_with(Fault("tracker_log", "twice", times=1000))
        found = workbench.difference(workbench.log(log_irregularly))
        expect(not found, f"when each batch came twice, {found}")

    @check(
        "Every hook may be called again after a lost answer: a second call changes nothing.",
        can_be_read,
    )
    @pytest.mark.parametrize("hook", ["tracker_start_run", "tracker_end_run", "tracker_fail_run"])
    def test_hook_that_is_called_twice_changes_nothing(
        self, workbench: Workbench, hook: str
    ) -> None:
        workbench.break_with(Fault(hook, "twice"))
        run_id = _log_and_end(workbench, fails=hook == "tracker_fail_run")
        found = workbench.difference(run_id)
        expect(not found, f"when {hook} was called twice, {found}")
        status = workbench.read(run_id).status
        wanted = "failed" if hook == "tracker_fail_run" else "finished"
        expect(status == wanted, f"the status is {status!r} after {hook} was called twice")

    @check(f"{_AGAIN}: an answer that was lost is asked for again.", can_be_read)
    @pytest.mark.parametrize(
        "hook", ["tracker_start_run", "tracker_log", "tracker_end_run", "tracker_fail_run"]
    )
    def test_lost_answer_duplicates_nothing(self, workbench: Workbench, hook: str) -> None:
        workbench.break_with(Fault(hook, "refuse", "after"))
        run_id = _log_and_end(workbench, fails=hook == "tracker_fail_run")
        found = workbench.difference(run_id)
        expect(not found, f"when the answer of {hook} was lost, {found}")

    @check("Late records keep their steps, and out of order is safe.", can_be_read)
    def test_records_of_another_time_are_safe(self, workbench: Workbench) -> None:
        now = time.time_ns()

        def log(run: ActiveRun) -> None:
            for step, minutes_ago in enumerate((0, 60, 30, 90, 10)):
                moment = now - minutes_ago * 60 * 10**9
                append(run, Entry("metrics", moment, step, {"loss": step / 2}))

        found = workbench.difference(workbench.log(log))
        expect(not found, f"of records whose times go back and forth, {found}")

    @check("A tracker that is not up in time starts late, and gets everything.", can_be_read)
    def test_late_start_loses_nothing(self, workbench: Workbench) -> None:
        workbench.break_with(Fault("tracker_start_run", "later"))
        found = workbench.difference(workbench.log(log_irregularly))
        expect(not found, f"after a start that had to be tried twice, {found}")

    @check("Delivered now or by `trackyard sync`.", can_be_read)
    def test_sync_delivers_what_is_left(self, workbench: Workbench) -> None:
        away = Fault("tracker_start_run", "refuse", times=2)
        workbench.break_with(away, start_timeout=0.05, flush_timeout=0.05)
        found = workbench.difference(workbench.log(log_irregularly))
        expect(not found, f"after a sync, {found}")

    @check("What a child logs after the run's end arrives, and the status stays.", can_be_read)
    @pytest.mark.parametrize("fails", [False, True])
    def test_late_records_of_a_child_arrive(self, workbench: Workbench, fails: bool) -> None:
        run_id = _log_and_end(workbench, fails=fails)
        workbench.finish(run_id)
        child = JournalWriter(workbench.pending(run_id).folder, "child")
        for step in range(3):
            child.append(Entry("metrics", time.time_ns(), step, {"late": step / 2}))
        child.close()
        found = workbench.difference(run_id)
        expect(not found, f"of what a child logged after the run's end, {found}")
        status, wanted = workbench.read(run_id).status, "failed" if fails else "finished"
        expect(status == wanted, f"the status is {status!r} after late records, not {wanted!r}")

    @check("The journal of a run can be replayed, with original timestamps and steps.", can_be_read)
    def test_replay_equals_live_logging(self, workbench: Workbench) -> None:
        live_id = workbench.log(log_irregularly)
        live, sent = workbench.read(live_id), _names(workbench.sent(live_id))
        run_id = workbench.journal(log_irregularly)
        report = workbench.replay(run_id)
        expect(report.is_complete, f"the replay stopped: {report.problem}")
        found = workbench.difference(run_id)
        expect(not found, f"after a replay, {found}")
        # Without what belongs to that run alone, such as notes of the SDK's own on the process.
        portable = [record for record in live.records if _names([record]) <= sent]
        timeless = attrs.evolve(workbench.capabilities, time_resolution=None)
        found = difference(_timeless(portable), workbench.read(run_id), timeless)
        expect(not found, f"of what live logging gave, after a replay {found}")

    @check("The status of a run is replayed with it.", can_be_read)
    def test_replay_keeps_the_status(self, workbench: Workbench) -> None:
        run_id = workbench.journal(log_irregularly)
        workbench.replay(run_id)
        status = workbench.read(run_id).status
        expect(status == "finished", f"the status is {status!r} after a replay")

    @check("Doing it twice changes nothing: replay.", can_be_read)
    def test_replay_twice_changes_nothing(self, workbench: Workbench) -> None:
        run_id = workbench.journal(log_irregularly)
        workbench.replay(run_id)
        first = workbench.read(run_id)
        workbench.replay(run_id)
        found = difference(first.records, workbench.read(run_id), workbench.capabilities)
        expect(not found, f"after a second replay, {found}")

    @check(
        "A lost note of what was delivered costs a repetition, nothing else.",
        can_be_read,
        declares("idempotence", "natural", "cursor"),
    )
    def test_delivery_from_the_first_record_again_changes_nothing(
        self, workbench: Workbench
    ) -> None:
        run_id = workbench.log(log_irregularly)
        for state in workbench.pending(run_id).folder.rglob("delivery.json"):
            state.unlink()  # as after a power failure
        found = workbench.difference(run_id)
        expect(not found, f"when all was delivered again, {found}")

    @check(
        "cursor: the flavor writes trackyard.cursor with each batch and returns it at its start.",
        declares("idempotence", "cursor"),
    )
    def test_start_returns_the_cursor(self, workbench: Workbench) -> None:
        run_id = workbench.log(log_irregularly)
        last, new = len(workbench.sent(run_id)), workbench.new_run()
        with in_project(workbench.project):
            held = workbench.tracker_hooks().start_run(workbench.run_of(run_id)).value
            held_of_new = workbench.tracker_hooks().start_run(new).value
        expect(isinstance(held, int), f"the start returns {held!r}, no cursor")
        expect(held == last, f"the cursor is {held} after a run of {last} records was delivered")
        expect(not held_of_new, f"the start of a new run returns {held_of_new}, another's cursor")

    @check(
        "Several processes write one run: a worker process delivers for the step's process.",
        declares("shared_runs", True),
        can_be_read,
        outlives_its_process,
    )
    def test_worker_process_delivers_a_run(
        self, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TRACKYARD_ISOLATION")
        workbench.configure(isolation="process")
        found = workbench.difference(workbench.log(log_irregularly))
        expect(not found, f"of what a worker process delivered, {found}")


def _log_and_end(workbench: Workbench, *, fails: bool) -> str:
    try:
        with workbench.track() as run:
            log_irregularly(run)
            if fails:
                raise ValueError("deliberate")
    except ValueError:
        pass  # it was raised above
    return run.id


def _names(records: Iterable[Record]) -> set[str]:
    return {getattr(record, "name", getattr(record, "key", "")) for record in records}


def _timeless(records: Iterable[Record]) -> list[Record]:
    """Leave out what belongs to a single run: its identity and the source of a replay."""
    return [
        record
        for record in records
        if not str(getattr(record, "key", "")).startswith("trackyard.")
        and Path(str(getattr(record, "name", ""))).parts[:1] != ("trackyard",)
    ]
