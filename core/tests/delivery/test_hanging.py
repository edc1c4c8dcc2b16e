"""Does a hook that hangs cost its own tracker alone, in steps, in sync and in recovery?"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import time

import pytest
from hanging import Hanging, HangingAround, HangingUpload
from matrices import cut, first_by_default
from recorder import Recorder

from trackyard import Client, log_metric, pipeline, start_run, step
from trackyard.delivery import breaker
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import find_pending_runs, sync_all, sync_run
from trackyard.recovery.replay import replay_run
from trackyard.runs.folders import find_runs
from trackyard.runs.health import health_lines, health_of

SHORT = {"start_timeout": 0.3, "flush_timeout": 0.3, "hook_timeout": 0.2}


@pytest.fixture(autouse=True)
def _processes_find_the_modules(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(breaker, "_breakers", {})
    monkeypatch.setattr(breaker, "_rests", {})


@pytest.fixture
def stuck(project):
    """Let what hangs go on when the test is over."""
    yield project
    for folder in (project.root / "calls").glob("*"):
        (folder / "go on").touch()


def hangs(project, tracker="local"):
    path = project.root / "calls" / tracker / "hung"
    return path.stat().st_size if path.exists() else 0


def wait_until(fact, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_thread_that_hangs_is_left_alone_and_another_one_serves_the_next_step(stuck, caplog):
    stuck.add_tracker("local", Hanging, isolation="thread", only_stuck=True, **SHORT)

    @step(experiment_tracker="local")
    def stuck_step():
        log_metric("loss", 1)
        wait_until(lambda: hangs(stuck))
        time.sleep(0.6)  # until the hook is overdue

    @step(experiment_tracker="local")
    def sound_step(before):
        log_metric("loss", 2)

    @pipeline
    def line():
        sound_step(stuck_step())

    run = line()

    assert run.status == "finished"
    assert stuck.logged("metrics") == [["loss", 2.0, None]]
    assert [call["name"] for call in stuck.calls("end")] == ["sound_step"]
    assert "tracker_log hangs; its thread is left alone" in caplog.text
    reports = {report.tracker: report for report in _reports()}
    assert reports["local"].abandoned == 1
    (stuck.root / "calls" / "local" / "go on").touch()
    wait_until(lambda: not _locked())
    assert stuck.logged("metrics") == [["loss", 2.0, None], ["loss", 1.0, None]]


def _reports():
    from trackyard.delivery.reports import report_of
    from trackyard.delivery.state import load_state

    for pending in find_pending_runs(find_project()):
        folder = pending.folder / "local"
        yield report_of("local", load_state(folder), folder)


def test_hook_that_hangs_in_a_process_is_counted_for_its_run_alone(stuck):
    stuck.add_tracker("local", Hanging, isolation="process", only_stuck=True, **SHORT)
    with start_run("sound") as sound, start_run("stuck") as run:
        sound.log_metric("loss", 1)
        wait_until(lambda: stuck.logged("metrics"))
        run.log_metric("loss", 2)
        wait_until(lambda: hangs(stuck) == 2)  # its process was killed, and started again
    (stuck_health,), (sound_health,) = _health("stuck"), _health("sound")

    assert stuck_health.hung >= 1
    assert sound_health.hung == 0
    assert f", {stuck_health.hung} hung" in health_lines([stuck_health])[0]


def _health(name):
    (found,) = find_runs(find_project(), name)
    return health_of(found.folder, found.description)


def _locked():
    from trackyard.journal.reader import is_attended

    return any(is_attended(pending.folder) for pending in find_pending_runs(find_project()))


@pytest.mark.parametrize(("hook", "isolation"), cut(["enter", "leave"], ["thread", "process"]))
def test_activation_that_hangs_costs_a_pipeline_its_time_once(project, caplog, hook, isolation):
    project.add_tracker("local", HangingAround, hook=hook, isolation=isolation, hook_timeout=1)

    @step(experiment_tracker="local")
    def number(before: int) -> int:
        log_metric("loss", before)
        return before + 1

    @pipeline
    def line():
        before = 0
        for _ in range(4):
            before = number(before)

    begun = time.monotonic()
    run = line()

    assert run.status == "finished"
    assert time.monotonic() - begun < 60
    assert len(project.calls(hook)) == 1
    (said,) = [text for text in caplog.messages if "tracker_activate_run hung for 1" in text]
    assert re.search(
        r"native calls do not land in its runs for the next 2\d s", said
    )  # 20, or late
    assert [value for _, value, _ in project.logged("metrics")] == [0, 1, 2, 3]


def test_activation_that_hung_is_tried_again_later(project):
    project.add_tracker("local", HangingAround, isolation="thread", hook_timeout=0.02)

    def tries():
        with start_run("tried", experiment_tracker="local"):
            return len(project.calls("enter"))

    assert (tries(), tries()) == (1, 1)
    wait_until(lambda: tries() == 2)


@pytest.mark.parametrize(("hook", "isolation"), cut(["start", "log"], ["thread", "process"]))
def test_trackers_that_hang_are_waited_for_side_by_side(stuck, hook, isolation):
    budgets = {"start_timeout": 2, "flush_timeout": 2, "hook_timeout": 30}
    names = "abcdefgh"
    for name in names:
        stuck.add_tracker(name, Hanging, isolation=isolation, hook=hook, **budgets)

    begun = time.monotonic()
    with start_run("many", experiment_tracker=list(names)) as run:
        run.log_metric("loss", 1)
        wait_until(lambda: all(hangs(stuck, name) for name in names))
    seconds = time.monotonic() - begun

    assert seconds < 15, "one after the other these are 16 seconds or more"


@pytest.mark.slow
def test_tracker_that_hangs_again_and_again_gets_no_more_threads(stuck):
    stuck.add_tracker("local", Hanging, isolation="thread", hook="start", **SHORT)
    others = set(threading.enumerate())  # of tests before this one, which may end meanwhile

    @step(experiment_tracker="local")
    def wait(before):
        time.sleep(0.5)

    @pipeline
    def line():
        before = 0
        for _ in range(6):
            before = wait(before)

    begun = time.monotonic()
    line()

    assert time.monotonic() - begun < 60
    assert hangs(stuck) == 3
    assert len(set(threading.enumerate()) - others) == 3
    wait_for_nothing = time.monotonic()
    with start_run("later", experiment_tracker="local"):
        pass
    assert time.monotonic() - wait_for_nothing < 0.3
    assert hangs(stuck) == 3


def test_the_run_of_a_thread_that_hangs_is_left_to_it(stuck):
    """Two deliveries of one run at a time would disturb each other."""
    stuck.add_tracker("local", Hanging, isolation="thread", **SHORT)
    with start_run("stuck") as run:
        run.log_metric("loss", 1)
        wait_until(lambda: hangs(stuck))
    (pending,) = find_pending_runs(find_project())
    (report,) = sync_run(pending, find_project(), patience=0)

    assert report.problem == "another process is delivering it"
    assert hangs(stuck) == 1


def left_over(project, *trackers):
    """Leave a run that its own process has not delivered."""
    program = f"""
