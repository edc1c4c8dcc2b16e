"""Are the steps of a pipeline run, tracked and recorded?"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, ClassVar

import numpy
import pytest
from recorder import Recorder
from small_steps import failing, load, run_of, statuses, total, tracked

from trackyard import (
    Capabilities,
    Client,
    ConfigError,
    OutputError,
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
