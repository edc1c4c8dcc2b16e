"""Are the steps of a pipeline run, tracked and recorded, whatever becomes of them?"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, TypedDict

import numpy
import pytest
from odd_values import Fit
from recorder import Recorder

from trackyard import (
    Capabilities,
    Client,
    ConfigError,
    OutputError,
    OutputNotFoundError,
    PipelineError,
    RequiredTrackerError,
    StepTimeoutError,
    current_run,
    hookimpl,
    log_metric,
    log_params,
    native_run,
    pipeline,
    step,
)


class Nesting(Recorder):
    """Can nest runs."""

    capabilities: ClassVar[Capabilities] = Capabilities(nests=True)


class Unending(Recorder):
    """Cannot be ended."""

    @hookimpl
    def tracker_end_run(self, run):
        raise OSError("no space left")


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


@step
def load(rows: int = 3) -> list:
    return list(range(rows))


@step
def total(data: list) -> int:
    return sum(data)


@step(experiment_tracker="local")
def tracked(value=None):
    log_metric("m", 1.5, step=2)
    return value


@step(experiment_tracker="local")
def failing(value=None):
    raise ValueError("odd")


def run_of(name=None):
    """Give the latest run, as it was recorded."""
    client = Client()
    return client.get_pipeline_run(name or client.list_pipeline_runs()[0].name)


def statuses():
    return {name: found.status for name, found in run_of().steps.items()}


# What a run gives


def test_run_is_what_the_client_finds(project):
    @pipeline
    def adding(rows=4):
        total(load(rows))

    run = adding(rows=5)
    found = Client().get_pipeline_run(run.name)

    assert (found.id, found.status, found.pipeline) == (run.id, "finished", "adding")
    assert found.params == {"rows": 5}
    assert found.stack == "default"
    assert list(found.steps) == ["load", "total"]
    assert found.steps["total"].outputs["output"].load() == 10
    assert found.name.startswith("adding-")
    assert found.steps["total"].error is None


class Slow(Recorder):
    """Takes its time to start."""

    @hookimpl
    def tracker_start_run(self, run):
        time.sleep(0.1)
        self.note("up", run, at=time.time())


def test_seconds_of_a_step_are_without_the_start_of_its_tracker(project):
    project.add_tracker("local", Slow)

    run = pipeline(tracked)()

    (up,) = project.calls("up")
    assert run.steps["tracked"].started_at.timestamp() >= up["at"]
    assert run.duration > run.steps["tracked"].duration


def test_times_are_recorded(project):
    before = time.time()

    @pipeline
    def napping():
        step(name="nap")(lambda: time.sleep(0.05))()

    napped = napping().steps["nap"]

    assert 0.05 <= napped.duration < 60
    assert before <= napped.started_at.timestamp() <= napped.ended_at.timestamp() <= time.time()
    assert run_of().duration >= napped.duration


def test_outputs_reach_steps_also_inside_lists_and_dicts(project):
    @step
    def inspect(values) -> dict:
        return values

    @pipeline
    def nesting():
        data = load(2)
        inspect({"a": [data, (total(data), "b")], "c": None})

    assert nesting().steps["inspect"].outputs["output"].load() == {
        "a": [[0, 1], (1, "b")],
        "c": None,
    }


def test_several_outputs_are_stored_apart(project):
    @step
    def split(data: list) -> tuple[Annotated[list, "train"], Annotated[list, "test"], int]:
        return data[:2], data[2:], 7

    @pipeline
    def splitting():
        train, test, _ = split(load(5))
        total(train)
        total(test)

    run = splitting()
    outputs = {name: output.load() for name, output in run.steps["split"].outputs.items()}

    assert outputs == {"train": [0, 1], "test": [2, 3, 4], "output_2": 7}
    assert run.steps["total"].outputs["output"].load() == 1
    assert run.steps["total_2"].outputs["output"].load() == 9


def test_several_outputs_may_be_passed_on_whole(project):
    @step
    def pair() -> tuple[int, str]:
        return 1, "a"

    @step
    def show(both) -> str:
        return repr(both)

    @pipeline
    def passing():
        show(pair())

    assert passing().steps["show"].outputs["output"].load() == "(1, 'a')"


@pytest.mark.parametrize("result", [(1,), (1, 2, 3), 5, None, "ab"])
def test_wrong_number_of_outputs_fails_the_step(project, result):
    @step
    def pair() -> tuple[int, str]:
        return result

    with pytest.raises(
        OutputError, match="step 'pair' is annotated to return 2 outputs and returned"
    ):
        pipeline(pair)()
    assert statuses() == {"pair": "failed"}


def test_name_of_an_output_is_no_path(project):
    @step
    def odd() -> Annotated[int, "../../outside"]:
        return 1

    run = pipeline(odd)()

    assert run.steps["odd"].outputs["../../outside"].load() == 1
    assert (
        f"artifacts/{run.steps['odd'].id}/output-0.json"
        in run.steps["odd"].outputs["../../outside"].uri
    )


def test_step_without_result_gives_none(project):
    @pipeline
    def quiet():
        step(name="quiet")(lambda: None)()

    assert quiet().steps["quiet"].outputs["output"].load() is None


def test_arrays_pass_between_steps(project):
    @step
    def make():
        return numpy.arange(3)

    @step
    def last(array) -> int:
        return int(array[-1])

    @pipeline
    def arrays():
        last(make())

    assert arrays().steps["last"].outputs["output"].load() == 2


def test_step_may_take_any_kind_of_parameter(project):
    @step
    def many(a, /, b, *rest, c, **more) -> list:
        return [a, b, rest, c, more]

    @pipeline
    def kinds():
        many(1, 2, 3, 4, c=5, d=6)

    assert kinds().steps["many"].outputs["output"].load() == [1, 2, (3, 4), 5, {"d": 6}]


def test_stack_says_where_outputs_go(project):
    project.configure('[stacks.default]\nartifact_store = "outputs"\n')
    run = pipeline(load)()

    assert run.steps["load"].outputs["output"].uri.startswith(str(project.root / "outputs"))


def test_unknown_orchestrator_stops_before_anything_runs(project):
    project.configure('[stacks.default]\norchestrator = "locl"\n')

    with pytest.raises(ConfigError) as caught:
        pipeline(load)()
    assert str(caught.value) == (
        f"{project.file}: stacks.default.orchestrator: "
        "no orchestrator 'locl' is installed; did you mean 'local'?"
    )
    assert not (project.root / ".trackyard" / "runs").exists()


def test_wrong_configuration_stops_before_anything_runs(local):
    ran = []

    @step(experiment_tracker="zebra")
    def last():
        ran.append(1)

    with pytest.raises(ConfigError, match="no experiment tracker 'zebra'") as caught:
        pipeline(last)()
    assert ran == []
    assert caught.value.__cause__ is None  # one error is shown, not two
    assert local.hooks() == []


# What trackers get


def test_every_step_is_a_run_of_its_tracker(local):
    @pipeline
    def training():
        tracked(tracked(1))

    run = training()
    starts = local.calls("start")

    assert local.hooks_by_run() == [["start", "log", "end"]] * 2
    assert [call["step"] for call in starts] == ["tracked", "tracked_2"]
    assert {call["group"] for call in starts} == {run.id}
    assert [call["id"] for call in starts] == [found.id for found in run.steps.values()]
    assert {call["parent"] for call in starts} == {None}


def test_step_without_tracker_is_not_tracked(local):
    pipeline(load)()

    assert local.hooks() == []


def test_step_may_use_every_tracker_of_the_stack(local):
    local.add_tracker("team", Recorder)

    @step(experiment_tracker=True)
    def both():
        log_metric("a", 1)

    run = pipeline(both)()

    assert local.hooks("local") == local.hooks("team") == ["start", "log", "end"]
    metadata = run.steps["both"].run_metadata
    assert metadata["experiment_tracker_url"] == metadata["experiment_tracker_url.local"]
    assert metadata["experiment_tracker_url.team"].startswith("https://tracker.test/both/")


def test_portable_and_native_calls_reach_the_steps_run(local):
    seen = []

    @step(experiment_tracker="local")
    def train():
        seen.append((current_run().id, native_run("local")))
        log_params({"rate": 0.1})

    run = pipeline(train)()

    assert seen == [(run.steps["train"].id, "native train")]
    assert local.logged("params") == [["rate", 0.1]]


def test_own_run_of_a_pipeline_shows_the_params_of_steps_as_they_ended(project):
    project.add_tracker("nests", Nesting)

    @step(retries=1, experiment_tracker="nests", cache=True)
    def train():
        is_again = Path("tried").exists()
        Path("tried").touch()
        log_params({"rate": is_again, "text": "x" * 101, "password": "hunter2"})
        if not is_again:
            raise ValueError("once more")

    for _ in range(2):  # the second time it is taken from the cache
        run = pipeline(train)()
        shown = [
            tuple(pair)
            for call in project.calls("log", tracker="nests")
            if call["id"] == run.id
            for pair in call["params"]
        ]
        assert dict(shown) == {"train.rate": True, "train.password": "***"}
        assert len(shown) == 2


def test_last_metrics_are_recorded_also_without_a_tracker(project):
    @step
    def train():
        log_metric("loss", 2, step=1)
        log_metric("loss", 1, step=2)
        log_metric("odd", float("nan"))

    metrics = pipeline(train)().steps["train"].metrics

    assert metrics["loss"] == 1.0
    assert str(metrics["odd"]) == "nan"


def test_url_is_recorded_while_the_step_runs(local):
    seen = []

    @step(experiment_tracker="local")
    def train():
        seen.append(run_of().steps["train"].run_metadata["experiment_tracker_url"].value)
        seen.append(run_of().steps["train"].status)
        seen.append(run_of().status)

    pipeline(train)()

    assert seen == [
        f"https://tracker.test/train/{run_of().steps['train'].id}",
        "running",
        "running",
    ]


def test_settings_of_a_step_reach_its_tracker(local):
    @step(experiment_tracker="local", settings={"local": {"label": "night", "tags": ["a"]}})
    def train(): ...

    @pipeline
    def training():
        train()
        tracked()

    training()

    assert [call["label"] for call in local.calls("start")] == ["night", ""]
    assert [call["own_tags"] for call in local.calls("start")] == [["a"], []]


def test_outputs_are_stored_before_the_run_is_ended(local):
    @step(experiment_tracker="local")
    def train():
        return threading.Lock()

    with pytest.raises(OutputError, match="an output of type lock cannot be stored"):
        pipeline(train)()

    assert local.hooks() == ["start", "fail"]
    assert local.calls("fail")[0]["failure"]["kind"] == "OutputError"
    assert statuses() == {"train": "failed"}


def test_runs_nest_where_the_tracker_can(project):
    project.add_tracker("nesting", Nesting)
    project.add_tracker("flat", Recorder)

    @step(experiment_tracker=["nesting", "flat"])
    def train(before=None): ...

    @pipeline
    def training(rate=0.1):
        train(train())

    run = training(rate=0.5)
    parent, *children = project.calls("start", "nesting")

    assert (parent["id"], parent["step"], parent["parent"]) == (run.id, None, None)
    assert [child["parent"] for child in children] == [run.id, run.id]
    assert project.logged("params", "nesting") == [["rate", 0.5]]
    assert run.id in [call["id"] for call in project.calls("end", "nesting")]
    assert [call["parent"] for call in project.calls("start", "flat")] == [None, None]


def test_parent_run_ends_with_the_worst_of_its_steps(project):
    project.add_tracker("local", Nesting)

    @pipeline
    def training():
        tracked()
        failing()

    with pytest.raises(ValueError):
        training()
    ends = {call["step"]: call["hook"] for call in project.calls() if call["hook"] != "log"}

    assert ends == {"tracked": "end", "failing": "fail", None: "fail"}


def test_parent_run_is_not_made_where_no_step_uses_the_tracker(project):
    project.add_tracker("local", Nesting)
    pipeline(load)()

    assert project.hooks() == []


def test_disabled_tracking_leaves_the_pipeline_alone(local, monkeypatch):
    monkeypatch.setenv("TRACKYARD_DISABLE", "1")

    @pipeline
    def training():
        tracked(tracked(5))

    run = training()

    assert run.status == "finished"
    assert run.steps["tracked_2"].outputs["output"].load() == 5
    assert local.hooks() == []


# When something fails


def test_users_own_exception_comes_with_its_traceback(local):
    error = ValueError("odd")

    @step
    def breaking():
        raise error

    with pytest.raises(ValueError) as caught:
        pipeline(breaking)()

    assert caught.value is error
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "breaking"


@pytest.mark.parametrize("error", [StopIteration(5), GeneratorExit(), AssertionError()], ids=repr)
def test_exception_of_any_kind_comes_through(local, error):
    @step(experiment_tracker="local")
    def breaking():
        raise error

    with pytest.raises(type(error)) as caught:
        pipeline(breaking)()

    assert caught.value is error
    assert local.hooks() == ["start", "fail"]


def test_dependents_of_a_failed_step_are_skipped_and_the_others_run(local):
    @pipeline
    def training():
        broken = failing(load())
        tracked(tracked(broken))
        tracked(load())

    with pytest.raises(ValueError, match="odd"):
        training()

    assert run_of().status == "failed"
    assert statuses() == {
        "load": "finished",
        "failing": "failed",
        "tracked": "skipped",
        "tracked_2": "skipped",
        "load_2": "finished",
        "tracked_3": "finished",
    }
    assert run_of().steps["failing"].error == "ValueError: odd"
    assert [call["step"] for call in local.calls("start")] == ["failing", "tracked_3"]


def test_first_of_several_errors_is_raised(project):
    @step
    def first():
        raise ValueError("first")

    @step
    def second():
        raise KeyError("second")

    @pipeline
    def breaking():
        first()
        second()

    with pytest.raises(ValueError, match="first"):
        breaking()
    assert statuses() == {"first": "failed", "second": "failed"}


def test_what_a_failed_step_logged_is_kept(local):
    @step(experiment_tracker="local")
    def breaking():
        log_metric("loss", 1)
        raise ValueError

    with pytest.raises(ValueError):
        pipeline(breaking)()

    assert local.logged("metrics") == [["loss", 1.0, None]]
    assert run_of().steps["breaking"].metrics["loss"] == 1.0
    assert run_of().steps["breaking"].outputs == {}


def test_every_attempt_is_a_run_of_its_own(local):
    tries = []

    @step(experiment_tracker="local", retries=3)
    def flaky():
        tries.append(current_run().id)
        log_metric("try", len(tries))
        if len(tries) < 3:
            raise ConnectionError(f"try {len(tries)}")
        return len(tries)

    run = pipeline(flaky)()
    attempts = run.steps["flaky"].attempts

    assert run.status == "finished"
    assert [a.id for a in attempts] == tries
    assert [(a.attempt, a.status, a.error) for a in attempts] == [
        (1, "failed", "ConnectionError: try 1"),
        (2, "failed", "ConnectionError: try 2"),
        (3, "finished", None),
    ]
    assert [a.metrics["try"] for a in attempts] == [1, 2, 3]
    assert [call["attempt"] for call in local.calls("start")] == [1, 2, 3]
    assert [hooks[-1] for hooks in local.hooks_by_run()] == ["fail", "fail", "end"]
    assert len({a.url for a in attempts}) == 3


def test_attempts_come_to_an_end(local):
    @step(retries=1)
    def broken():
        raise ValueError("again")

    with pytest.raises(ValueError, match="again"):
        pipeline(broken)()
    assert [a.status for a in run_of().steps["broken"].attempts] == ["failed", "failed"]


def test_interrupt_kills_the_run_and_skips_the_rest(local):
    @step(experiment_tracker="local", retries=5)
    def interrupted():
        raise KeyboardInterrupt

    @pipeline
    def training():
        tracked()
        interrupted()
        tracked()

    with pytest.raises(KeyboardInterrupt):
        training()

    assert run_of().status == "killed"
    assert statuses() == {"tracked": "finished", "interrupted": "killed", "tracked_2": "skipped"}
    assert local.calls("fail")[0]["failure"]["status"] == "killed"
    assert len(run_of().steps["interrupted"].attempts) == 1


def test_real_control_c_kills_the_run(project):
    project.add_tracker("local", Recorder)
    (project.root / "waiting.py").write_text(
        "import time\n"
        "from trackyard import pipeline, step\n"
        "@step(experiment_tracker='local')\n"
        "def wait():\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "@pipeline\n"
        "def waiting(): wait()\n"
        "waiting()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "waiting.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=project.environment(),
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert "KeyboardInterrupt" in errors
    assert statuses() == {"wait": "killed"}
    assert project.hooks() == ["start", "log", "fail"]  # what it printed


HANGING = """
import time
from trackyard import flavor, hookimpl, pipeline, step
@flavor
class Hanging:
    @hookimpl
    def tracker_start_run(self, run):
        print("starting", flush=True)
        time.sleep(600)
