"""Does `tracked_step` give any runner's step its whole life?"""

from __future__ import annotations

import pytest
from recorder import Recorder

from trackyard import (
    ConfigError,
    RequiredTrackerError,
    current_run,
    hookimpl,
    log_metric,
    tracked_step,
)


class Unstartable(Recorder):
    """Cannot be started."""

    @hookimpl
    def tracker_start_run(self, run):
        raise OSError("no such server")


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def test_step_of_another_runner_is_started_logged_and_ended(local):
    with tracked_step(pipeline="etl", step="train", run="2026-11-25", attempt=2) as run:
        assert current_run() is run
        assert run.url == f"https://tracker.test/etl/{run.id}"
        log_metric("loss", 0.5)

    assert local.hooks() == ["start", "log", "end"]
    (start,) = local.calls("start")
    assert (start["name"], start["step"], start["attempt"]) == ("train", "train", 2)
    assert start["tags"] == {"trackyard.run_name": "2026-11-25"}


def test_steps_of_one_run_are_a_group_and_those_of_others_are_not(local):
    for run in ("a", "a", "b", None):
        with tracked_step(pipeline="etl", step="train", run=run):
            pass

    first, second, other, none = [call["group"] for call in local.calls("start")]
    assert first == second != other
    assert none is None


def test_step_that_raises_is_failed_and_its_exception_goes_on(local):
    with pytest.raises(ZeroDivisionError), tracked_step(pipeline="etl", step="train"):
        1 / 0

    assert local.calls("fail")[0]["failure"]["kind"] == "ZeroDivisionError"


def test_settings_and_several_trackers(local):
    local.add_tracker("other", Recorder)
    settings = {"other": {"label": "x"}}
    with tracked_step(
        pipeline="etl", step="a", experiment_tracker=["other"], settings=settings, tags={"k": 1}
    ):
        pass

    (start,) = local.calls("start", "other")
    assert (start["label"], start["tags"]) == ("x", {"k": "1"})
    assert not local.calls()


def test_unknown_tracker_is_said_before_the_step(local):
    with (
        pytest.raises(ConfigError, match="no experiment tracker 'locl'"),
        tracked_step(pipeline="etl", step="a", experiment_tracker="locl"),
    ):
        pytest.fail("it ran")


def test_broken_tracker_changes_nothing_unless_it_is_required(project):
    project.add_tracker("broken", Unstartable, start_timeout=0.2)
    with tracked_step(pipeline="etl", step="a"):
        reached = True
    assert reached

    project.file.unlink()
    project.add_tracker("broken", Unstartable, start_timeout=0.2, required=True)
    with (
        pytest.raises(RequiredTrackerError, match="no such server"),
        tracked_step(pipeline="etl", step="a"),
    ):
        pytest.fail("it ran")
