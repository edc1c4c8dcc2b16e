"""In a worker process, nothing that a plugin does harms the step."""

from __future__ import annotations

import os
import time

import pytest
from matrices import first_by_default
from recorder import Recorder
from shared_recorder import SharedRecorder

from trackyard import log_metric, pipeline, start_run, step
from trackyard.delivery import process
from trackyard.delivery.process import worker_process
from trackyard.project.configuration import find_project


@pytest.fixture(autouse=True)
def _modules_for_workers(monkeypatch):
    import sys

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def wait_until(fact, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def process_ids(project) -> set[int]:
    return {call["process"] for call in project.calls()}


def test_hooks_run_in_another_process_where_runs_can_be_shared(project):
    project.add_tracker("local", SharedRecorder)
    for number in range(2):
        with start_run("far") as run:
            run.log_metric("loss", number)
            assert run.url.endswith(run.id)

    assert project.hooks() == ["start", "log", "end"] * 2
    (process,) = process_ids(project)  # one for both runs
    assert process != os.getpid()


def test_hooks_run_here_where_runs_cannot_be_shared_or_isolation_says_so(project):
    project.add_tracker("one", Recorder)
    project.add_tracker("two", SharedRecorder, isolation="thread")
    with start_run("near") as run:
        run.log_metric("loss", 1)

    for tracker in ("one", "two"):
        assert {call["process"] for call in project.calls(tracker=tracker)} == {os.getpid()}


def test_isolation_process_moves_any_flavor(project):
    project.add_tracker("local", Recorder, isolation="process")
    with start_run("far") as run:
        run.log_metric("loss", 1)

    assert os.getpid() not in process_ids(project)
    assert project.hooks() == ["start", "log", "end"]


@pytest.mark.parametrize("fault", first_by_default(["segfault", "exit"]))
def test_a_worker_that_dies_is_started_again_and_nothing_is_lost(project, fault, caplog):
    project.add_tracker("local", SharedRecorder, fault=fault)

    @step(experiment_tracker="local")
    def train() -> int:
        for number in range(100):
            log_metric("loss", number, step=number)
        return 7

    @pipeline
    def line() -> None:
        train()

    run = line()

    assert (run.status, run.steps["train"].outputs["output"].load()) == ("finished", 7)
    logged = project.logged("metrics")
    assert [step for key, _, step in logged if key == "loss"] == list(range(100))
    assert [point for point in logged if point[0] != "loss"] == [["train.loss", 99.0, None]]
    assert project.hooks()[-1] == "end"
    assert len(process_ids(project)) == 2
    assert "its worker process died and is started again" in caplog.text


@pytest.mark.parametrize("fault", first_by_default(["hang", "spin"]))
def test_a_worker_that_hangs_costs_the_flush_budget_and_the_rest_is_kept(project, fault):
    project.add_tracker("local", SharedRecorder, fault=fault, flush_timeout=0.5)
    begun = time.monotonic()
    with start_run("stuck") as run:
        run.log_metric("loss", 1)
    took = time.monotonic() - begun

    assert took < 30  # the hook would take an hour
    assert project.logged("metrics") == []
    worker = worker_process("local", find_project().root, project.root)
    worker.kill()
    wait_until(lambda: project.hooks()[-1:] == ["end"])
    assert project.logged("metrics") == [["loss", 1.0, None]]


def test_a_worker_has_the_environment_and_the_settings_of_the_moment(project, monkeypatch):
    project.add_tracker("local", SharedRecorder)
    with start_run("first"):
        pass
    monkeypatch.setenv("SET_LATER", "there is one")
    with start_run("second", settings={"local": {"token": "env:SET_LATER", "label": "x"}}):
        pass

    assert [call["label"] for call in project.calls("start")] == ["", "x"]
    assert project.hooks() == ["start", "end"] * 2


def test_the_garbage_collector_of_a_worker_passes_over_what_the_sdk_made_at_the_start(project):
    project.add_tracker("local", SharedRecorder)
    for name in ("first", "second"):
        with start_run(name):
            pass

    counts = [call["frozen"] for call in project.calls()]
    # Once, after the first start: what is freed later makes the count smaller.
    assert counts[0] < counts[3] <= counts[2] <= counts[1]


def test_what_a_tracker_refuses_there_is_shown_here(project, caplog):
    project.add_tracker("local", SharedRecorder, fault="refuse", flush_timeout=5.0)
    with start_run("warned") as run:
        run.log_metric("bad", 1)
        run.log_metric("good", 1)

    assert "refused metric 'bad'" in caplog.text
    assert project.logged("metrics") == [["good", 1.0, None]]


def test_a_field_that_is_an_object_keeps_a_tracker_here(project):
    project.add_tracker("local", SharedRecorder)
    with start_run("near", settings={"local": {"anything": object()}}):
        pass

    assert process_ids(project) == {os.getpid()}


def test_what_nobody_reads_of_a_workers_output_is_lost_and_holds_it_up_no_longer(monkeypatch):
    monkeypatch.setattr(process, "_PATIENCE", 1)
    printed, end = process._output()
    with printed, end:
        text = b"x" * 10_000_000  # more than the system keeps for whoever reads
        assert 0 < os.write(end.fileno(), text) < len(text)
        with pytest.raises(BlockingIOError):
            os.write(end.fileno(), text)