if __name__ == "__main__":
    @step(experiment_tracker="local")
    def quick(): pass
    @pipeline
    def hanging():
        quick()
        quick()
    hanging()
"""


@pytest.fixture
def hanging(project):
    def start(timeouts):
        (project.root / "hanging.py").write_text(HANGING)
        project.configure(
            "[experiment_trackers.local]\nflavor = 'hanging:Hanging'\nisolation = 'thread'\n"
            + timeouts
        )
        return subprocess.Popen(
            [sys.executable, "hanging.py"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=project.environment(),
            text=True,
        )

    return start


def test_tracker_that_never_starts_is_waited_for_once_alone(hanging):
    process = hanging("start_timeout = 1\nflush_timeout = 120\n")
    started = time.monotonic()
    _, errors = process.communicate(timeout=100)

    assert time.monotonic() - started < 60
    assert "starts late" in errors
    assert statuses() == {"quick": "finished", "quick_2": "finished"}


def test_control_c_while_a_tracker_starts_ends_at_once(hanging):
    process = hanging("start_timeout = 120\nflush_timeout = 120\n")
    assert process.stdout.readline() == "starting\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert "KeyboardInterrupt" in errors
    assert statuses() == {"quick": "killed", "quick_2": "skipped"}


def test_control_c_while_trackers_are_waited_for_leaves_a_true_status(project):
    (project.root / "slow.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from trackyard import flavor, hookimpl, log_metric, pipeline, step\n"
        "@flavor\n"
        "class Slow:\n"
        "    @hookimpl\n"
        "    def tracker_log(self, run):\n"
        "        print('waiting', flush=True)\n"
        "        time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    @step(experiment_tracker='local')\n"
        "    def quick(): log_metric('loss', 1)\n"
        "    @pipeline\n"
        "    def ending(): quick()\n"
        "    ending()\n"
    )
    project.configure(
        "[experiment_trackers.local]\nflavor = 'slow:Slow'\nisolation = 'thread'\n"
        "flush_timeout = 50\n"
    )
    process = subprocess.Popen(
        [sys.executable, "slow.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=project.environment(),
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.5)  # the step has ended, and the end is waited for
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert "KeyboardInterrupt" in errors
    assert statuses() == {"quick": "finished"}
    assert run_of().status == "finished"


def test_exit_with_an_error_fails_the_run_and_skips_the_rest(local):
    @step(experiment_tracker="local")
    def leaving():
        sys.exit("no data")

    @pipeline
    def training():
        leaving()
        tracked()

    with pytest.raises(SystemExit):
        training()
    assert statuses() == {"leaving": "failed", "tracked": "skipped"}
    assert run_of().status == "failed"


@pytest.mark.parametrize("text", ["lone \ud800", "nul \0", "\x1b[2J", "x" * 10_000], ids=ascii)
def test_error_of_any_text_is_recorded(local, text):
    error = ValueError(text)

    @step(experiment_tracker="local")
    def breaking():
        raise error

    with pytest.raises(ValueError) as caught:
        pipeline(breaking)()

    assert caught.value is error
    assert statuses() == {"breaking": "failed"}
    assert local.hooks() == ["start", "fail"]


def test_required_tracker_that_cannot_take_everything_fails_the_step(project):
    project.add_tracker("local", Unending, required=True, flush_timeout=0.3)

    @pipeline
    def training():
        tracked(tracked())

    with pytest.raises(RequiredTrackerError, match=r"'local' is required .* no space left"):
        training()
    assert statuses() == {"tracked": "failed", "tracked_2": "skipped"}


def test_tracker_that_cannot_be_ended_fails_nothing(project):
    project.add_tracker("local", Unending, flush_timeout=0.3)
    run = pipeline(tracked)()

    assert run.status == "finished"
    assert run.steps["tracked"].url


def test_changed_output_fails_the_step_that_needs_it(project):
    @step
    def spoil(data: list):
        (path,) = (project.root / ".trackyard" / "artifacts").rglob("output.json")
        path.write_text(json.dumps([666]))

    @pipeline
    def spoiling():
        data = load()
        spoil(data)
        total.with_options(after="spoil")(data)

    with pytest.raises(OutputError, match="has been changed since it was stored"):
        spoiling()
    assert statuses() == {"load": "finished", "spoil": "finished", "total": "failed"}


# Pipelines within and beside each other


def test_pipeline_may_run_inside_a_step(local):
    @step(experiment_tracker="local")
    def inner():
        log_metric("inner", 1)

    inside = pipeline(inner)

    @step(experiment_tracker="local")
    def outer():
        log_metric("before", 1)
        inside()
        log_metric("after", 1)

    pipeline(outer)()
    got = {}
    for call in local.calls("log"):
        got.setdefault(call["step"], []).extend(metric[0] for metric in call["metrics"])

    assert got == {"inner": ["inner"], "outer": ["before", "after"]}


def test_pipelines_may_run_in_two_threads(local):
    barrier = threading.Barrier(2, timeout=10)

    @step(experiment_tracker="local")
    def train(number):
        barrier.wait()
        log_metric(f"m{number}", number)
        barrier.wait()

    @pipeline
    def training(number):
        train(number)

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(training, [1, 2]))

    assert [run.steps["train"].metrics for run in runs] == [{"m1": 1.0}, {"m2": 2.0}]


# What one sees


def test_progress_is_shown_on_stderr(local, capsys):
    @pipeline
    def training():
        tracked(load())

    run = training()
    out, err = capsys.readouterr()

    assert out == ""
    assert err.splitlines()[0] == f"pipeline run {run.name} in {Path.cwd()}"
    assert "  ▸ load running" in err
    assert f"  ▸ tracked running  {run.steps['tracked'].url}" in err
    assert "  ✓ tracked finished  0." in err
    assert "m=1.5" in err
    assert f"  ✓ {run.name} finished" in err


def test_progress_shows_attempts_errors_and_what_is_skipped(local, capsys):
    @pipeline
    def training():
        tracked(failing.with_options(retries=1)())

    with pytest.raises(ValueError):
        training()
    err = capsys.readouterr().err

    assert "  ▸ failing (attempt 2) running" in err
    assert err.count("✗ failing failed") == 2
    assert "ValueError: odd" in err
    assert "  – tracked skipped" in err


def test_progress_may_be_silent(project, monkeypatch, capsys):
    monkeypatch.setenv("TRACKYARD_PROGRESS", "0")
    pipeline(load)()

    assert capsys.readouterr() == ("", "")


# Retries, time limits, callbacks, items


def test_attempts_are_linked_to_each_other(local):
    tries = []

    @step(experiment_tracker="local", retries=2, retry_delay=0)
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise OSError(f"try {len(tries)}")

    run = pipeline(flaky)()

    first, second, third = (call for call in local.calls("start"))
    assert first["tags"] == {}
    assert second["tags"] == {"trackyard.retry_of": first["id"]}
    assert third["tags"] == {"trackyard.retry_of": second["id"]}
    assert local.logged("tags") == [
        ["trackyard.retried_as", second["id"]],
        ["trackyard.retried_as", third["id"]],
    ]
    assert [a.id for a in run.steps["flaky"].attempts] == [first["id"], second["id"], third["id"]]


def test_retries_wait_longer_each_time(project):
    moments = []

    @step(retries=2, retry_delay=0.1)
    def failing():
        moments.append(time.monotonic())
        raise OSError("odd")

    with pytest.raises(OSError, match="odd"):
        pipeline(failing)()

    first, second, third = moments
    assert second - first >= 0.05
    assert third - second >= 0.1


@pytest.mark.parametrize("in_thread", [False, True])
def test_step_that_takes_too_long_fails(local, in_thread):
    @step(experiment_tracker="local", timeout=0.1)
    def endless():
        while True:
            time.sleep(0.01)

    @pipeline
    def slow():
        tracked(endless())
        total(load())

    if in_thread:
        with ThreadPoolExecutor(1) as pool, pytest.raises(StepTimeoutError):
            pool.submit(slow).result()
    else:
        with pytest.raises(StepTimeoutError, match="longer than its timeout"):
            slow()

    assert statuses() == {
        "endless": "failed",
        "tracked": "skipped",
        "load": "finished",
        "total": "finished",
    }
    assert local.calls("fail")[0]["failure"]["kind"] == "StepTimeoutError"
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.parametrize("in_thread", [False, True])
def test_timeout_that_a_step_swallows_is_raised_at_its_end(project, in_thread):
    @step(timeout=0.05)
    def swallowing() -> str:
        with contextlib.suppress(Exception):
            while True:
                time.sleep(0.01)
        return "done"

    with ThreadPoolExecutor(1) as pool, pytest.raises(StepTimeoutError):
        pool.submit(pipeline(swallowing)).result() if in_thread else pipeline(swallowing)()

    assert statuses() == {"swallowing": "failed"}


def test_longest_timeout_is_no_limit(project):
    assert pipeline(load.with_options(timeout=1e30))().status == "finished"
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_callbacks_get_the_step_run_and_change_nothing(local, caplog):
    called = []

    def succeed(found):
        called.append(("success", found.name, found.status, found.url))
        raise RuntimeError("the callback is broken")

    def fail(found):
        called.append(("failure", found.name, found.status, found.error))
        sys.exit(3)

    @pipeline
    def calling():
        tracked.with_options(on_success=succeed, on_failure=fail)()
        failing.with_options(on_success=succeed, on_failure=fail, retries=1, retry_delay=0)()

    with pytest.raises(ValueError, match="odd"):
        calling()

    assert [call[:3] for call in called] == [
        ("success", "tracked", "finished"),
        ("failure", "failing", "failed"),
    ]
    assert called[0][3].startswith("https://tracker.test/")
    assert called[1][3] == "ValueError: odd"
    assert statuses() == {"tracked": "finished", "failing": "failed"}
    assert "the callback is broken" in caplog.text


def test_step_run_has_all_there_is_wherever_it_is_given(local):
    tries, given = [], []

    @step(experiment_tracker="local", retries=1, retry_delay=0, on_success=given.append)
    def unsteady(values) -> int:
        tries.append(len(tries))
        current_run().log_metric("loss", 0.5, step=0)
        current_run().log_param("rate", 0.1)
        if len(tries) == 1:
            raise ValueError("odd")
        return 1

    @pipeline
    def training():
        unsteady(load())

    training()

    client = Client()
    given.append(client.get_output("unsteady.output").made_by)
    given += client.get_output("load.output").read_by[-1:]
    for found in given:
        assert [(a.attempt, a.status) for a in found.attempts] == [(1, "failed"), (2, "finished")]
        assert found.attempts[-1] is found
        assert found.curves["loss"].values == found.attempts[0].curves["loss"].values == [0.5]
        assert (found.params, dict(found.metrics)) == ({"rate": 0.1}, {"loss": 0.5})
        assert [health.tracker for health in found.health] == ["local"]
    assert len(given) == 3


def test_callback_that_hangs_is_left_alone(project, monkeypatch, caplog):
    monkeypatch.setattr("trackyard.pipelines.callbacks.PATIENCE", 0.05)
    leave = threading.Event()

    run = pipeline(load.with_options(on_success=lambda _: leave.wait(20)))()
    leave.set()

    assert run.status == "finished"
    assert "left alone" in caplog.text


def test_step_is_called_for_each_item(local):
    @step(experiment_tracker="local")
    def scaled(number: int, factor: int = 1) -> int:
        return number * factor

    @pipeline
    def mapping():
        doubled = scaled.map(load(), factor=2)
        total(scaled.map(doubled))
        total(scaled.map([4, 5], 1))

    run = mapping()

    assert run.steps["total"].outputs["output"].load() == 6
    assert run.steps["total_2"].outputs["output"].load() == 9
    names = [call["step"] for call in local.calls("start")]
    assert names == [f"scaled[{n}]" for n in range(3)] + [f"scaled_2[{n}]" for n in range(3)] + [
        "scaled_3[0]",
        "scaled_3[1]",
    ]
    assert scaled.map([1, 2], factor=3) == [3, 6]


def test_item_that_fails_skips_what_needs_all(local):
    @step
    def inverse(number: int) -> float:
        return 1 / number

    @pipeline
    def inverses():
        total(inverse.map(load()))

    with pytest.raises(ZeroDivisionError):
        inverses()

    assert statuses() == {
        "load": "finished",
        "inverse[0]": "failed",
        "inverse[1]": "finished",
        "inverse[2]": "finished",
        "total": "skipped",
    }


def test_what_is_no_list_is_not_mapped(project):
    @step
    def single() -> int:
        return 3

    with pytest.raises(PipelineError, match="map needs a list of items, not int"):
        pipeline(lambda: total(load.map(single())))()

    assert statuses() == {"single": "finished", "load[0]": "failed", "total": "skipped"}
    with pytest.raises(PipelineError, match="map needs several items, not 3"):
        pipeline(lambda: load.map(3))()
    with pytest.raises(PipelineError, match="pass them on as one list"):
        pipeline(lambda: list(load.map(single())))()


# Cached steps


def caching_module(install, body):
    """Write a module with a cached step; a file counts its calls."""
    install(
        "cached",
        {
            "cached_steps": f"""
