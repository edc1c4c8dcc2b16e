"""Are the hooks right that commands call, outside of a run's life?"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from trackyard.contract.flavors import is_offline
from trackyard.contract.records import Artifact, Batch, Metric
from trackyard.hooks.dispatch import Outcome
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.requirements import (
    can_be_read,
    captures,
    declares,
    implements,
    outlives_its_process,
)
from trackyard.testing.secrets import secrets_of, secrets_set
from trackyard.testing.servers import REFUSAL, broken_server, like, refusing_server, speaks_http
from trackyard.testing.stored import difference
from trackyard.testing.workbench import Workbench
from trackyard.tracking.calls import ActiveRun

ServerConfig = Callable[[str], Mapping[str, Any]] | None
LogNatively = Callable[[str, float], object] | None


class HookChecks:
    """Delete, check, page, sync, reading what is not there, and what the SDK's own calls log."""

    @check(
        "tracker_delete_run: delete the run, and what it logged, and nothing of others.",
        implements("tracker_delete_run"),
        can_be_read,
    )
    def test_deleted_run_is_gone_and_no_other_is(self, workbench: Workbench) -> None:
        deleted, other = (workbench.log(_log, name=name) for name in ("run", "run-2"))
        before = (workbench.difference(deleted), workbench.difference(other))
        expect(before == ("", ""), f"before anything is deleted: {before}")
        for time in ("first", "second"):
            _done(_delete(workbench, deleted), f"the {time} deletion of a run")
            left = workbench.difference(other)
            expect(not left, f"when another run is deleted for the {time} time, {left}")
        if _is_kept_offline(workbench, deleted):
            return  # the SDK's own files are in the run's folder, which core deletes
        with in_project(workbench.project):
            outcome = workbench.tracker_hooks().read_run(workbench.run_of(deleted))
        points = [record for record in outcome.value or () if isinstance(record, Metric)]
        expect(not points, f"a deleted run still has {len(points)} points")

    @check("A run that is not there is no error: tracker_delete_run.",
           implements("tracker_delete_run"))  # fmt: skip
    def test_run_that_was_never_there_is_deleted(self, workbench: Workbench) -> None:
        with in_project(workbench.project):
            outcome = workbench.tracker_hooks().delete_run(workbench.new_run(attached=True))
        _done(outcome, "the deletion of a run that was never started")

    @check(
        "tracker_delete_run raises RetryLater: the backend cannot be reached now.",
        implements("tracker_delete_run"),
    )
    def test_delete_waits_for_a_server_that_is_away(
        self, workbench: Workbench, config_for_server: ServerConfig, server_url: str | None
    ) -> None:
        if config_for_server is None:
            pytest.skip("the suite has no fixture config_for_server")
        run_id = workbench.log(_log)
        if _is_kept_offline(workbench, run_id):
            pytest.skip("its runs are on no server")
        with refusing_server() as url:
            workbench.configure(**config_for_server(like(server_url, url)))
            outcome = _delete(workbench, run_id)
        seen = f"{outcome.kind!r}: {outcome.reason or 'no error'}"
        expect(outcome.kind == "later", f"where the server is away, a deletion is {seen}")

    @check(
        "What was logged is the backend's own: files are there when gc has deleted what the run "
        "kept here.",
        can_be_read,
        outlives_its_process,
    )
    def test_artifacts_are_the_backends_own(self, workbench: Workbench) -> None:
        if workbench.capabilities.idempotence == "rebuild":
            pytest.skip("asking whether its runs are kept here would begin them anew")
        run_id = workbench.log(_log)
        workbench.finish(run_id)
        if _is_kept_offline(workbench, run_id):
            pytest.skip("its runs are in the run's folder, which gc leaves where it is")
        kept = [record for record in workbench.sent(run_id) if isinstance(record, Artifact)]
        wanted = {artifact.name: artifact.path.read_bytes() for artifact in kept}
        for artifact in kept:
            artifact.path.resolve().unlink()
        stored = workbench.read_now(workbench.run_of(run_id))
        there = {a.name: a.path for a in stored.records if isinstance(a, Artifact)}
        found = {k: Path(path).read_bytes() for k, path in there.items() if Path(path).is_file()}
        lost = sorted(name for name in wanted if found.get(name) != wanted[name])
        expect(not lost, f"when core's own copies are deleted, the backend lacks {', '.join(lost)}")

    @check("tracker_check: a tracker that works has no problems.", implements("tracker_check"))
    def test_check_finds_no_problem_where_there_is_none(self, workbench: Workbench) -> None:
        found = _problems(workbench)
        expect(not found, f"of a tracker that works it says: {'; '.join(found)}")

    @check(
        "tracker_check names the problems that keep this tracker from working, each in one line.",
        implements("tracker_check"),
    )
    @pytest.mark.parametrize("state", ["is away", "refuses the secret (401)"])
    def test_check_names_the_problem(
        self,
        workbench: Workbench,
        config_for_server: ServerConfig,
        server_url: str | None,
        state: str,
    ) -> None:
        if config_for_server is None:
            pytest.skip("the suite has no fixture config_for_server")
        is_away = state == "is away"
        if not is_away and server_url is not None and not speaks_http(server_url):
            pytest.skip("the server does not speak HTTP")
        with refusing_server() if is_away else broken_server(REFUSAL) as url:
            table = config_for_server(like(server_url, url))
            workbench.configure(**table)
            with secrets_set(workbench, table) as values:
                found = _problems(workbench)
                secrets = {**secrets_of(workbench.instance()), **values}
        expect(bool(found), f"of a server that {state} it names no problem")
        long = [problem for problem in found if "\n" in problem.strip()]
        expect(not long, f"a problem has several lines: {long}")
        leaked = [name for name, value in secrets.items() if value in " ".join(found)]
        expect(not leaked, f"a problem shows the secret {', '.join(leaked)}")

    @check(
        "tracker_ui_command: the command that serves the tracker's own local page, as its words.",
        implements("tracker_ui_command"),
    )
    def test_page_is_served_where_it_is_asked_for(self, workbench: Workbench) -> None:
        with in_project(workbench.project):
            outcome = workbench.tracker_hooks().ui_command("127.0.0.2", 54321)
        _done(outcome, "tracker_ui_command")
        command = outcome.value
        if command is None:
            return
        is_list = isinstance(command, list) and all(isinstance(word, str) for word in command)
        expect(is_list and bool(command), f"the command is {command!r}, no list of texts")
        expect(shutil.which(command[0]) is not None, f"{command[0]!r} is no program")
        for word, what in (("127.0.0.2", "address"), ("54321", "port")):
            expect(any(word in part for part in command), f"the {what} is not in {command}")

    @check(
        "tracker_sync_run: called again, or where there is nothing to upload, it changes nothing.",
        implements("tracker_sync_run"),
        declares("forwards_native", False),
        can_be_read,
    )
    def test_sync_of_a_whole_run_changes_nothing(self, workbench: Workbench) -> None:
        run_id = workbench.log(_log)
        workbench.finish(run_id)
        for _ in range(2):
            with in_project(workbench.project):
                hooks, run = workbench.tracker_hooks(), workbench.run_of(run_id)
                _done(hooks.upload_run(run), "tracker_sync_run of a run that ended")
        found, status = workbench.difference(run_id), workbench.read(run_id).status
        expect(not found, f"after tracker_sync_run, {found}")
        expect(status == "finished", f"the status is {status!r} after tracker_sync_run")

    @check(
        "It is called on a live run, where forwards_native says so: nothing of it may be final.",
        implements("tracker_sync_run"),
        declares("forwards_native", True),
        can_be_read,
    )
    def test_sync_of_a_live_run_ends_nothing(self, workbench: Workbench) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        points = [Metric("loss", step / 3, step, 10**18 + step * 10**9) for step in range(3)]
        with in_project(workbench.project):
            _done(hooks.start_run(run), "the start")
            for number, point in enumerate(points, 1):
                _done(hooks.log(run, Batch.of((point,), number, number)), "tracker_log")
                _done(hooks.sync_run(run), "tracker_sync_run of a live run")
            _done(hooks.end_run(run), "the end")
        stored = workbench.read_now(run)
        found = difference(points, stored, workbench.capabilities)
        expect(not found, f"after tracker_sync_run of a live run, {found}")
        expect(stored.status == "finished", f"the status is {stored.status!r} after it")

    @check(
        "tracker_read_run reads the run with this id: no other one, and it makes none.",
        can_be_read,
    )
    def test_run_of_a_foreign_id_is_not_read(self, workbench: Workbench) -> None:
        run_id = workbench.log(_log)
        workbench.finish(run_id)
        if "tracker_read_run" not in workbench.hooks:
            pytest.skip("the flavor has no tracker_read_run")
        foreign = workbench.new_run(name="check", attached=True)
        with in_project(workbench.project):
            for time in ("first", "second"):
                outcome = workbench.tracker_hooks().read_run(foreign)
                found = [r for r in outcome.value or () if isinstance(r, Metric)]
                expect(not found, f"of a run that is not there, the {time} read gives {found[:1]}")
        left = workbench.difference(run_id)
        expect(not left, f"when a run was read that is not there, of another one {left}")

    @check(
        "A run ended when its step did: ended_at may be long ago, and what was logged behind it "
        "is kept.",
        can_be_read,
    )
    def test_end_may_be_long_ago(self, workbench: Workbench) -> None:
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        ended = attrs.evolve(run, ended_at=run.started_at + 1)
        limits = workbench.capabilities
        goes_on = limits.acknowledges == "batch" and limits.idempotence != "rebuild"
        points = [Metric("loss", n / 3, n, 10**18 + (n + 1) * 10**9) for n in range(1 + goes_on)]
        with in_project(workbench.project):
            _done(hooks.start_run(run), "the start")
            _done(hooks.log(run, Batch.of((points[0],), 1, 1)), "tracker_log")
            _done(hooks.end_run(ended), "a late end")
            if goes_on:  # as a child's records come that has outlived the run
                hooks, ended = workbench.tracker_hooks(), attrs.evolve(ended, attached=True)
                _done(hooks.start_run(ended), "a start after the end")
                _done(hooks.log(ended, Batch.of((points[1],), 2, 2)), "tracker_log after the end")
                _done(hooks.end_run(ended), "a second end")
        stored = workbench.read_now(run)
        status = stored.status
        expect(status == "finished", f"the status is {status!r} after an end that was late")
        values = stored.values("loss")
        wanted = [point.value for point in points]
        same = difference(points, stored, limits)
        expect(not same, f"of {wanted}, logged behind ended_at, the backend has {values}: {same}")

    @check("What the SDK's own calls log becomes records of the run, once.", captures)
    def test_native_calls_are_captured_once(
        self, workbench: Workbench, log_natively: LogNatively
    ) -> None:
        if log_natively is None:
            pytest.skip("the suite has no fixture log_natively")
        with workbench.track() as run:
            run.log_metric("portable", 1, step=0)
            for value in (2, 3):
                log_natively("native", value)
        sent = [r for r in workbench.sent(run.id) if isinstance(r, Metric)]
        for key, wanted in (("native", [2.0, 3.0]), ("portable", [1.0])):
            found = [record.value for record in sent if record.key == key]
            expect(found == wanted, f"of {key} {wanted} the journal has {found}")
        if workbench.can_read:
            values = sorted(workbench.read(run.id).values("native"))
            expect(values == [2.0, 3.0], f"of native calls the backend has {values}")

    @check("Where capture is off, the SDK's own calls land in the run all the same.", captures)
    def test_native_calls_land_without_capture(
        self, workbench: Workbench, log_natively: LogNatively
    ) -> None:
        if log_natively is None or not workbench.can_read:
            pytest.skip("the suite has no fixture log_natively, or runs cannot be read back")
        workbench.configure(capture=False)
        with workbench.track() as run:
            log_natively("native", 2)
        keys = [getattr(record, "key", "") for record in workbench.sent(run.id)]
        expect("native" not in keys, "a native call is captured where capture is off")
        values = workbench.read(run.id).values("native")
        expect(values == [2.0], f"of a native call the backend has {values}")

    @check(
        "tracker_read_native gives what is behind a position, and the same once more.",
        implements("tracker_read_native"),
    )
    def test_native_files_are_read_from_a_position(
        self, workbench: Workbench, log_natively: LogNatively
    ) -> None:
        if log_natively is None:
            pytest.skip("the suite has no fixture log_natively")
        with workbench.track() as run:
            log_natively("native", 2)
        hooks, known = workbench.tracker_hooks(), workbench.run_of(run.id)
        with in_project(workbench.project):
            first, again = (hooks.read_native(known, "").value for _ in range(2))
            if first is None:
                pytest.skip("the SDK has no files of this run")
            rest = hooks.read_native(known, first[1]).value
        keys = [getattr(record, "key", "") for record in first[0]]
        expect("native" in keys, f"of a native call, the records from the start are {keys}")
        expect(first == again, "a second reading from the start gives something else")
        found = list(rest[0]) if rest else []
        expect(not found, f"behind the position of all records there are {found[:3]}")


def _log(run: ActiveRun) -> None:
    run.log_params({"rate": 0.1})
    for step in range(5):
        run.log_metric("loss", step / 3, step=step)
    run.log_text("the report", "notes/report.txt")


def _problems(workbench: Workbench) -> list[str]:
    with in_project(workbench.project):
        return workbench.tracker_hooks().check()


def _delete(workbench: Workbench, run_id: str) -> Outcome:
    with in_project(workbench.project):
        return workbench.tracker_hooks().delete_run(workbench.run_of(run_id))


def _is_kept_offline(workbench: Workbench, run_id: str) -> bool:
    """Tell whether the SDK keeps the run on this machine for now."""
    with in_project(workbench.project):
        hooks = workbench.tracker_hooks()
        hooks.start_run(workbench.run_of(run_id))
    return is_offline(hooks.tracker)


def _done(outcome: Outcome, what: str) -> None:
    expect(outcome.kind == "done", f"{what} gives {outcome.kind!r}: {outcome.reason}")
