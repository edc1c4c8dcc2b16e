"""A run ends as it should, whatever became of its process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from matrices import first_by_default
from recorder import Recorder
from shared_recorder import SharedRecorder

from trackyard import Client, pipeline, start_run, step
from trackyard.journal.pending import pending_folders
from trackyard.project.configuration import find_project
from trackyard.recovery.autopsy import find_or_write_end
from trackyard.recovery.drivers import find_dead_drivers
from trackyard.recovery.finishing import find_pending_runs, recover_in_background, sync_all
from trackyard.runs.doctor import examine

VICTIM = """
import os, signal, sys
from trackyard import start_run
with start_run("victim", experiment="kills") as run:
    run.log_metric("loss", 0.5, step=1)
    run.log_param("rate", 0.1)
    {end}
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
ENDS = {
    "kill -9": (KILL, -signal.SIGKILL),
    "os._exit": ("os._exit(3)", 3),
    "abort": ("os.abort()", -signal.SIGABRT),
    "segfault": ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
}


def wait_until(fact, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.mark.parametrize("end", first_by_default(ENDS))
def test_a_run_whose_process_died_is_delivered_and_ends_as_crashed(project, end):
    project.add_tracker("local", Recorder)
    code, exit_code = ENDS[end]
    process = project.python(VICTIM.format(end=code))

    assert process.returncode == exit_code
    result = project.trackyard("sync")

    assert result.returncode == 0
    assert result.stdout.split("\t")[:3] == ["victim", "local", "complete"]
    assert project.logged("metrics")[-1] == ["loss", 0.5, 1]
    assert project.logged("params")[-1] == ["rate", 0.1]
    assert project.calls("fail")[-1]["failure"]["status"] == "crashed"
    assert "every tracker has everything" in project.trackyard("sync").stderr


def test_the_watchdog_ends_a_killed_run_by_itself(project):
    project.add_tracker("local", Recorder)
    process = project.python(VICTIM.format(end=KILL), TRACKYARD_WATCHDOG="1")

    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: project.calls("fail"))
    assert project.logged("metrics") == [["loss", 0.5, 1]]
    wait_until(lambda: not find_pending_runs(find_project()))


def test_the_watchdog_is_not_kept_waiting_by_a_child_that_lives_on(project):
    project.add_tracker("local", Recorder)
    fork = f"""
    if os.fork() == 0:
        [os.close(file) for file in (0, 1, 2)]
        import time; time.sleep(45); os._exit(0)
    {KILL}"""
    project.python(VICTIM.format(end=fork), TRACKYARD_WATCHDOG="1")

    wait_until(lambda: project.calls("fail"), 40)
    assert project.calls("fail")[0]["failure"]["status"] == "crashed"


def test_client_has_a_dead_run_finished_and_does_not_wait_for_it(project, monkeypatch):
    project.add_tracker("local", Recorder)
    project.python(VICTIM.format(end=KILL))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    Client()

    wait_until(lambda: project.calls("fail"))
    assert len(project.calls("fail")) == 1


def test_a_live_run_is_left_alone(project):
    project.add_tracker("local", Recorder)
    with start_run("alive") as run:
        run.log_metric("loss", 1)
        (pending,) = find_pending_runs(find_project())
        assert pending.is_alive
        sync_all(find_project(), patience=1)
        assert project.trackyard("sync").stdout.split("\t")[2] == "running"

    assert project.hooks() == ["start", "log", "end"]
    assert pending_folders(find_project().home) == []


STOPPED = """
import time
from trackyard import start_run
with start_run("stopped") as run:
    run.log_metric("loss", 1)
    print("ready", flush=True)
    input()
"""


