"""Do steps that run on a real Ray cluster keep every promise?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from matrices import first_by_default

MODULES = Path(__file__).parents[3] / "core" / "tests" / "modules"
sys.path.append(str(MODULES))

from isolated import Shared  # noqa: E402

import trackyard  # noqa: E402
from trackyard import Client, log_metric, pipeline, step  # noqa: E402

# A cluster alone takes half a minute of CPU to start and to end.
pytestmark = pytest.mark.slow
CONFIGURATION = """
[experiment_trackers.local]
flavor = "isolated:Shared"
directory = "{calls}"
{secret}
[stacks.default]
experiment_trackers = ["local"]
orchestrator = "{orchestrator}"
{options}
"""


@pytest.fixture
def ray_project(tmp_path, monkeypatch, cluster):
    for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    monkeypatch.setenv("TRACKYARD_CONTEXT", "0")
    monkeypatch.chdir(tmp_path)
    configure()


def configure(options="", orchestrator="ray", secret=""):
    text = CONFIGURATION.format(
        calls=Path("calls").absolute(), options=options, orchestrator=orchestrator, secret=secret
    )
    Path("trackyard.toml").write_text(text)


def calls(hook):
    lines = Path("calls/calls.jsonl").read_text().splitlines()
    return [call for call in map(json.loads, lines) if call["hook"] == hook]


@step(experiment_tracker=True)
def work(number: int, victim: str = "") -> int:
    log_metric("number", number, step=number)
    if victim and number == 40 and not Path(victim).exists():
        Path(victim).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@step
def total(values: list) -> int:
    return sum(values)


@pytest.mark.parametrize("orchestrator", ["ray", "local"])
def test_results_are_those_of_local(ray_project, orchestrator):
    configure(orchestrator=orchestrator)

    @pipeline
    def adding():
        total(work.map(range(5)))

    run = adding()

    assert run.steps["total"].outputs["output"].load() == 10
    assert {found.status for found in run.steps.values()} == {"finished"}
    logged = sorted(metric for call in calls("log") for metric in call["metrics"])
    assert logged == [["number", number, number] for number in range(5)]
    assert len(calls("end")) == 5


@pytest.mark.slow
def test_one_worker_that_dies_among_a_hundred_steps_is_one_crashed_step(ray_project):
    victim = str(Path("victim").absolute())

    @pipeline
    def deadly():
        work.map(range(100), victim=victim)

    with pytest.raises(trackyard.StepCrashedError, match="WorkerCrashedError"):
        deadly()

    run = Client().list_pipeline_runs()[0]
    assert run.status == "crashed"
    assert run.steps["work[40]"].status == "crashed"
    assert Counter(found.status for found in run.steps.values()) == {"finished": 99, "crashed": 1}
    (failed,) = calls("fail")
    assert (failed["step"], failed["failure"]["status"]) == ("work[40]", "crashed")
    logged = {metric[1] for call in calls("log") for metric in call["metrics"]}
    assert logged == set(range(100))


@pytest.mark.slow
def test_crashed_step_is_tried_again_as_often_as_max_retries_says(ray_project):
    configure("max_retries = 1")
    victim = str(Path("victim").absolute())

    @pipeline
    def lucky():
        total(work.map([39, 40, 41], victim=victim))

    run = lucky()

    assert run.status == "finished"
    assert run.steps["total"].outputs["output"].load() == 120
    assert [a.status for a in run.steps["work[1]"].attempts] == ["crashed", "finished"]


def test_error_of_a_step_is_raised_and_tried_no_more(ray_project):
    configure("max_retries = 3")

    @step(experiment_tracker=True)
    def failing():
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        pipeline(failing)()

    assert len(Client().list_pipeline_runs()[0].steps["failing"].attempts) == 1


def test_secret_that_the_worker_cannot_read_is_named(ray_project, monkeypatch):
    monkeypatch.setenv("ONLY_HERE", "a-secret-value")
    configure(secret='token = "env:ONLY_HERE"')

    with pytest.raises(trackyard.ConfigError, match="ONLY_HERE"):
        pipeline(lambda: work(1))()

    assert calls("fail")[0]["failure"]["kind"] == "ConfigError"


DRIVER = """
import os, time, pathlib, trackyard

@trackyard.step(experiment_tracker=True)
def wait(n: int):
    trackyard.log_metric("n", n)
    pathlib.Path(f"{here}/up{n}").write_text(str(os.getpid()))
    time.sleep(60)

@trackyard.pipeline
def waiting():
    wait.map([0, 1, 2, 3])

if __name__ == "__main__":
    waiting()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", first_by_default([signal.SIGINT, signal.SIGTERM]))
