"""Do ZenML's failures with an MLflow tracker happen here?

Each test runs the scenario of one row of a fault matrix that was measured with ZenML 0.98 and
MLflow 3.17, and says in its docstring what happened there. Results are read back from MLflow with
its own client, and from `Client()`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest
from canary import CANARY
from matrices import first_by_default

from trackyard import Client, OutputError, log_metric, log_param, pipeline, start_run, step

# Seconds for a busy machine, where a budget is tested.
SLACK = 25.0


def latest_run():
    return Client().list_pipeline_runs()[0]


def mlflow_id(url):
    return url.rpartition("/")[2].partition("?")[0]


def sync(status=0):
    """Deliver what is left, as a user does when the server is back; give what it prints."""
    command = [sys.executable, "-m", "trackyard", "sync", "--patience", "60"]
    done = subprocess.run(command, check=False, timeout=120, stdout=subprocess.PIPE, text=True)
    assert done.returncode == status, done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize("isolation", first_by_default(["thread", "process"]), indirect=True)
def test_f2_a_failing_step_does_not_end_as_finished(mlflow_project, isolation):
    """There: a later step resumed the only run and set it to FINISHED."""

    @step(experiment_tracker=True)
    def breaks():
        log_metric("before", 1)
        raise ValueError("no luck")

    @step(experiment_tracker=True)
    def works() -> int:
        return 1

    @pipeline
    def two_steps():
        breaks()
        works()

    with pytest.raises(ValueError, match="no luck"):
        two_steps()

    run = latest_run()
    assert run.status == "failed"
    assert {name: s.status for name, s in run.steps.items()} == {
        "breaks": "failed",
        "works": "finished",
    }
    assert mlflow_project.statuses() == {
        run.name: "FAILED",
        "breaks": "FAILED",
        "works": "FINISHED",
    }
    assert mlflow_project.run("breaks").data.metrics == {"before": 1}


@pytest.mark.parametrize("log", [log_param, mlflow.log_param], ids=["portable", "native"])
def test_f3_steps_with_the_same_param_do_not_collide(mlflow_project, log):
    """There: both logged into one run, and MLflow refused the second value: the step failed."""

    @step(experiment_tracker=True)
    def train(rate: float) -> float:
        log("lr", rate)
        return rate

    @pipeline
    def two_rates():
        train(1.0)
        train(2.0)

    run = two_rates()

    assert Client().get_pipeline_run(run.name).status == "finished"
    assert run.steps["train_2"].outputs["output"].load() == 2.0
    assert mlflow_project.run("train").data.params == {"lr": "1.0"}
    assert mlflow_project.run("train_2").data.params == {"lr": "2.0"}
    assert set(mlflow_project.statuses().values()) == {"FINISHED"}


def test_f4_a_step_whose_output_cannot_be_stored_is_failed(mlflow_project):
    """There: outputs were stored after the tracker was closed, and the run was FINISHED."""

    @step(experiment_tracker=True)
    def gives_a_lock() -> object:
        return threading.Lock()

    @pipeline
    def locked():
        gives_a_lock()

    with pytest.raises(OutputError, match="lock"):
        locked()

    run = latest_run()
    assert run.steps["gives_a_lock"].status == "failed"
    assert mlflow_project.statuses() == {run.name: "FAILED", "gives_a_lock": "FAILED"}
    assert "OutputError" in mlflow_project.run("gives_a_lock").data.tags["trackyard.failure"]


@pytest.mark.parametrize("kind", first_by_default(["silent_server", "refusing_server"]))
def test_f5_an_unreachable_server_fails_no_step_and_loses_no_native_call(
    mlflow_project, request, kind, isolation
):
    """There: 287 seconds of hidden retries, then the step failed; user code was never run."""
    mlflow_project.configure(f"""
        [experiment_trackers.team]
        flavor = "mlflow"
        tracking_uri = "{request.getfixturevalue(kind)}"
        start_timeout = 2
        flush_timeout = 2
    """)
    durations = []

    @step(experiment_tracker=True)
    def work(number: int) -> int:
        begun = time.monotonic()
        log_metric("portable", number)
        mlflow.log_metric("native", number, step=7)
        mlflow.log_param("rate", 0.1)
        mlflow.log_text("hello", "notes/hello.txt")
        durations.append(time.monotonic() - begun)
        return number

    @pipeline
    def unreachable():
        work(work(1))

    begun = time.monotonic()
    run = unreachable()
    cost = time.monotonic() - begun - sum(durations)

    assert cost < 2 + 2 + SLACK
    assert Client().get_pipeline_run(run.name).status == "finished"
    assert run.steps["work_2"].outputs["output"].load() == 1
    stores = (mlflow_project.home / "runs").rglob("*.db")
    kept = [found for path in stores for found in mlflow_project.runs(f"sqlite:///{path}")]
    assert [found.data.metrics for found in kept] == [{"native": 1}] * 2
    assert [found.data.params for found in kept] == [{"rate": "0.1"}] * 2
    texts = (mlflow_project.home / "runs").rglob("notes/hello.txt")
    assert [path.read_text() for path in texts] == ["hello", "hello"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", first_by_default(["silent_server", "refusing_server"]))
def test_f5_an_unreachable_server_costs_the_start_timeout_at_most(mlflow_project, request, kind):
    mlflow_project.configure(f"""
        [experiment_trackers.team]
        flavor = "mlflow"
        tracking_uri = "{request.getfixturevalue(kind)}"
        start_timeout = 1
        flush_timeout = 12
    """)

    begun = time.monotonic()
    with start_run("unreachable") as run:
        run.log_metric("portable", 1)

    assert time.monotonic() - begun < 1 + SLACK


@pytest.mark.slow
def test_f5_a_server_that_comes_up_during_the_step_gets_everything(mlflow_project, late_server):
    mlflow_project.configure(f"""
        [experiment_trackers.team]
        flavor = "mlflow"
        tracking_uri = "{late_server.url}"
        start_timeout = 1
    """)

    @step(experiment_tracker=True)
    def late_work() -> int:
        log_metric("portable_before", 1)
        log_param("rate", "portable")
        mlflow.log_metric("native_before", 2, step=7)
        mlflow.log_param("native", "yes")
        mlflow.log_param("rate", "native")  # MLflow refuses one of the two, and that alone
        mlflow.set_tag("native", "yes")
        mlflow.log_text("hello", "notes/hello.txt")
        with mlflow.start_run(run_name="nested", nested=True):
            mlflow.log_metric("nested", 1)
        late_server.start()
        log_metric("portable_after", 3)
        mlflow.log_metric("native_after", 4)
        return 42

    @pipeline
    def late():
        late_work()

    run = Client().get_pipeline_run(late().name)
    (told,) = sync(status=1)

    assert told.split("\t")[:3] == ["late_work", "team", "refused"]
    assert run.steps["late_work"].outputs["output"].load() == 42
    found = mlflow_project.run("late_work", late_server.url)
    parent = mlflow_project.run(run.name, late_server.url)
    assert found.info.status == parent.info.status == "FINISHED"
    assert found.data.metrics == {
        "portable_before": 1,
        "native_before": 2,
        "portable_after": 3,
        "native_after": 4,
    }
    assert found.data.params == {"rate": "portable", "native": "yes"}
    nested = mlflow_project.run("nested", late_server.url)
    assert nested.data.metrics == {"nested": 1}
    assert nested.data.tags["mlflow.parentRunId"] == found.info.run_id
    assert found.data.tags["native"] == "yes"
    assert found.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert mlflow_project.artifact(found, "notes/hello.txt", late_server.url) == b"hello"
    client = mlflow_project.client(late_server.url)
    (metric,) = client.get_metric_history(found.info.run_id, "native_before")
    assert metric.step == 7
    assert found.info.start_time <= metric.timestamp <= found.info.end_time


BROKEN_CLEANUP = """
from pathlib import Path
from trackyard import flavor, hookimpl
from trackyard_mlflow import MlflowTracker

