"""Does code that begins Comet's experiments by itself get them in a step as it does alone?"""

from __future__ import annotations

import logging
import os

import pytest

from trackyard import Client, start_run
from trackyard.testing import MemoryTracker

TRACKERS = ["team", "memory"]
BEGINNINGS = ["start", "Experiment", "OfflineExperiment"]


@pytest.fixture
def both(project, server):
    project.configure(url=server.url, mode="online", workspace="acme", project="fraud")
    project.add_memory_tracker()
    return server


@pytest.mark.parametrize("how", BEGINNINGS)
def test_the_first_experiment_is_the_steps_whoever_begins_it(both, how, comet_ml):
    with start_run("first", experiment_tracker=TRACKERS) as run:
        experiment = getattr(comet_ml, how)(project_name="fraud")
        experiment.log_metric("loss", 0.5, step=1)
        assert experiment.get_key() == run.id
        assert comet_ml.get_running_experiment() is experiment
        assert experiment.url == run.url
        experiment.end()

    assert both.only.values("loss") == [(1, 0.5)]
    assert [m.value for m in MemoryTracker.runs[run.id].metrics.values()] == [0.5]
    assert not list(Client().get_run(run.id).children)


def test_it_takes_name_and_tags_of_the_call(both, comet_ml):
    with start_run("first", experiment_tracker=TRACKERS):
        config = comet_ml.ExperimentConfig(name="baseline", tags=["mine"])
        experiment = comet_ml.start(experiment_config=config)
        assert (experiment.get_name(), experiment.get_tags()) == ("baseline", ["mine"])

    assert both.only.others["Name"] == "baseline"
    assert both.only.tags == ["mine"]


def test_each_experiment_of_a_loop_is_a_child_run_everywhere(both, comet_ml):
    with start_run("loop", experiment_tracker=TRACKERS) as run:
        for rate in range(3):
            config = comet_ml.ExperimentConfig(name=f"rate={rate}")
            experiment = comet_ml.start(mode="create", experiment_config=config)
            experiment.log_parameter("rate", rate)
            experiment.log_metric("loss", 1 / (1 + rate), step=rate)
            experiment.end()

    children = {child.name: child for child in Client().get_run(run.id).children}
    assert {name: child.status for name, child in children.items()} == {
        "rate=1": "finished",
        "rate=2": "finished",
    }
    for rate in (1, 2):
        child = children[f"rate={rate}"]
        memory = MemoryTracker.runs[child.id]
        assert memory.params == {"rate": rate}
        assert [(m.step, m.value) for m in memory.metrics.values()] == [(rate, 1 / (1 + rate))]
        found = both.experiments[child.id]
        assert found.params == {"rate": rate}
        assert found.values("loss") == [(rate, 1 / (1 + rate))]
        assert found.state == "finished"
        assert found.others["Name"] == f"rate={rate}"
    assert MemoryTracker.runs[run.id].params == {"rate": 0}
    assert len(both.experiments) == 3


def test_an_experiment_that_the_code_leaves_open_ends_with_the_next_or_the_step(both, comet_ml):
    with start_run("left", experiment_tracker=TRACKERS) as run:
        first = comet_ml.Experiment()
        second = comet_ml.Experiment()
        assert first.ended
        second.log_metric("loss", 1, step=1)
        first.log_metric("lost", 1, step=1)

    (child,) = Client().get_run(run.id).children
    assert (child.name, child.status) == ("left-2", "finished")
    assert both.experiments[child.id].values("loss") == [(1, 1)]
    assert both.experiments[run.id].metrics == []


def test_start_gives_what_runs_where_it_asks_for_no_other(both, comet_ml):
    with start_run("again", experiment_tracker=TRACKERS) as run:
        first = comet_ml.start(project_name="fraud")
        assert comet_ml.start(project_name="fraud") is first
        assert comet_ml.start() is first
        assert comet_ml.start(project_name="another") is not first

    assert len(Client().get_run(run.id).children) == 1
    assert {found.project for found in both.experiments.values()} == {"fraud"}


def test_what_does_not_count_is_said_once(both, caplog, comet_ml):
    with caplog.at_level(logging.WARNING), start_run("place", experiment_tracker=TRACKERS):
        for _ in range(2):
            comet_ml.Experiment(project_name="another", experiment_key="k" * 32).end()

    said = [r.getMessage() for r in caplog.records if "Comet's own calls" in r.getMessage()]
    (line,) = said
    assert "project_name='another'" in line
    assert f"experiment_key='{'k' * 32}'" in line
    assert "acme/fraud" in line


def test_a_disabled_experiment_logs_nothing_and_takes_no_run(both, comet_ml):
    with start_run("off", experiment_tracker=TRACKERS) as run:
        comet_ml.Experiment(disabled=True).log_metric("nothing", 1)
        comet_ml.Experiment().log_metric("loss", 1, step=1)

    assert {point["metricName"] for point in both.only.metrics} == {"loss"}
    assert not list(Client().get_run(run.id).children)


COLLECTED = """
import comet_ml, trackyard

with trackyard.start_run("all", experiment_tracker="team") as run:
    print("before")
    comet_ml.start(experiment_config=comet_ml.ExperimentConfig(log_git_metadata=False))
    print("heard")
"""


@pytest.mark.slow
def test_what_the_sdk_collects_by_itself_is_there_and_is_its_own_affair(both, project, monkeypatch):
    for name in [name for name in os.environ if name.startswith("COMET_AUTO_LOG_")]:
        monkeypatch.delenv(name)
    (project.root / "train.py").write_text(COLLECTED)
    done = project.run("train.py")  # the SDK leaves sockets open

    assert done.returncode == 0, done.stderr
    assert "heard" in both.only.output
    assert "before" not in both.only.output
    assert both.only.details["osType"]
    assert both.only.details["installedPackages"]
    assert "branch" not in both.only.details
    assert [f["fileName"] for f in both.only.files.values() if f["type"] == "source_code"]
    assert "sys.ram.total" in {point["metricName"] for point in both.only.metrics}
    (run,) = Client().list_runs()
    assert not Client().get_run(run.id).metrics


def test_without_capture_a_further_experiment_is_the_sdks_own_affair(
    project, server, monkeypatch, comet_ml
):
    project.configure(url=server.url, mode="online", project="fraud", capture=False)
    monkeypatch.setenv("COMET_URL_OVERRIDE", f"{server.url}/clientlib/")
    with start_run("alone") as run:
        comet_ml.Experiment().log_metric("loss", 1, step=1)
        own = comet_ml.OfflineExperiment(offline_directory=str(project.root))
        assert own.get_key() != run.id
        own.end()

    assert server.only.values("loss") == [(1, 1)]
    assert (project.root / f"{own.get_key()}.zip").is_file()


KILLED = """
import os, signal, time
import comet_ml, trackyard

with trackyard.start_run("killed", experiment_tracker="team"):
    comet_ml.start().end()
    second = comet_ml.start(mode="create")
    second.log_metric("loss", 0.5, step=1)
    while '"loss"' not in open(f"{second.tmpdir}/messages.json").read():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_child_run_whose_process_is_killed_is_crashed_and_whole(both, project):
    assert project.python(KILLED).returncode == -9
    for _ in range(2):
        synced = project.sync()
        assert synced.returncode == 0, synced.stdout + synced.stderr

    (run,) = Client().list_runs()
    (child,) = Client().get_run(run.id).children
    assert child.status == "crashed"
    assert Client().get_run(child.id).metrics["loss"].last == 0.5
    assert both.experiments[child.id].values("loss") == [(1, 0.5)]
    assert both.experiments[child.id].state == "crashed"
