"""A run moves to another tracker as it was."""

from __future__ import annotations

import pytest
from recorder import Recorder

from trackyard import log_metric, log_text, pipeline, start_run, step
from trackyard.config import find_project
from trackyard.errors import RunNotFoundError, TrackyardError
from trackyard.replay import replay_run
from trackyard.run_folders import find_runs


@pytest.fixture
def two_trackers(project):
    project.add_tracker("local", Recorder)
    project.add_tracker("new", Recorder)
    return project


def test_a_run_is_replayed_with_everything_and_only_once(two_trackers):
    with start_run("moved", experiment_tracker="local", tags={"team": "a"}) as run:
        run.log_metric("loss", 0.5, step=7)
        run.log_params({"rate": 0.1})
        run.set_tag("note", "x")
        run.log_text("hello", "texts/note.txt")
    for _ in range(2):
        result = two_trackers.trackyard("replay", "moved", "--to", "new")
        assert (result.returncode, result.stdout.split("\t")[:4]) == (
            0,
            ["moved", "new", "complete", "4"],
        )
    kinds = ("metrics", "params", "tags", "artifacts")

    assert two_trackers.hooks("new") == ["start", "log", "end"]
    for kind in kinds:
        assert two_trackers.logged(kind, "new") == two_trackers.logged(kind) != []
    (start,) = two_trackers.calls("start", "new")
    assert start["tags"] == {"team": "a", "trackyard.replayed_from": "local"}


def test_a_failed_run_is_replayed_as_failed(two_trackers):
    with pytest.raises(ZeroDivisionError), start_run("bad", experiment_tracker="local"):
        raise ZeroDivisionError
    (run,) = find_runs(find_project(), "bad")
    report = replay_run(run, find_project(), "new")

    assert report.is_complete
    (fail,) = two_trackers.calls("fail", "new")
    assert (fail["failure"]["status"], fail["failure"]["kind"]) == ("failed", "ZeroDivisionError")


def test_a_run_that_was_journaled_alone_can_be_replayed(two_trackers):
    with start_run("quiet", experiment_tracker=None) as run:
        run.log_metric("loss", 1)
    (found,) = find_runs(find_project(), run.id[:20])

    assert replay_run(found, find_project(), "new").is_complete
    assert two_trackers.logged("metrics", "new") == [["loss", 1.0, None]]


def test_a_pipeline_run_stands_for_all_its_steps(two_trackers):
    @step(experiment_tracker="local")
    def first() -> int:
        log_metric("first", 1)
        return 1

    @step(experiment_tracker="local")
    def second(number: int) -> None:
        log_text("x", "x.txt")

    @pipeline
    def line() -> None:
        second(first())

    run = line()
    found = find_runs(find_project(), run.id)

    assert [r.description.run.step for r in found] == ["first", "second"]
    result = two_trackers.trackyard("replay", run.id, "--to", "new")
    assert result.returncode == 0
    assert len(two_trackers.calls("end", "new")) == 2


def test_an_unknown_run_or_tracker_is_named(two_trackers):
    with start_run("here", experiment_tracker="local"):
        pass
    with pytest.raises(RunNotFoundError, match="'gone'; the latest run is 'here'"):
        find_runs(find_project(), "gone")
    result = two_trackers.trackyard("replay", "here", "--to", "nwe")

    assert (result.returncode, result.stdout) == (1, "")
    assert "no experiment tracker 'nwe' is configured; did you mean 'new'?" in result.stderr


def test_a_run_that_lives_is_not_replayed(two_trackers):
    with start_run("alive", experiment_tracker="local"):
        (run,) = find_runs(find_project(), "alive")
        with pytest.raises(TrackyardError, match="still running"):
            replay_run(run, find_project(), "new")