@flavor
class BrokenCleanup(MlflowTracker):
    times: int

    @hookimpl
    def tracker_end_run(self, run):
        tries = run.folder / "tries"
        tried = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (tried + 1))
        if tried < self.times:
            raise RuntimeError("the cleanup is broken")
        super().tracker_end_run(run)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "status"), first_by_default([(1000, "RUNNING"), (1, "FINISHED")])
)
def test_f7_a_broken_cleanup_does_not_destroy_a_good_step(mlflow_project, times, status):
    """There: the step was failed and its outputs were lost."""
    broken = mlflow_project.new_store(mlflow_project.root / "broken.db")
    module = f"broken_cleanup_{times}"  # a process has one module of a name
    (mlflow_project.root / f"{module}.py").write_text(BROKEN_CLEANUP)
    mlflow_project.configure(f"""
        [experiment_trackers.broken]
        flavor = "{module}:BrokenCleanup"
        tracking_uri = "{broken}"
        times = {times}
        flush_timeout = 3

        [experiment_trackers.healthy]
        flavor = "mlflow"
    """)

    @step(experiment_tracker=True)
    def answer() -> int:
        log_metric("m", 1)
        return 42

    @pipeline
    def life():
        answer()

    run = Client().get_pipeline_run(life().name)

    assert run.status == run.steps["answer"].status == "finished"
    assert run.steps["answer"].outputs["output"].load() == 42
    assert set(mlflow_project.statuses().values()) == {"FINISHED"}
    assert mlflow_project.run("answer", broken).info.status == status
    assert mlflow_project.run("answer", broken).data.metrics == {"m": 1}


