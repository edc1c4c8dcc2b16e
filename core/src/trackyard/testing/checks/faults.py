"""Does the step stay what it is, and the run true, when everything goes wrong?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any, Literal

import pytest

from trackyard.contract.records import Batch, Failure, Metric
from trackyard.hooks.dispatch import Outcome
from trackyard.project.configuration import in_project
from trackyard.system.waiting import result_within
from trackyard.testing.contract import check, expect
from trackyard.testing.faulty import Fault
from trackyard.testing.faulty_proxy import FaultyProxy
from trackyard.testing.faulty_relay import FaultyRelay
from trackyard.testing.faulty_rules import FAULTS
from trackyard.testing.requirements import can_be_read, implements, outlives_its_process
from trackyard.testing.servers import ANSWERS, broken_server, like, refusing_server, speaks_http
from trackyard.testing.workbench import Workbench
from trackyard.tracking.calls import ActiveRun

# Seconds of CPU that a start may take on a backend that is there, the SDK's import aside.
START_BUDGET = 5.0
# What a hook is told that it has, and what it may take beyond that, in seconds.
DEADLINE, GRACE = 2.0, 15.0

ServerConfig = Callable[[str], Mapping[str, Any]] | None
_SACRED = "A tracker that is broken never changes the step's result or its exception"
_TRUE = "The status is true also after kill -9, and what was logged is kept"


class FaultChecks:
    """Errors in hooks, broken servers, killed processes, threads and forks."""

    @check(f"{_SACRED}: the SDK raises.", can_be_read)
    @pytest.mark.parametrize(
        "hook", ["tracker_start_run", "tracker_log", "tracker_end_run", "tracker_fail_run"]
    )
    @pytest.mark.parametrize("kind", ["raise", "exit"])
    def test_error_in_a_hook_loses_nothing(
        self, workbench: Workbench, hook: str, kind: Literal["raise", "exit"]
    ) -> None:
        workbench.break_with(Fault(hook, kind))
        run_id = _track(workbench, fails=hook == "tracker_fail_run")
        found = workbench.difference(run_id)
        expect(not found, f"after {hook} has raised once, {found}")

    @check(f"{_SACRED}: the SDK raises in tracker_url.", implements("tracker_url"), can_be_read)
    def test_error_in_the_url_hook_harms_nothing(self, workbench: Workbench) -> None:
        workbench.break_with(Fault("tracker_url", "raise", times=1000))
        found = workbench.difference(_track(workbench))
        expect(not found, f"while tracker_url raises, {found}")

    @check(
        f"{_SACRED}: nothing raised at activation.",
        implements("tracker_activate_run"),
        can_be_read,
    )
    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_error_at_activation_harms_nothing(
        self, workbench: Workbench, moment: Literal["before", "after"]
    ) -> None:
        workbench.break_with(Fault("tracker_activate_run", "raise", moment))
        found = workbench.difference(_track(workbench))
        expect(not found, f"after an error at the activation, {found}")

    @check(f"{_SACRED}: it comes out of the step as it was raised.")
    def test_exception_of_the_step_is_its_own(self, workbench: Workbench) -> None:
        own = LookupError("the user's own")
        try:
            with workbench.track() as run:
                run.log_metric("loss", 1)
                raise own
        except LookupError as error:
            expect(error is own, f"the step's exception became {error!r}")
            expect(error.__cause__ is None, f"it was given a cause, {error.__cause__!r}")
        else:
            expect(False, "the step's exception was swallowed")

    @check("Connection and time-out errors are retried: a server that refuses.")
    def test_server_that_refuses_is_tried_later(
        self, workbench: Workbench, config_for_server: ServerConfig, server_url: str | None
    ) -> None:
        with refusing_server() as url:
            outcome, spent = _start(workbench, config_for_server, like(server_url, url))
        _expect_later(outcome, spent, "refuses connections")

    @check("Raises RetryLater: the backend cannot be reached now. Connection errors say the same.")
    @pytest.mark.parametrize("state", list(ANSWERS))
    def test_broken_server_is_tried_later(
        self,
        workbench: Workbench,
        config_for_server: ServerConfig,
        server_url: str | None,
        state: str,
    ) -> None:
        answer = ANSWERS[state]
        if answer is not None and server_url is not None and not speaks_http(server_url):
            pytest.skip("the server does not speak HTTP")
        with broken_server(answer) as url:
            outcome, spent = _start(workbench, config_for_server, like(server_url, url))
        _expect_later(outcome, spent, state)

    @check("A hook comes back in time, also where the server goes away after the start.")
    @pytest.mark.parametrize("hook", ["tracker_log", "tracker_end_run", "tracker_fail_run"])
    def test_server_that_goes_away_is_not_waited_for(
        self,
        workbench: Workbench,
        config_for_server: ServerConfig,
        server_url: str | None,
        hook: str,
    ) -> None:
        if server_url is None or config_for_server is None:
            pytest.skip("the suite has no fixtures server_url and config_for_server")
        outcome = _while_faulty(workbench, config_for_server, server_url, hook, "closed before")
        # What keeps runs on this machine has taken it.
        is_right = outcome.kind in ("later", "done")
        expect(is_right, f"without a server {hook} is {outcome.kind!r}: {outcome.reason}")

    @check("An answer's `Retry-After` is passed on: core waits as long as the server asks.")
    def test_retry_after_is_passed_on(
        self, workbench: Workbench, config_for_server: ServerConfig, server_url: str | None
    ) -> None:
        if server_url is None or config_for_server is None or not speaks_http(server_url):
            pytest.skip("the suite has no fixtures server_url, of HTTP, and config_for_server")
        outcome = _while_faulty(workbench, config_for_server, server_url, "tracker_log", "429")
        # What keeps runs on this machine has taken it, and tells no answer.
        is_right = outcome.kind == "done" or outcome.after is not None
        seen = f"tracker_log is {outcome.kind!r} and tells no time: {outcome.reason}"
        expect(is_right, f"where the server answers 429 with `Retry-After: 1`, {seen}")

    @check("TooLarge: a request that is larger than something lets through is halved (413).")
    def test_request_that_is_too_large_is_named_so(
        self, workbench: Workbench, config_for_server: ServerConfig, server_url: str | None
    ) -> None:
        if server_url is None or config_for_server is None or not speaks_http(server_url):
            pytest.skip("the suite has no fixtures server_url, of HTTP, and config_for_server")
        outcome = _while_faulty(workbench, config_for_server, server_url, "tracker_log", "413")
        seen = f"tracker_log is {outcome.kind!r}: {outcome.reason}"
        expect(outcome.kind in ("large", "done"), f"where the server answers 413, {seen}")

    @check(f"{_SACRED}: an unreachable tracker costs the step its time-outs at most.")
    def test_step_goes_on_without_a_server(
        self, workbench: Workbench, config_for_server: ServerConfig, server_url: str | None
    ) -> None:
        if config_for_server is None:
            pytest.skip("the suite has no fixture config_for_server")
        with refusing_server() as url:
            patience = {"start_timeout": 0.5, "flush_timeout": 0.5}
            workbench.configure(**config_for_server(like(server_url, url)), **patience)
            with workbench.track() as run:
                run.log_metric("loss", 1)
            names = [t.name for t in workbench.pending(run.id).description.trackers]
        expect(len(names) == 1, "the run has forgotten its tracker")

    @check("Both the start and the end have a budget: a healthy start is quick.")
    def test_start_fits_its_budget(self, workbench: Workbench) -> None:
        spent = []
        for _ in range(2):  # the first imports the SDK and makes what is made once
            run, hooks = workbench.new_run(), workbench.tracker_hooks()
            with in_project(workbench.project):
                begun = time.thread_time()
                expect(hooks.start_run(run).kind == "done", "the start fails")
                spent.append(time.thread_time() - begun)
                hooks.end_run(run)
        expect(spent[1] < START_BUDGET, f"a start takes {spent[1]:.1f} s of CPU")

    @check("Threads share a run: what they log at once arrives, each once.", can_be_read)
    def test_threads_log_into_one_run(self, workbench: Workbench) -> None:
        with workbench.track() as run:
            threads = [Thread(target=_log_in_thread, args=(run, number)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        found = workbench.difference(run.id)
        expect(not found, f"of what 8 threads logged, {found}")

    @check(
        "A forked child logs into the run, and its end without tidying up ends nothing.",
        can_be_read,
        outlives_its_process,
    )
    def test_forked_child_logs_into_the_run(self, workbench: Workbench) -> None:
        run_id = _scenario(workbench, "forks", code=0)
        found = workbench.difference(run_id)
        expect(not found, f"of what a process and its forked child logged, {found}")
        status = workbench.read(run_id).status
        expect(status == "finished", f"the status is {status!r} after a child has ended")

    @check(f"{_TRUE}: killed in the step.", can_be_read, outlives_its_process)
    def test_killed_run_is_crashed_and_whole(self, workbench: Workbench) -> None:
        _recovered(workbench, _scenario(workbench, "killed", code=-9), "crashed")

    @check(f"{_TRUE}: killed between send and acknowledge.", can_be_read, outlives_its_process)
    def test_killed_between_send_and_acknowledge(self, workbench: Workbench) -> None:
        workbench.break_with(Fault("tracker_log", "die", "after"))
        _recovered(workbench, _scenario(workbench, "log", code=-9))

    @check(f"{_TRUE}: killed after the start.", can_be_read, outlives_its_process)
    def test_killed_when_the_start_was_done(self, workbench: Workbench) -> None:
        workbench.break_with(Fault("tracker_start_run", "die", "after"))
        _recovered(workbench, _scenario(workbench, "log", code=-9), "crashed", shortened=True)

    @check("A terminal status is written once: killed in the end hook.", can_be_read)
    def test_killed_in_the_end_hook(self, workbench: Workbench) -> None:
        if not workbench.backend_outlives_process:
            pytest.skip("the backend ends with its process")
        workbench.break_with(Fault("tracker_end_run", "die", "after"))
        _recovered(workbench, _scenario(workbench, "log", code=-9), "finished")


def _track(workbench: Workbench, *, fails: bool = False) -> str:
    """Track a step that logs, and check that its result and exception are its own."""
    result = None
    try:
        with workbench.track() as run:
            run.log_param("rate", 0.1)
            for step in range(10):
                run.log_metric("loss", step / 3, step=step)
            result = "the step's result"
            if fails:
                raise LookupError("deliberate")
    except LookupError as error:
        expect(fails and str(error) == "deliberate", f"the step raised {error!r}")
    expect(result == "the step's result", "the step did not run to its end")
    return run.id


def _start(workbench: Workbench, config: ServerConfig, url: str) -> tuple[Outcome, float]:
    """Start a run against a broken server; give what came of it, and the seconds that it took."""
    if config is None:
        pytest.skip("the suite has no fixture config_for_server")
    workbench.log(lambda run: run.set_tag("a", 1))  # the SDK's import is not judged
    workbench.configure(**config(url))
    run, hooks = workbench.new_run(deadline=DEADLINE), workbench.tracker_hooks()
    begun = time.monotonic()
    with in_project(workbench.project):
        outcome = hooks.start_run(run)
    return outcome, time.monotonic() - begun


def _while_faulty(
    workbench: Workbench,
    config: Callable[[str], Mapping[str, Any]],
    server_url: str,
    hook: str,
    fault: str,
) -> Outcome:
    """Start a run on the author's server, then call a hook while every request has a fault."""
    run = workbench.new_run(deadline=DEADLINE)
    with (FaultyProxy if speaks_http(server_url) else FaultyRelay)(server_url) as proxy:
        workbench.configure_again(**{k: v for k, v in config(proxy.url).items() if k != "flavor"})
        hooks = workbench.tracker_hooks()
        with in_project(workbench.project):
            outcome = hooks.start_run(run)
            expect(outcome.kind == "done", f"the start fails: {outcome.reason}")
            proxy.fault(FAULTS[fault])
            batch = Batch.of((Metric("loss", 0.5, 1, 10**18),), 1, 1)
            calls: dict[str, Callable[[], Outcome]] = {
                "tracker_log": lambda: hooks.log(run, batch),
                "tracker_end_run": lambda: hooks.end_run(run),
                "tracker_fail_run": lambda: hooks.fail_run(run, Failure("failed", "Error")),
            }
            most = DEADLINE + GRACE
            try:
                outcome = result_within(most, calls[hook])
            except TimeoutError:
                expect(False, f"{hook} was given {DEADLINE:g} s, and goes on after {most:g} s")
    return outcome