@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_a_process_that_is_stopped_is_not_taken_for_dead(project, isolation):
    project.add_tracker("local", Recorder, isolation=isolation)
    environment = {**project.environment(), "TRACKYARD_WATCHDOG": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=-1, stdout=-1, env=environment, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: project.calls("log"))
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        sync_all(find_project(), patience=1)
        Client()
        assert project.trackyard("sync").stdout.split("\t")[2] == "running"
        (folder,) = (find_project().home / "runs").iterdir()
        assert find_or_write_end(folder) is None
        assert project.hooks() == ["start", "log"]

        os.kill(process.pid, signal.SIGCONT)
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert project.hooks() == ["start", "log", "end"]
    sync_all(find_project(), patience=1)
    assert project.hooks() == ["start", "log", "end"]  # a final status is written once


@pytest.mark.slow
def test_eight_recoveries_at_once_write_one_end(project):
    project.add_tracker("local", Recorder)
    project.python(VICTIM.format(end=KILL))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "trackyard", "sync"]
    processes = [subprocess.Popen(command, env=environment, stdout=-1, stderr=-1) for _ in range(8)]
    for process in processes:
        process.communicate(timeout=60)

    assert len(project.calls("fail")) == 1
    assert len(project.logged("metrics")) == 1
    (folder,) = (find_project().home / "runs").iterdir()
    assert len(list(folder.glob("recovery-*.tyj"))) == 1


def test_what_a_tracker_did_not_take_is_kept_and_sent_by_sync(project, caplog):
    allowed = project.root / "allowed"
    project.add_tracker(
        "local", SharedRecorder, waits_for=str(allowed), isolation="thread", flush_timeout=0.2
    )
    with start_run("patient") as run:
        run.log_metrics({"a": 1, "b": 2}, step=3)

    assert "2 record(s)" in caplog.text
    assert "trackyard sync" in caplog.text
    result = project.trackyard("sync", "--patience", "0.2")
    assert (result.returncode, "not yet" in result.stdout) == (1, True)
    allowed.touch()
    result = project.trackyard("sync")

    assert (result.returncode, result.stdout.split("\t")[2:5]) == (0, ["complete", "2", "0"])
    assert project.logged("metrics") == [["a", 1.0, 3], ["b", 2.0, 3]]
    assert project.hooks()[-1] == "end"


def test_a_killed_pipeline_is_crashed_in_the_store(project):
    project.add_tracker("local", Recorder)
    project.python(
        "import os, signal\n"
        "from trackyard import log_metric, pipeline, step\n"
        "@step(experiment_tracker='local')\n"
        "def fatal():\n"
        "    log_metric('loss', 1)\n"
        f"    {KILL}\n"
        "@pipeline\n"
        "def doomed():\n"
        "    fatal()\n"
        "doomed()\n"
    )
    (before,) = Client().list_pipeline_runs()
    project.trackyard("sync")
    (after,) = Client().list_pipeline_runs()

    assert before.name == after.name
    assert (after.status, after.steps["fatal"].status) == ("crashed", "crashed")
    assert after.ended_at is not None


PIPELINE = """
import os, signal, sys, time
from trackyard import log_metric, pipeline, step
tracker = "local" if {tracked} else None
@step
def first() -> int:
    return 1
@step(experiment_tracker=tracker)
def fatal(number: int) -> int:
    {end}
    return 2
@step(experiment_tracker=tracker)
def never(number: int) -> int:
    return 3
@pipeline
def doomed():
    never(fatal(first()))
doomed()
"""


def statuses_in_store():
    (run,) = Client().list_pipeline_runs()
    return run.status, {name: step.status for name, step in run.steps.items()}


def spoil(name, text):
    """Leave what a driver leaves that has died, under a name that comes before all others."""
    folder = find_project().home / "drivers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(text)


STEP_MARK = {"pid": 1, "steps": [], "step": {"id": "0" * 32}}
MARKS = {
    "empty": ("", "it is damaged"),
    "half": ('{"pid": 7, "st', "it is damaged"),
    "other": ("[1, 2]", "it is damaged"),
    "newer": (json.dumps({**STEP_MARK, "format": 9}), "pip install --upgrade trackyard"),
    "step": (json.dumps(STEP_MARK), "TypeError"),
    "attempt": (
        json.dumps(
            {
                **STEP_MARK,
                "step": {
                    "id": "0" * 32,
                    "pipeline_run_id": "0" * 32,
                    "pipeline": "etl",
                    "run": "monday",
                    "step": "load",
                    "attempt": "2",
                    "started_at": 1,
                },
            }
        ),
        "TypeError",
    ),
}