@pytest.mark.slow
def test_f7b_a_server_that_is_killed_during_the_step_does_not_destroy_it(
    mlflow_project, late_server
):
    """There: the function returned 42, and seconds later its step failed without outputs."""
    late_server.start()
    mlflow_project.configure(f"""
        [experiment_trackers.team]
        flavor = "mlflow"
        tracking_uri = "{late_server.url}"
        flush_timeout = 2
    """)

    @step(experiment_tracker=True)
    def dying_answer() -> int:
        mlflow.log_metric("before", 1)
        late_server.kill()
        for index in range(100):
            log_metric("after", index, step=index)
        log_param("after", 1)
        return 42

    @pipeline
    def dying():
        dying_answer()

    run = Client().get_pipeline_run(dying().name)

    assert run.status == run.steps["dying_answer"].status == "finished"
    assert run.steps["dying_answer"].outputs["output"].load() == 42
    assert run.duration < 10 + 2 + SLACK
    left = mlflow_project.run("dying_answer", late_server.store)
    assert left.data.metrics == {"before": 1}
    assert (
        mlflow_id(run.steps["dying_answer"].run_metadata["experiment_tracker_url"])
        == left.info.run_id
    )

    late_server.start()
    sync()

    assert mlflow_project.run(run.name, late_server.url).info.status == "FINISHED"
    found = mlflow_project.run("dying_answer", late_server.url)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"after": "1"}
    history = mlflow_project.client(late_server.url).get_metric_history(found.info.run_id, "after")
    assert [metric.step for metric in history] == list(range(100))


def test_f8_each_attempt_of_a_step_is_a_run_of_its_own(mlflow_project):
    """There: attempts shared one run, which ended FINISHED and had the last values alone."""
    attempts = []

    @step(experiment_tracker=True, retries=2)
    def flaky() -> int:
        attempts.append(1)
        log_metric("attempt", len(attempts))
        log_param("number", len(attempts))
        if len(attempts) == 1:
            raise OSError("try again")
        return len(attempts)

    @pipeline
    def retried():
        flaky()

    run = Client().get_pipeline_run(retried().name)

    assert run.status == "finished"
    assert [attempt.status for attempt in run.steps["flaky"].attempts] == ["failed", "finished"]
    client = mlflow_project.client()
    first, second = (
        client.get_run(mlflow_id(attempt.url)) for attempt in run.steps["flaky"].attempts
    )
    assert (first.info.status, second.info.status) == ("FAILED", "FINISHED")
    assert first.data.metrics == {"attempt": 1}
    assert second.data.metrics == {"attempt": 2}
    assert first.data.tags["trackyard.attempt"] == "1"
    assert second.data.tags["trackyard.attempt"] == "2"
    assert len(mlflow_project.runs()) == 3
    assert mlflow_project.run(run.name).info.status == "FINISHED"