def _expect_later(outcome: Outcome, spent: float, state: str) -> None:
    seen = (
        f"where the server {state}, the start is {outcome.kind!r}: {outcome.reason or 'no error'}"
    )
    expect(outcome.kind == "later", seen)
    most = DEADLINE + GRACE
    expect(spent < most, f"where the server {state}, the start takes {spent:.0f} s of {DEADLINE} s")


def _log_in_thread(run: ActiveRun, number: int) -> None:
    for step in range(50):
        run.log_metric(f"thread{number}", step, step=step)


def _scenario(workbench: Workbench, scenario: str, code: int) -> str:
    """Run a program that tracks one run, and give the run's id."""
    runs = workbench.project.home / "runs"
    before = set(runs.iterdir()) if runs.is_dir() else set()
    done = workbench.child(scenario)
    expect(done.returncode == code, f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    new = set(runs.iterdir()) - before
    expect(len(new) == 1, f"a program with one run has left {len(new)}")
    return new.pop().name


def _recovered(
    workbench: Workbench, run_id: str, status: str = "", *, shortened: bool = False
) -> None:
    """Recover a run whose process was killed, and look whether it is whole, each record once."""
    found = workbench.difference(run_id)
    expect(not found, f"after its recovery {found}")
    stored = workbench.read(run_id)
    wanted = (status,) if status else ("finished", "crashed")
    expect(stored.status in wanted, f"the recovered run's status is {stored.status!r}")
    expect(shortened or bool(stored.values("loss")), "the recovered run has no metrics")