@pytest.mark.parametrize("kind", first_by_default(MARKS))
def test_what_is_wrong_with_one_mark_is_one_warning_and_the_others_are_recovered(project, kind):
    text, said = MARKS[kind]
    project.python(PIPELINE.format(tracked=False, end=KILL))
    spoil("0", text)
    result = project.trackyard("sync")

    written = result.stdout + result.stderr
    assert result.returncode == (kind == "newer")
    assert "Traceback" not in written
    assert written.count("drivers/0.json: the end of this run cannot be recorded") == 1
    assert said in written
    assert statuses_in_store()[0] == "crashed"
    (finding,) = [f for f in examine().problems if f.subject.endswith("drivers/0.json")]
    assert said in finding.text + finding.advice
    assert "type: " in finding.advice


@pytest.mark.slow
def test_mark_that_cannot_be_recovered_starts_no_recovery_by_itself_and_can_be_removed(project):
    spoil("0", MARKS["attempt"][0])
    project.trackyard("sync")
    recover_in_background(find_project())
    assert not (find_project().home / "recovery.stamp").exists()

    (finding,) = examine().problems
    assert project.command("sh", "-c", finding.advice.partition("type: ")[2]).returncode == 0
    assert examine().is_well


@pytest.mark.slow
def test_doctor_says_that_a_dead_driver_is_not_recorded_yet(project):
    project.python(PIPELINE.format(tracked=False, end=KILL))
    assert [(f.area, f.advice) for f in examine().problems] == [("runs", "type: trackyard sync")]
    project.trackyard("sync")
    assert examine().is_well


@pytest.mark.slow
def test_run_of_a_newer_version_leaves_the_others_recoverable(project):
    project.add_tracker("local", Recorder)
    project.python(VICTIM.format(end=KILL))
    (folder,) = pending_folders(find_project().home)
    description = folder / "run.json"
    description.write_text(description.read_text().replace('"format": 1', '"format": 9'))
    project.python(VICTIM.format(end=KILL))
    result = project.trackyard("sync")

    assert (result.stdout.count("was written by a newer Trackyard"), result.returncode) == (1, 1)
    assert [call["failure"]["status"] for call in project.calls("fail")] == ["crashed"]


@pytest.mark.parametrize("tracked", first_by_default([True, False]))
def test_store_is_true_after_the_death_of_a_driver(project, tracked):
    project.add_tracker("local", Recorder)
    project.python(PIPELINE.format(tracked=tracked, end=KILL))
    assert statuses_in_store() == ("running", {"first": "finished", "fatal": "running"})
    project.trackyard("sync")

    expected = {"first": "finished", "fatal": "crashed", "never": "skipped"}
    assert statuses_in_store() == ("crashed", expected)
    (run,) = Client().list_pipeline_runs()
    assert run.ended_at >= run.steps["first"].ended_at
    assert [*(project.root / ".trackyard" / "drivers").glob("*.json")] == []


@pytest.mark.slow
def test_store_says_killed_of_an_untracked_step_that_was_told_to_stop_and_did_not(project):
    end = f"""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        {KILL}"""
    project.python(PIPELINE.format(tracked=False, end=end.strip()))
    project.trackyard("sync")

    assert statuses_in_store()[0] == "killed"
    assert statuses_in_store()[1]["fatal"] == "killed"


def test_client_has_a_dead_driver_noted_where_nothing_is_tracked(project, monkeypatch):
    project.python(PIPELINE.format(tracked=False, end=KILL))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    wait_until(lambda: statuses_in_store()[0] == "crashed")
    assert statuses_in_store()[1]["fatal"] == "crashed"