def test_f10_an_unreachable_second_tracker_harms_neither_step_nor_first(
    mlflow_project, isolation, refusing_server
):
    """There: user code was never run, and the first tracker's run stayed RUNNING."""
    mlflow_project.configure(f"""
        [experiment_trackers.first]
        flavor = "mlflow"

        [experiment_trackers.second]
        flavor = "mlflow"
        tracking_uri = "{refusing_server}"
        start_timeout = 2
        flush_timeout = 2
    """)

    @step(experiment_tracker=True)
    def answer() -> int:
        log_metric("m", 1)
        return 42

    @pipeline
    def two_trackers():
        answer()

    begun = time.monotonic()
    run = Client().get_pipeline_run(two_trackers().name)

    assert time.monotonic() - begun < 2 + 2 + SLACK
    assert run.steps["answer"].outputs["output"].load() == 42
    assert mlflow_project.statuses() == {run.name: "FINISHED", "answer": "FINISHED"}
    assert mlflow_project.run("answer").data.metrics == {"m": 1}
    first = mlflow_project.run("answer").info.run_id
    assert mlflow_id(run.steps["answer"].run_metadata["experiment_tracker_url"].value) == first


def test_f10b_two_healthy_mlflow_trackers_both_have_the_run(mlflow_project):
    """There: the second one's `start_run` raised "Run ... is already active"."""
    other = mlflow_project.new_store(mlflow_project.root / "other.db")
    mlflow_project.configure(f"""
        [experiment_trackers.first]
        flavor = "mlflow"

        [experiment_trackers.second]
        flavor = "mlflow"
        tracking_uri = "{other}"
    """)

    with start_run("both") as run:
        run.log_metric("portable", 1)
        mlflow.log_metric("native", 2)

    assert mlflow_project.statuses() == mlflow_project.statuses(other) == {"both": "FINISHED"}
    assert mlflow_project.run("both").data.metrics == {"portable": 1, "native": 2}
    assert mlflow_project.run("both", other).data.metrics == {"portable": 1, "native": 2}


def test_f12_a_step_whose_input_cannot_be_loaded_is_failed(mlflow_project):
    """There: inputs were loaded after the tracker was opened, outside any try: RUNNING for ever."""

    @step
    def make() -> int:
        return 1

    @step(after="make")
    def lose():
        shutil.rmtree(mlflow_project.home / "artifacts")

    @step(experiment_tracker=True, after="lose")
    def use(number: int) -> int:
        return number

    @pipeline
    def lost_input():
        number = make()
        lose()
        use(number)

    with pytest.raises(OutputError, match="cannot be read"):
        lost_input()

    run = latest_run()
    assert run.steps["use"].status == "failed"
    assert mlflow_project.statuses() == {run.name: "FAILED", "use": "FAILED"}


def test_f13_overlapping_runs_keep_their_native_calls_apart(mlflow_project, isolation):
    """There: the quick step's cleanup reset the tracking URI of the process under the slow one."""
    quick_runs, quick_ended = threading.Event(), threading.Event()

    def slow():
        with start_run("slow"):
            assert quick_runs.wait(30)
            mlflow.log_metric("slow_before", 1)
            assert quick_ended.wait(30)
            mlflow.log_metric("slow_after", 2)
            log_metric("slow_portable", 3)

    def quick():
        with start_run("quick"):
            mlflow.log_metric("quick_before", 1)
            quick_runs.set()
            mlflow.log_metric("quick_after", 2)
            log_metric("quick_portable", 3)
        quick_ended.set()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(slow), pool.submit(quick)]:
            done.result(60)

    assert mlflow_project.statuses() == {"slow": "FINISHED", "quick": "FINISHED"}
    for name in ("slow", "quick"):
        assert mlflow_project.run(name).data.metrics == {
            f"{name}_before": 1,
            f"{name}_after": 2,
            f"{name}_portable": 3,
        }


