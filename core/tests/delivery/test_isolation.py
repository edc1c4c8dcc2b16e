"""Does a tracker in a process of its own get everything, and is the step safe from it?"""

from __future__ import annotations

import os

import pytest
from isolated import Deadly, Loud, Shared
from matrices import first_by_default
from recorder import Recorder

from trackyard import pipeline, start_run, step


def processes(project):
    return {call["process"] for call in project.calls()}


def test_tracker_in_a_process_gets_everything_in_order(project):
    project.add_tracker("local", Recorder, isolation="process")
    (project.root / "file.txt").write_text("content")
    with start_run("baseline", tags={"a": 1}) as run:
        run.log_metrics({"a": 1, "b": float("inf")}, step=2)
        run.log_params({"c": "d", "e": None})
        run.set_tag("lone", "\ud800")
        run.log_artifact("file.txt")
        assert run.native_run("local") == "native baseline"

    assert project.hooks() == ["start", "log", "end"]
    assert os.getpid() not in processes(project)
    assert project.calls("start")[0]["tags"] == {"a": "1"}
    assert project.logged("metrics") == [["a", 1.0, 2], ["b", float("inf"), 2]]
    assert project.logged("params") == [["c", "d"], ["e", None]]
    assert [artifact[4] for artifact in project.logged("artifacts")] == ["content"]


def test_url_is_known_when_the_block_begins(project):
    project.add_tracker("local", Recorder, isolation="process")
    with start_run() as run:
        assert run.url == f"https://tracker.test/default/{run.id}"


def test_failure_reaches_the_process(project):
    project.add_tracker("local", Recorder, isolation="process")
    with pytest.raises(ValueError), start_run():
        raise ValueError("odd \ud800")
    (fail,) = project.calls("fail")

    assert (fail["failure"]["status"], fail["failure"]["kind"]) == ("failed", "ValueError")
    assert fail["failure"]["message"].startswith("odd ")


def test_one_process_serves_all_steps(project):
    project.add_tracker("local", Shared)

    @step(experiment_tracker="local")
    def train(before=None): ...

    @pipeline
    def training():
        train(train(train()))

    training()

    assert project.hooks_by_run() == [["start", "end"]] * 3
    assert len(processes(project)) == 1


@pytest.mark.parametrize("way", first_by_default(["exit", "segfault"]))
@pytest.mark.parametrize("hook", ["start", "log", "end"])
def test_death_of_the_process_costs_nothing(project, hook, way):
    project.add_tracker("local", Deadly, isolation="process", hook=hook, way=way)
    with start_run() as run:
        run.log_metric("a", 1)

    assert project.hooks()[-1] == "end"
    assert project.logged("metrics")[-1] == ["a", 1.0, None]


def test_what_an_sdk_prints_stays_out_of_the_steps_output(project, capfd):
    project.add_tracker("local", Loud, isolation="process")
    with start_run() as run:
        run.log_metric("a", 1)

    assert project.logged("metrics") == [["a", 1.0, None]]
    assert "loud" not in "".join(capfd.readouterr())