def test_stopping_the_driver_kills_its_steps_and_frees_the_cluster(ray_project, number):
    import ray

    configure(f'address = "{ray.get_runtime_context().gcs_address}"')
    here = Path.cwd()
    (here / "driver.py").write_text(DRIVER.replace("{here}", str(here)))
    off = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}  # below `uv run` Ray would pack this folder
    environment = {**os.environ, "PYTHONPATH": str(MODULES), **off}
    driver = subprocess.Popen([sys.executable, "driver.py"], env=environment)
    try:
        wait_until(lambda: len(list(here.glob("up*"))) == 3)
    except AssertionError:
        driver.kill()
        driver.wait()
        raise

    driver.send_signal(number)
    driver.wait(60)

    assert driver.returncode == (143 if number == signal.SIGTERM else -number)
    run = Client().list_pipeline_runs()[0]
    assert run.status == "killed"
    states = Counter(found.status for found in run.steps.values())
    assert states == {"killed": 4}
    assert [call["failure"]["status"] for call in calls("fail")] == ["killed"] * 4
    logged = [metric for call in calls("log") for metric in call["metrics"]]
    assert sorted(value for key, value, _ in logged if not key.startswith("system/")) == sorted(
        int(file.name[2:]) for file in here.glob("up*")
    )
    wait_until(lambda: ray.available_resources().get("CPU") == 3)


@pytest.mark.slow
def test_what_c_code_and_programs_print_is_kept_once_and_in_order(ray_project):
    @step
    def printing() -> None:
        print("by python")
        os.write(1, b"by C\n")
        subprocess.run("echo by a program; echo its error >&2", shell=True, check=True)
        with trackyard.start_run("inner"):
            print("inside")
        print("again")
        os.write(1, b"unfinished")

    console = Client().get_run(pipeline(printing)().id).steps[0].console

    texts = [(line.stream, line.text) for line in console]
    out = [text for stream, text in texts if stream == "out"]
    assert out == ["by python", "by C", "by a program", "again", "unfinished"]
    assert ("err", "its error") in texts


STRANGER = """
import trackyard

@trackyard.step
def one(): ...

@trackyard.step
def another(): ...

@trackyard.pipeline
def asking():
    one()
    another()

asking()
"""


@pytest.mark.slow
def test_driver_without_the_clusters_token_is_told_what_to_type(ray_project, cluster):
    configure(f'address = "{cluster}"')
    Path("stranger.py").write_text(STRANGER)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    environment |= {"PYTHONPATH": str(MODULES), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}

    command = [sys.executable, "stranger.py"]
    done = subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=300
    )

    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigError: orchestrator 'ray': address = " in last
    assert "set RAY_AUTH_MODE=token" in last
    steps = Client().list_pipeline_runs()[0].steps.values()
    assert Counter(found.status for found in steps) == {"failed": 2}


def wait_until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_resources_that_a_step_asks_for_are_its_own(ray_project):
    @step(resources={"num_cpus": 2})
    def greedy() -> int:
        import ray

        return int(ray.get_runtime_context().get_assigned_resources()["CPU"])

    assert pipeline(greedy)().steps["greedy"].outputs["output"].load() == 2


@pytest.mark.parametrize("amount", ["x", -1, True])
def test_amounts_that_are_none_are_refused_before_anything_runs(ray_project, amount):
    @pipeline
    def asking():
        work.with_options(resources={"num_cpus": amount})(work(1))

    with pytest.raises(trackyard.ConfigError, match="step 'work': resources: 'num_cpus' must be"):
        asking()

    assert not Path("calls").exists()


@pytest.mark.slow
def test_resources_that_no_node_has_are_refused(ray_project, caplog):
    @pipeline
    def typing_wrongly():
        work.with_options(resources={"num_gpu": 1})(1)

    with pytest.raises(trackyard.ConfigError, match=r"no node has {'num_gpu': 1}; the cluster has"):
        typing_wrongly()

    assert calls("fail")[0]["failure"]["kind"] == "ConfigError"


@pytest.mark.slow
def test_timeout_begins_when_the_step_does(ray_project):
    @step(experiment_tracker=True, resources={"num_cpus": 3}, timeout=1.0)
    def alone(number: int) -> None:
        time.sleep(0.6)

    @step(experiment_tracker=True, timeout=0.5)
    def slow() -> None:
        time.sleep(30)

    assert pipeline(lambda: alone.map(range(4)))().status == "finished"
    with pytest.raises(trackyard.StepTimeoutError):
        pipeline(slow)()
    assert Client().list_pipeline_runs()[0].steps["slow"].status == "failed"


@pytest.mark.slow
def test_step_that_does_not_heed_its_timeout_is_ended(ray_project, monkeypatch):
    @step(experiment_tracker=True, timeout=0.5)
    def deaf() -> None:
        log_metric("number", 1)
        while True:
            try:
                time.sleep(30)
            except Exception:
                continue

    with pytest.raises(trackyard.StepCrashedError, match=r"still runs after 5.5 s"):
        pipeline(deaf)()

    assert calls("fail")[0]["failure"]["status"] == "crashed"
    assert [m[1] for call in calls("log") for m in call["metrics"]] == [1]


assert Shared