def test_f13_two_pipelines_at_once_keep_their_steps_apart(mlflow_project, isolation):
    """There: two runs of the same name, and the slow one's step failed."""
    together = threading.Barrier(2)

    @step(experiment_tracker=True)
    def work(name: str) -> str:
        together.wait(30)
        mlflow.log_param("native", name)
        for index in range(20):
            mlflow.log_metric("native", index, step=index)
            log_metric("portable", index, step=index)
        log_param("portable", name)
        return name

    @pipeline
    def first():
        work(work("first"))

    @pipeline
    def second():
        work(work("second"))

    with ThreadPoolExecutor(2) as pool:
        runs = [done.result(60) for done in [pool.submit(first), pool.submit(second)]]

    client = mlflow_project.client()
    for run in runs:
        for tracked in Client().get_pipeline_run(run.id).steps.values():
            there = client.get_run(mlflow_id(tracked.url))
            assert there.info.status == "FINISHED"
            assert there.data.params == {"native": run.pipeline, "portable": run.pipeline}
            assert there.data.metrics == {"native": 19, "portable": 19}
            for key in ("native", "portable"):
                history = client.get_metric_history(there.info.run_id, key)
                assert [metric.step for metric in history] == list(range(20))
    assert len(mlflow_project.runs()) == 6


def test_f15_the_url_is_there_while_the_step_runs(mlflow_project, isolation):
    """There: `run_metadata` was empty until the step had ended."""
    seen = []

    @step(experiment_tracker=True)
    def look() -> None:
        metadata = latest_run().steps["look"].run_metadata
        seen.append(metadata["experiment_tracker_url"].value)

    @pipeline
    def looking():
        look()

    run = looking()

    assert seen == [run.steps["look"].run_metadata["experiment_tracker_url"].value]
    assert mlflow_id(seen[0]) == mlflow_project.run("look").info.run_id


def test_f16_everything_in_the_process_is_given_back(
    mlflow_project, isolation, monkeypatch, silent_server
):
    """There: variables, tracking URI and credentials were left behind, or the user's own lost.

    The fixture of the project compares the whole environment, the working directory, MLflow's
    tracking URI, active run and autologging, too.
    """
    # The server's tracker has a process: MLflow imports something at each request, which on a
    # thread can wait for ever for a lock that the step's autolog() holds while it imports.
    own = {
        "MLFLOW_TRACKING_URI": "sqlite:///own.db",
        "MLFLOW_TRACKING_TOKEN": "own-token",
        "MLFLOW_EXPERIMENT_NAME": "own-experiment",
    }
    for key, value in own.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("TEAM_TOKEN", CANARY)
    mlflow_project.configure(f"""
        [experiment_trackers.local]
        flavor = "mlflow"

        [experiment_trackers.team]
        flavor = "mlflow"
        isolation = "process"
        tracking_uri = "{silent_server}"
        tracking_token = "env:TEAM_TOKEN"
        start_timeout = 1
        flush_timeout = 1
    """)
    before = dict(os.environ)
    autologging = dict(mlflow.utils.autologging_utils.AUTOLOGGING_INTEGRATIONS)

    @step(experiment_tracker=["local", "team"])
    def work() -> str:
        mlflow.autolog(silent=True)
        assert "own.db" not in mlflow.get_tracking_uri()
        mlflow.log_metric("native", 1)  # MLflow makes the run at its first call
        return mlflow.active_run().info.run_id

    @step(experiment_tracker="local")
    def fails(run_id: str):
        raise ValueError("no luck")

    @pipeline
    def tidy():
        fails(work())

    with pytest.raises(ValueError, match="no luck"):
        tidy()

    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == own["MLFLOW_TRACKING_URI"]
    assert autologging == mlflow.utils.autologging_utils.AUTOLOGGING_INTEGRATIONS
    assert latest_run().steps["work"].outputs["output"].load() == (
        mlflow_project.run("work").info.run_id
    )
    end = time.monotonic() + 60  # a call that hangs on the silent server holds its variables
    while dict(os.environ) != before and time.monotonic() < end:
        time.sleep(0.05)
    assert dict(os.environ) == before
    assert not (mlflow_project.root / "own.db").exists()