from pathlib import Path
from trackyard import log_metric, pipeline, step
FACTOR = 2
def helper(number):
    return number * FACTOR
@step(experiment_tracker="local", cache=True)
def double(number: int) -> int:
    with Path("calls.txt").open("a") as file:
        file.write("x")
    log_metric("m", number)
    return {body}
@step
def echo(number: int) -> int:
    return number
@pipeline
def doubling(number=1):
    echo(double(echo(number)))
"""
        },
    )
    sys.modules.pop("cached_steps", None)
    return importlib.import_module("cached_steps")


def calls_of(project):
    return len((project.root / "calls.txt").read_text())


def test_cached_step_has_the_original_url_and_says_so(local, install):
    module = caching_module(install, "helper(number)")
    first, second = module.doubling(), module.doubling()

    assert calls_of(local) == 1
    original, cached = first.steps["double"], second.steps["double"]
    assert (original.status, cached.status) == ("finished", "cached")
    assert cached.run_metadata["experiment_tracker_url"].value == original.url
    assert cached.run_metadata["cached_from"] == original.id
    assert cached.outputs["output"].load() == 2
    assert cached.metrics == {"m": 1}
    assert cached.curves["m"].values[-1] == 1
    assert second.status == "finished"
    assert second.steps["echo_2"].outputs["output"].load() == 2
    assert [call["step"] for call in local.calls("start")] == ["double"]
    readers = Client().get_output("doubling.double.output").read_by
    assert [reader.id for reader in readers] == [
        first.steps["echo_2"].id,
        second.steps["echo_2"].id,
    ]


def test_cached_step_is_shown_as_such_with_what_the_original_logged(
    local, install, monkeypatch, capsys
):
    monkeypatch.setenv("TRACKYARD_PROGRESS", "plain")
    module = caching_module(install, "helper(number)")
    url = module.doubling().steps["double"].url
    capsys.readouterr()
    second = module.doubling()
    written = capsys.readouterr().err
    shown = local.trackyard("runs", "show", second.name).stdout
    step_ = Client().get_run(second.name).steps[1]

    assert f"double cached  {url}" in written
    assert re.search(r"^double\s+cached\s", shown, re.MULTILINE)
    assert f"double on local  {url}" in shown
    assert "not on this machine" not in shown
    assert (step_.status, step_.urls, step_.has_journal) == ("cached", {"local": url}, True)
    assert [metric.last for metric in step_.metrics] == [1]
    assert step_.health == ()


def test_other_inputs_or_other_code_are_run(local, install, monkeypatch):
    module = caching_module(install, "helper(number)")
    module.doubling()
    module.doubling(2)
    assert calls_of(local) == 2
    monkeypatch.setattr(module, "FACTOR", 3)
    assert module.doubling().steps["double"].outputs["output"].load() == 3
    assert calls_of(local) == 3
    other = caching_module(install, "helper(number) + 1")
    assert other.doubling().steps["double"].status == "finished"
    assert calls_of(local) == 4


def test_failed_step_and_lost_output_are_run_again(local, install):
    failing_module = caching_module(install, "1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failing_module.doubling()
    assert calls_of(local) == 2

    module = caching_module(install, "helper(number)")
    first = module.doubling()
    Path(first.steps["double"].outputs["output"].uri).unlink()
    assert module.doubling().steps["double"].status == "finished"


def test_what_cannot_be_compared_is_not_cached(project, caplog):
    @step(cache=True)
    def locked(lock):
        pass

    pipeline(lambda: locked(threading.Lock()))()

    assert "cannot be compared" in caplog.text


def test_pickle_of_an_untrusted_store_is_made_again_and_not_taken(project, install):
    project.configure("[stacks.default]\nartifact_store_is_trusted = false\n")
    text = """