import os, signal
from trackyard import start_run
with start_run("left over", experiment_tracker={list(trackers)!r}) as run:
    run.log_metric("loss", 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    project.python(program)


@pytest.mark.parametrize(
    ("hook", "isolation"),
    first_by_default(itertools.product(["log", "start", "fail"], ["process", "thread"])),
)
def test_sync_gives_a_hook_that_hangs_up_and_serves_the_other_trackers(stuck, hook, isolation):
    stuck.add_tracker("stuck", Hanging, hook=hook, isolation=isolation, **SHORT)
    stuck.add_tracker("sound", Recorder, isolation=isolation)
    (stuck.root / "calls" / "stuck").mkdir(parents=True)
    if hook != "log":  # the process that dies may be slow enough to have delivered it
        (stuck.root / "calls" / "stuck" / "go on").touch()
    left_over(stuck, "stuck", "sound")
    for calls in (stuck.root / "calls").glob("*/calls.jsonl"):
        calls.unlink()
    (stuck.root / "calls" / "stuck" / "go on").unlink(missing_ok=True)
    begun = time.monotonic()
    done = stuck.trackyard("sync", "--json", "--patience", "0.5")
    rows = {row["tracker"]: row for row in json.loads(done.stdout)}

    assert time.monotonic() - begun < 25
    assert done.returncode == 1
    assert rows["sound"]["state"] == "complete"
    assert stuck.hooks("sound")[-1] == "fail"
    assert rows["stuck"]["state"] == "incomplete"
    assert "h" in rows["stuck"]["problem"]  # hangs, or: its worker process hung and was killed
    assert stuck.calls(tracker="stuck") == [] or stuck.hooks("stuck")[-1] != hook


@pytest.mark.slow
def test_the_watchdog_serves_the_other_trackers_while_one_hangs(stuck):
    stuck.add_tracker("stuck", Hanging, hook="start", hook_timeout=30)
    stuck.add_tracker("sound", Recorder, isolation="thread")
    stuck.python(
        """
import os, signal
from trackyard import start_run
with start_run("victim", experiment_tracker=["sound"]) as run:
    pass
with start_run("victim", experiment_tracker=["stuck", "sound"], settings={
    "stuck": {"start_timeout": 0.1}}) as run:
    run.log_metric("loss", 1)
    os.kill(os.getpid(), signal.SIGKILL)
""",
        TRACKYARD_WATCHDOG="1",
    )

    wait_until(lambda: stuck.calls("fail", tracker="sound"))
    assert stuck.calls(tracker="stuck") == []


@pytest.mark.slow
def test_recovery_in_the_background_is_not_held_up_by_a_hook_that_hangs(stuck):
    stuck.add_tracker("stuck", Hanging, hook="log", isolation="thread", **SHORT)
    stuck.add_tracker("sound", Recorder)
    left_over(stuck, "stuck", "sound")
    begun = time.monotonic()
    sync_all(find_project(), patience=0.5)

    assert time.monotonic() - begun < 25
    assert stuck.hooks("sound")[-1] == "fail"


def test_replay_gives_up_a_tracker_that_hangs(stuck):
    stuck.add_tracker("sound", Recorder)
    stuck.add_tracker("stuck", Hanging, hook="start", **SHORT)
    with start_run("baseline", experiment_tracker="sound") as run:
        run.log_metric("loss", 1)
    (found,) = find_runs(find_project(), "baseline")
    report = replay_run(found, find_project(), "stuck", patience=0.2)

    assert not report.is_complete
    assert report.problem == "tracker_start_run hangs; its thread is left alone"


def test_upload_that_hangs_is_given_up(project, monkeypatch):
    from trackyard.recovery.syncing import find_kept_offline, upload_run

    project.add_tracker("local", HangingUpload)
    with start_run("offline"):
        pass
    monkeypatch.setattr("trackyard.recovery.syncing._DEADLINE", 0.2)
    (kept,) = find_kept_offline(find_project())
    (report,) = upload_run(kept, find_project())

    assert (report.is_complete, report.problem) == (
        False,
        "tracker_sync_run: has not returned for 0.2 s",
    )
    assert Client() is not None  # and nothing waits for it