def test_watchdog_notes_a_dead_driver_where_nothing_is_tracked(project):
    begun = time.time_ns()
    project.python(PIPELINE.format(tracked=False, end=KILL), TRACKYARD_WATCHDOG="1")

    wait_until(lambda: not [*(project.root / ".trackyard" / "drivers").glob("*.json")])
    assert statuses_in_store()[0] == "crashed"
    (run,) = Client().list_pipeline_runs()
    assert begun < run.ended_at.timestamp() * 1e9 < time.time_ns()


@pytest.mark.slow
def test_a_driver_that_lives_is_never_taken_for_dead(project):
    @step
    def look() -> str:
        assert find_dead_drivers(find_project().home) == []
        if os.fork() == 0:  # and neither is it by the death of a child
            os._exit(0)
        os.wait()
        assert project.trackyard("sync").returncode == 0
        return statuses_in_store()[0]

    @pipeline
    def line():
        look()

    run = line()

    assert run.steps["look"].outputs["output"].load() == "running"
    assert run.status == "finished"
    assert [*(project.root / ".trackyard" / "drivers").iterdir()] == []


@pytest.mark.parametrize("ending", ["pipeline", "start_run"])
def test_sigterm_ends_a_run_as_killed_and_the_process_with_143(project, ending):
    project.add_tracker("local", Recorder)
    stop = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)"
    code = {
        "start_run": f"with start_run('told'):\n    {stop}\n",
        "pipeline": "@step(experiment_tracker='local')\n"
        f"def told():\n    {stop}\n@pipeline\ndef line():\n    told()\nline()\n",
    }[ending]
    process = project.python(
        f"import os, signal, time\nfrom trackyard import pipeline, start_run, step\n{code}"
    )

    assert process.returncode == 143
    (fail,) = project.calls("fail")
    assert (fail["failure"]["status"], fail["failure"]["signal"]) == ("killed", 15)
    if ending == "pipeline":
        (run,) = Client().list_pipeline_runs()
        assert (run.status, run.steps["told"].status) == ("killed", "killed")


def test_a_handler_of_the_users_own_is_left_alone(project):
    project.add_tracker("local", Recorder)
    process = project.python(
        "import os, signal\nfrom trackyard import start_run\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('mine'))\n"
        "with start_run('told'):\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )

    assert (process.returncode, process.stdout) == (0, "mine\n")
    assert project.hooks() == ["start", "log", "end"]  # what it printed


@pytest.mark.slow
def test_sync_says_what_is_wrong_with_a_tracker_that_cannot_be_made_again(project):
    project.add_tracker("local", Recorder, token="env:TOKEN")
    project.python(VICTIM.format(end=KILL), TOKEN="long-and-secret")
    result = project.trackyard("sync")

    assert result.returncode == 1
    assert "the environment variable TOKEN is not set" in result.stdout
    assert project.trackyard("sync", TOKEN="long-and-secret").returncode == 0
    files = [p for p in (find_project().home).rglob("*") if p.is_file()]
    assert not any(b"long-and-secret" in path.read_bytes() for path in files)


@pytest.mark.slow
def test_one_process_at_a_time_delivers_a_run(project):
    project.add_tracker("local", Recorder)
    project.python(VICTIM.format(end=KILL))
    (pending,) = find_pending_runs(find_project())
    with (pending.folder / "local" / "delivery.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = project.trackyard("sync", "--patience", "0.1")

    assert result.returncode == 1
    assert "another process is delivering it" in result.stdout
    assert project.calls("fail") == []


def test_a_run_that_lives_and_has_logged_nothing_is_left_alone(project):
    project.add_tracker("local", Recorder)
    with start_run():
        assert "running" in project.trackyard("sync").stdout

    assert project.hooks() == ["start", "end"]


@pytest.mark.slow
def test_looking_after_a_project_that_was_deleted_makes_nothing_anew(project):
    project.add_tracker("local", Recorder)
    code = "import trackyard\nwith trackyard.start_run('a') as run:\n    run.log_metric('a', 1)\n"
    assert project.python(code).returncode == 0
    shutil.rmtree(project.root / ".trackyard")

    sync_all(find_project(), patience=1)

    assert project.trackyard("sync").returncode == 0
    assert not (project.root / ".trackyard").exists()
