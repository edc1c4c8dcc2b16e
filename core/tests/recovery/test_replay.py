"""A run moves to another tracker as it was."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from click.testing import CliRunner
from filing import Filing
from recorder import Recorder

from trackyard import Capabilities, Client, flavor, log_metric, log_text, pipeline, start_run, step
from trackyard.cli.main import cli
from trackyard.contract.errors import RunNotFoundError, TrackyardError
from trackyard.project.configuration import find_project
from trackyard.recovery.replay import plan_replay, replay_run
from trackyard.runs.folders import find_runs


@flavor
class Finite(Recorder):
    """Hold no odd numbers."""

    capabilities: ClassVar[Capabilities] = Capabilities(not_a_number="drop")


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments, prog_name="trackyard")


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


def test_the_store_names_the_tracker_that_a_run_was_replayed_to(two_trackers):
    with start_run("moved", experiment_tracker="local") as run:
        run.log_metric("loss", 0.5)
    (found,) = find_runs(find_project(), run.id)
    assert replay_run(found, find_project(), "new").is_complete

    assert [known.id for known in Client().list_runs(tracker="new")] == [run.id]
    assert [known.id for known in Client().list_runs(tracker="local")] == [run.id]


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


# What would be lost


def test_plan_says_what_would_be_lost_or_changed_and_sends_nothing(two_trackers):
    two_trackers.add_tracker("filed", Filing, directory=str(two_trackers.root / "filed"))
    with start_run("moved", experiment_tracker="local") as run:
        run.log_metrics({"loss": 0.5, "a b": 1.0}, step=1.5)
        run.log_param("long", "x" * 100)
        run.set_tag("note", "x")
        run.log_text("kept", "kept.txt")
        run.log_text("gone", "gone.txt")
    (found,) = find_runs(find_project(), "moved")
    (gone,) = found.folder.rglob("gone.txt")
    gone.unlink()
    before = sorted(path for path in find_project().home.rglob("*"))
    plan = plan_replay(found, find_project(), "filed")

    assert (plan.state, plan.metrics, plan.params, plan.tags, plan.artifacts) == ("new", 2, 1, 1, 1)
    assert (plan.lost, plan.losses) == (
        1,
        {"log calls that are damaged, or whose file is gone": 1},
    )
    assert plan.changes == {
        "keys were renamed": 1,
        "steps were rounded to whole numbers of 64 bits": 2,
        "params were shortened, and kept whole as artifacts": 1,
        "artifacts of kind text were sent as another kind": 1,
    }
    assert plan.changed == 5
    assert sorted(path for path in find_project().home.rglob("*")) == before
    assert not (two_trackers.root / "filed").exists()


def test_plan_of_a_backend_without_odd_numbers_counts_them_as_lost(two_trackers):
    two_trackers.add_tracker("finite", Finite)
    with start_run("odd", experiment_tracker="local") as run:
        run.log_metric("loss", float("nan"))
    (found,) = find_runs(find_project(), "odd")
    plan = plan_replay(found, find_project(), "finite")

    assert plan.losses == {"values that are not a number were left out": 1}
    assert plan.changes == {}


def test_plan_knows_what_the_tracker_has_already(two_trackers):
    with start_run("moved", experiment_tracker="local") as run:
        run.log_metric("loss", 1.0)
        (found,) = find_runs(find_project(), run.id)
        assert plan_replay(found, find_project(), "new").state == "running"
    (found,) = find_runs(find_project(), run.id)

    assert plan_replay(found, find_project(), "new").state == "new"
    assert plan_replay(found, find_project(), "local").state == "complete"


def test_command_shows_the_plan(two_trackers):
    two_trackers.add_tracker("finite", Finite)
    with start_run("odd", experiment_tracker="local") as run:
        run.log_metric("loss", float("inf"))
    result = invoke("replay", "odd", run.id, "--to", "finite", "--plan")

    assert (result.exit_code, result.stdout) == (0, "odd\tnew\t1\t0\t0\t0\t1\t0\n")
    assert result.stderr == "odd: lost: values that are not a number were left out (1)\n"
    text = invoke("replay", "odd", "--to", "finite", "--plan", "--json").stdout
    assert json.loads(text)[0]["losses"] == {"values that are not a number were left out": 1}
    assert not (two_trackers.root / "calls" / "finite").exists()


def test_all_runs_are_looked_for_before_one_is_sent(two_trackers):
    with start_run("here", experiment_tracker="local"):
        pass
    result = two_trackers.trackyard("replay", "here", "gone", "--to", "new")

    assert (result.returncode, result.stdout) == (1, "")
    assert two_trackers.hooks("new") == []


def test_pipeline_run_is_found_by_its_name_where_no_tracker_nests(two_trackers):
    @step(experiment_tracker="local")
    def only() -> None:
        log_metric("loss", 1)

    @pipeline
    def single() -> None:
        only()

    run = single()
    assert [r.description.run.step for r in find_runs(find_project(), run.name)] == ["only"]
