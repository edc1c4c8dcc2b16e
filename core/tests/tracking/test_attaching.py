"""Do children of a run's process log into the run, once each, by the policy of ranks?"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
from ranked import log_from
from recorder import Recorder

from trackyard import (
    Client,
    NoActiveRunError,
    current_run,
    log_metric,
    pipeline,
    start_run,
    step,
    tracked_step,
)
from trackyard.system.environment import RUN_ID
from trackyard.system.ranks import process_rank
from trackyard.tracking.attaching import attach

CHILD = "import os, trackyard; trackyard.log_metric('child', 1.0); "


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def in_children(method: str, ranks: int) -> None:
    context = multiprocessing.get_context(method)
    children = [context.Process(target=log_from, args=(rank,)) for rank in range(ranks)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * ranks


def test_child_logs_into_the_run_of_its_parent(local):
    with start_run("parent", experiment="e") as run:
        child = local.python(CHILD + "print(trackyard.current_run().url)")
        assert child.stdout.strip() == run.url
    after = local.python(CHILD)

    assert local.logged("metrics") == [["child", 1.0, None]]
    assert len(local.calls("start")) == 1
    assert local.hooks()[-1] == "end"
    assert "NoActiveRunError" in after.stderr


def test_child_of_another_folder_finds_the_run(local, tmp_path):
    with start_run():
        code = f"import os; os.chdir({str(tmp_path)!r}); " + CHILD
        assert local.python(code).returncode == 0

    assert local.logged("metrics") == [["child", 1.0, None]]


def test_child_whose_project_is_named_wrongly_logs_into_the_run_all_the_same(
    local, tmp_path, monkeypatch, caplog
):
    with start_run() as run, monkeypatch.context() as child:
        child.setenv("TRACKYARD_PROJECT", str(tmp_path / "missing"))
        attached = attach(run.id, str(run.folder))
        attached.append_metric(1, None, "child", 1.0)
        attached.leave()

    assert "missing is no folder" in caplog.text
    assert local.logged("metrics") == [["child", 1.0, None]]


def test_log_call_in_a_child_whose_configuration_is_broken_is_said_and_does_not_raise(local):
    with start_run():
        broken = local.root / "elsewhere"
        broken.mkdir()
        (broken / "trackyard.toml").write_text("[", encoding="utf-8")
        local.file.rename(local.root / "kept.toml")
        local.file.write_text("[", encoding="utf-8")
        child = local.python("import os; os.chdir('elsewhere'); " + CHILD)
        (local.root / "kept.toml").rename(local.file)

    assert child.returncode == 0
    assert "what this process logs is not kept" in child.stderr


def test_killed_child_loses_nothing_and_the_run_goes_on(local):
    with start_run():
        local.python(CHILD + "os.kill(os.getpid(), 9)")

    assert local.logged("metrics") == [["child", 1.0, None]]
    assert not local.calls("fail")


@pytest.mark.slow
def test_what_a_child_logs_is_redacted(project, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "very-secret-token")
    project.add_tracker("local", Recorder, token="env:A_TOKEN")
    with start_run():
        project.python("import trackyard; trackyard.set_tag('a', 'x very-secret-token')")

    assert project.logged("tags") == [["a", "x ***"]]


def test_innermost_run_is_named_and_the_environment_is_as_before(local, monkeypatch):
    monkeypatch.setenv(RUN_ID, "outside")
    with start_run() as outer:
        with start_run() as inner:
            assert os.environ[RUN_ID] == inner.id
        assert os.environ[RUN_ID] == outer.id
    assert os.environ[RUN_ID] == "outside"
    assert "TRACKYARD_RUN_FOLDER" not in os.environ


def test_no_run_is_named_while_those_of_two_threads_overlap(local):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with start_run():
            inside.set()
            leave.wait(20)

    with start_run() as run:
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(20)
        assert RUN_ID not in os.environ
        leave.set()
        thread.join()
        assert os.environ[RUN_ID] == run.id
    assert RUN_ID not in os.environ


def test_unknown_run_is_said(project, monkeypatch):
    monkeypatch.setenv(RUN_ID, "0" * 32)
    with pytest.raises(NoActiveRunError, match="does not exist"):
        log_metric("a", 1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_step_with_ranks_has_one_run_and_the_metrics_of_rank_0(local, method, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", local.environment()["PYTHONPATH"])

    @step(experiment_tracker="local")
    def train():
        in_children(method, 3)

    @pipeline
    def distributed():
        train()

    distributed()

    assert len(local.calls("start")) == 1
    assert local.logged("metrics") == [["loss", 0.0, 1]]
    assert local.logged("params") == [["rank", 0]]
    assert [artifact[0] for artifact in local.logged("artifacts")] == ["note.txt"]


def test_all_ranks_are_told_apart_where_the_tracker_wants_all(project):
    project.add_tracker("local", Recorder, rank="all")
    with start_run():
        in_children("fork", 3)

    assert len(project.calls("start")) == 1
    expected = [["loss", 0.0, 1], ["rank1/loss", 1.0, 1], ["rank2/loss", 2.0, 1]]
    assert sorted(project.logged("metrics")) == expected
    names = {artifact[0]: artifact[4] for artifact in project.logged("artifacts")}
    assert names == {"note.txt": "of 0", "rank1/note.txt": "of 1", "rank2/note.txt": "of 2"}


@pytest.mark.slow
def test_torchrun_like_children_that_log_in_a_loop_lose_and_double_nothing(local):
    code = "import trackyard, sys\nfor i in range(500): trackyard.log_metric('m', i, step=i)\n"
    with start_run() as run:
        for i in range(100):
            run.log_metric("own", i, step=i)
        children = [
            subprocess.Popen([sys.executable, "-c", code], env=local.environment(RANK=str(rank)))
            for rank in range(3)
        ]
        assert [child.wait(60) for child in children] == [0, 0, 0]

    metrics = local.logged("metrics")
    assert [m for m in metrics if m[0] == "m"] == [["m", i, i] for i in range(500)]
    assert [m for m in metrics if m[0] == "own"] == [["own", i, i] for i in range(100)]


# What Trackyard itself shows of ranks


def distributed(log=lambda: None):
    """Run a pipeline whose step starts three ranks."""

    @step(experiment_tracker="local")
    def train():
        log()
        in_children("fork", 3)

    @pipeline
    def training():
        train()

    return training()


def test_rank_0_alone_is_shown(local):
    name = distributed().name

    shown = Client().get_pipeline_run(name).steps["train"]
    view = Client().get_run(name).steps[0]
    assert (dict(shown.metrics), shown.params) == ({"loss": 0.0}, {"rank": 0})
    assert {key: curve.values for key, curve in shown.curves.items()} == {"loss": [0.0]}
    assert {key: curve.values for key, curve in view.curves.items()} == {"loss": [0.0]}
    assert (view.params, list(view.artifacts)) == ({"rank": 0}, ["note.txt"])


def test_all_ranks_are_shown_under_the_names_that_the_tracker_gets(project):
    project.add_tracker("local", Recorder, rank="all")
    name = distributed().name

    shown = Client().get_pipeline_run(name).steps["train"]
    view = Client().get_run(name).steps[0]
    losses = {"loss": 0.0, "rank1/loss": 1.0, "rank2/loss": 2.0}
    assert dict(shown.metrics) == losses
    assert {key: curve.values[-1] for key, curve in view.curves.items()} == losses
    assert view.params == {"rank": 0, "rank1/rank": 1, "rank2/rank": 2}
    assert set(view.artifacts) == {"note.txt", "rank1/note.txt", "rank2/note.txt"}


def test_last_value_of_a_metric_is_the_latest_of_the_step_and_its_children(local):
    def log():
        log_metric("own", 7.0)
        log_metric("loss", 9.0, step=0)

    assert dict(distributed(log).steps["train"].metrics) == {"own": 7.0, "loss": 0.0}


def test_what_a_child_logs_is_among_the_metrics_of_another_runners_step(local):
    with tracked_step(pipeline="etl", step="train", run="monday"):
        current_run().log_metric("own", 7.0)
        in_children("fork", 2)

    metrics = Client().get_pipeline_run("etl-monday").steps["train"].metrics
    assert dict(metrics) == {"own": 7.0, "loss": 0.0}


def test_plan_of_a_replay_counts_what_is_sent(project):
    project.add_tracker("local", Recorder)
    project.add_tracker("all", Recorder, rank="all")
    with start_run("r", experiment_tracker="local"):
        in_children("fork", 3)

    plans = [Client().plan_replay("r", to)[0] for to in ("local", "all")]
    assert [(plan.metrics, plan.params, plan.artifacts) for plan in plans] == [(1, 1, 1), (3, 3, 3)]


@pytest.mark.parametrize("text", ["\u00b2", "\u0663", "-1", "", "first", "9" * 5000])
def test_rank_that_is_no_number_is_none(monkeypatch, text):
    monkeypatch.setenv("RANK", text)
    assert process_rank() == 0
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert process_rank() == 3