from trackyard import pipeline, step
@step(cache=True)
def model() -> object:
    return lambda: 1
@step
def score(model) -> int:
    return model()
@pipeline
def scoring():
    score(model())
"""
    for _ in range(2):  # as two processes would
        install("pickled", {"pickled_steps": text})
        sys.modules.pop("pickled_steps", None)
        run = importlib.import_module("pickled_steps").scoring()
        assert [step.status for step in run.steps.values()] == ["finished", "finished"]


# Outputs by name


def test_output_is_found_by_name_and_version(project):
    @pipeline
    def adding(rows=2):
        total(load(rows))

    first, second = adding(), adding(3)
    client = Client()
    latest, earlier = client.get_output("total.output"), client.get_output("total.output", 1)

    assert (latest.version, latest.load()) == (2, 3)
    assert (earlier.version, earlier.load()) == (1, 1)
    assert latest.made_by.id == second.steps["total"].id
    (reader,) = client.get_output("adding.load.output", 1).read_by
    assert reader.id == first.steps["total"].id
    assert [found.version for found in client.list_outputs("total.output")] == [2, 1]
    assert len(client.list_outputs()) == 2
    assert "version 2" in repr(latest)
    with pytest.raises(OutputNotFoundError, match="has no version 9; the latest is 2"):
        client.get_output("total.output", 9)


def test_parts_of_a_mapped_step_have_read_what_it_maps(project):
    @step
    def items() -> list:
        return [1, 2]

    @step
    def double(item: int) -> int:
        return 2 * item

    @pipeline
    def mapping():
        double.map(items())

    run = mapping()
    readers = Client().get_output("items.output").read_by
    assert {reader.id for reader in readers} == {run.steps[f"double[{n}]"].id for n in (0, 1)}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((None,), "name is a text such as 'training.train.output', not None"),
        (("",), "not ''"),
        (("load.output", True), "version is a whole number from 1, .*, not True"),
        (("load.output", "1"), "not '1'"),
        (("load.output", 0), "not 0"),
    ],
)
def test_wrong_name_or_version_of_an_output_is_named(project, arguments, problem):
    pipeline(lambda: load(2))()

    with pytest.raises(OutputNotFoundError, match=problem):
        Client().get_output(*arguments)
    if len(arguments) == 1 and arguments[0] is not None:
        with pytest.raises(OutputNotFoundError, match=problem):
            Client().list_outputs(*arguments)


@pytest.mark.parametrize("orchestrator", ["local", "process"])
def test_fields_of_a_named_tuple_are_outputs(project, orchestrator):
    project.configure(f'[stacks.default]\norchestrator = "{orchestrator}"\n')

    @step
    def train() -> Fit:
        return Fit("tree", 0.5)

    @step
    def show(fit) -> str:
        return f"{type(fit).__name__} {fit.model}"

    @step
    def echo(value) -> object:
        return value

    @pipeline
    def fitting():
        fit = train()
        model, _ = fit
        show(fit)
        echo(fit.score)
        echo([model])
        show(Fit(model, 1.0))

    steps = fitting().steps
    assert {name: o.load() for name, o in steps["train"].outputs.items()} == {
        "model": "tree",
        "score": 0.5,
    }
    loaded = [steps[name].outputs["output"].load() for name in list(steps)[1:]]
    assert loaded == ["Fit tree", 0.5, ["tree"], "Fit tree"]
    assert len(Client().get_output("train.model").read_by) == 3


def test_field_that_a_named_tuple_lacks_is_named(project):
    @step
    def train() -> Fit:
        return Fit("tree", 0.5)

    @step
    def named() -> NamedTuple("Person", [("name", str), ("age", int)]):
        pytest.fail("it was run")

    with pytest.raises(AttributeError, match="output of step 'train' has no 'modle'"):
        pipeline(lambda: load(train().modle))()
    with pytest.raises(PipelineError, match="an output cannot be called 'name'; rename it"):
        pipeline(named)()


@pytest.mark.parametrize(
    "annotation",
    [
        tuple[int, int] | None,
        tuple[int, ...],
        dict[str, int],
        TypedDict("Both", {"a": int}),
        Fit | None,
    ],
    ids=str,
)
def test_other_annotations_are_of_one_output(project, annotation):
    def both():
        return 1, 2

    both.__annotations__["return"] = annotation
    outputs = pipeline(step(both))().steps["both"].outputs

    assert {name: output.load() for name, output in outputs.items()} == {"output": (1, 2)}
