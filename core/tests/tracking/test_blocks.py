"""Does `tracked_step` give any runner's step its whole life?"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
import gc
import sys
import uuid
import weakref

import numpy
import pytest
from left_behind import wait_until
from matrices import first_by_default
from recorder import Recorder

from trackyard import (
    Client,
    ConfigError,
    NoActiveRunError,
    RequiredTrackerError,
    current_run,
    hookimpl,
    log_metric,
    log_param,
    start_run,
    tracked_step,
)
from trackyard.project.configuration import find_project


class Unstartable(Recorder):
    """Cannot be started."""

    @hookimpl
    def tracker_start_run(self, run):
        raise OSError("no such server")


class Late(Recorder):
    """Is up only when the store has the step's end."""

    @hookimpl
    def tracker_start_run(self, run):
        wait_until(lambda: Client().get_pipeline_run("etl-monday").status == "finished")
        return super().tracker_start_run(run)


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


def test_url_of_a_tracker_that_starts_after_the_block_stands_in_the_store(project):
    project.add_tracker("local", Late, start_timeout=0, flush_timeout=60, isolation="thread")
    with tracked_step(pipeline="etl", step="train", run="monday") as run:
        assert run.url is None

    step = Client().get_pipeline_run("etl-monday").steps["train"]
    assert step.run_metadata["experiment_tracker_url"] == f"https://tracker.test/etl/{run.id}"


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


# What users give it


class Word(str, enum.Enum):  # noqa: UP042 - people write it so
    TRAIN = "train"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pipeline": None}, "pipeline: must be a text that is not empty, not None; type: pip"),
        ({"pipeline": b"etl"}, "pipeline: must be a text that is not empty, not a bytes"),
        ({"step": ""}, "step: must be a text that is not empty, not ''"),
        ({"step": 7}, "step: must be a text that is not empty, not 7"),
        ({"run": ""}, "run: must be a text that is not empty, not ''"),
        ({"run": [1]}, "run: must be a text that is not empty, not a list"),
        ({"attempt": 0}, "attempt: must be a whole number from 1, not 0; type: attempt=2"),
        ({"attempt": "two"}, "attempt: must be a whole number from 1, not 'two'"),
        ({"attempt": 1.5}, "attempt: must be a whole number from 1, not 1.5"),
        ({"attempt": True}, "attempt: must be a whole number from 1, not True"),
        ({"attempt": 10**12}, "attempt: must be a whole number from 1"),
        ({"tags": 3}, "tags: must be a dict, not 3; type: tags="),
        ({"settings": 3}, "settings: must be a dict, not 3"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_argument_is_said_before_the_step_and_leaves_nothing(local, wrong, said):
    given = {"pipeline": "etl", "step": "train", "run": "monday", **wrong}
    with pytest.raises(ConfigError) as raised, tracked_step(**given):
        pytest.fail("it ran")

    assert str(raised.value).startswith(said)
    assert not [*(local.root / ".trackyard").glob("drivers/*")]
    assert not local.calls()


@pytest.mark.parametrize("wrong", [{"name": 5}, {"experiment": 5}, {"tags": [1]}], ids=str)
def test_wrong_argument_of_a_run_is_said_before_it(local, wrong):
    with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}: must be"), start_run(**wrong):
        pytest.fail("it ran")


@pytest.mark.parametrize("attempt", [2, "2", " 2\n", numpy.int64(2)], ids=repr)
def test_attempt_may_be_a_text_of_digits_as_the_environment_gives_it(local, attempt):
    for number in (1, attempt):
        with tracked_step(pipeline="etl", step=Word.TRAIN, run="monday", attempt=number):
            pass

    assert [(call["name"], call["attempt"]) for call in local.calls("start")] == [
        ("train", 1),
        ("train_2", 2),
    ]


@pytest.mark.parametrize("run", [7, uuid.UUID(int=7), datetime.date(2026, 11, 25)], ids=str)
def test_run_may_be_a_number_a_uuid_or_a_date(local, run):
    with tracked_step(pipeline="etl", step="train", run=run):
        pass

    assert local.calls("start")[0]["tags"] == {"trackyard.run_name": str(run)}


@pytest.mark.parametrize("odd", ["a\ud800b", "a\0b"], ids=ascii)
def test_odd_names_reach_the_store_and_the_tracker_as_escapes(local, odd):
    shown = odd.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")

    def fail(**given):
        with tracked_step(**given, tags={odd: odd}):
            log_param(odd, odd)
            1 / 0

    for attempt in (1, 2):
        with pytest.raises(ZeroDivisionError):
            fail(pipeline=odd, step=odd, run=odd, attempt=attempt)

    start, second = local.calls("start")
    assert (start["step"], start["name"]) == (shown, shown)
    assert start["tags"] == {"trackyard.run_name": shown, shown: shown}
    assert local.logged("params")[0][1] == shown
    assert (start["group"], second["attempt"]) == (second["group"], 2)
    (stored,) = Client().list_pipeline_runs()
    assert (stored.name, stored.status) == (f"{shown}-{shown}", "failed")
    assert [s.attempt for s in stored.steps[shown].attempts] == [1, 2]
    assert not [*(find_project().home / "drivers").glob("*.json")]


# Generators and tasks


def counted(name, log=None):
    """Count within a run of its own, and log by the run itself."""
    with tracked_step(pipeline="etl", step=name) as run:
        for number in range(3):
            run.log_metric(name, number, number)
            if log is not None:
                log(name)
            yield number


def metrics_by_step(local):
    names = {call["id"]: call["step"] for call in local.calls("start")}
    found = {name: [] for name in names.values()}
    for call in local.calls("log"):
        found[names[call["id"]]] += [key for key, *_ in call["metrics"]]
    return found


def test_generators_that_take_turns_log_on_their_own_runs(local):
    for _ in zip(counted("a"), counted("b"), strict=True):
        pass

    assert metrics_by_step(local) == {"a": ["a"] * 3, "b": ["b"] * 3}


@pytest.mark.parametrize("outer", [0, 1, 2])
def test_current_run_is_the_innermost_that_goes_on_whatever_ends_first(local, outer):
    with contextlib.ExitStack() as stack:
        outside = [
            stack.enter_context(tracked_step(pipeline="etl", step=f"o{number}"))
            for number in range(outer)
        ]
        first, second = counted("first"), counted("second")
        next(first)
        next(second)
        innermost = current_run()
        first.close()
        assert current_run() is innermost
        assert innermost.name == "second"
        log_metric("current", 1)
        second.close()
        if outside:
            assert current_run() is outside[-1]
            log_metric("current", 1)
        else:
            with pytest.raises(NoActiveRunError):
                current_run()

    assert metrics_by_step(local)["second"] == ["second", "current"]
    assert metrics_by_step(local)["first"] == ["first"]


@pytest.mark.slow
def test_runs_of_generators_that_overlap_for_long_are_let_go(local):
    ended = []
    running = counted("0")
    next(running)
    for number in range(1, 4):
        following = counted(str(number))
        next(following)
        ended.append(weakref.ref(current_run()))
        running.close()
        running = following
    gc.collect()

    assert [run() for run in ended[:-1]] == [None] * 2
    running.close()


def test_generator_that_is_left_early_has_failed(local):
    generator = counted("train")
    next(generator)
    generator.close()

    (failure,) = [call["failure"] for call in local.calls("fail")]
    assert (failure["status"], failure["kind"]) == ("failed", "GeneratorExit")


def test_task_that_is_cancelled_is_killed(local):
    async def wait(started):
        with tracked_step(pipeline="etl", step="train", run="monday"):
            started.set()
            await asyncio.sleep(60)

    async def cancel():
        started = asyncio.Event()
        task = asyncio.create_task(wait(started))
        await started.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel())

    assert local.calls("fail")[0]["failure"]["status"] == "killed"
    step = Client().get_pipeline_run("etl-monday").steps["train"]
    assert (step.status, step.error) == ("killed", "CancelledError")


STARTING = """
import os, signal, time, trackyard
from trackyard.client import Client

@trackyard.flavor
class Hanging:
    @trackyard.hookimpl
    def tracker_start_run(self, run):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)

if __name__ == "__main__":
    try:
        with trackyard.start_run("baseline", experiment_tracker="local"):
            print("not reached")
    except KeyboardInterrupt:
        print(Client().get_run("baseline").status, flush=True)
    os._exit(0)
"""


def test_run_that_is_interrupted_while_it_starts_has_ended_though_the_process_goes_on(project):
    """As in a notebook: nobody would come to end it."""
    (project.root / "hanging.py").write_text(STARTING)
    project.configure(
        "[experiment_trackers.local]\nflavor = 'hanging:Hanging'\nisolation = 'thread'\n"
        "start_timeout = 100\n"
    )
    result = project.command(sys.executable, "hanging.py")

    assert result.stdout == "killed\n", result.stderr


# Blocks that are open when the process ends

OPEN = """
import contextlib, os, signal, sys, trackyard
def counted():
    with trackyard.tracked_step(pipeline="etl", step="train", run="monday") as run:
        for number in range(3):
            run.log_metric("number", number)
            yield number
generator, stack = counted(), contextlib.ExitStack()
{begin}
{end}
"""


@pytest.mark.parametrize(
    "begin",
    first_by_default(
        [
            "next(generator)",
            "stack.enter_context(trackyard.tracked_step(pipeline='etl', step='a', run='monday'))",
        ]
    ),
    ids=["generator", "stack"],
)
@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", -2),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("import threading; threading.Thread(target=next, args=(generator,)).start()", 0),
    ],
    ids=["end", "exit", "Ctrl-C", "SIGTERM", "thread"],
)
def test_process_that_ends_amid_a_block_ends_its_run_and_waits_for_nothing(
    project, begin, end, code
):
    for name in ("local", "other"):
        project.add_tracker(name, Recorder)
    result = project.python(OPEN.format(begin=begin, end=end))

    assert result.returncode == code, result.stderr
    for name in ("local", "other"):
        failures = [call["failure"] for call in project.calls("fail", name)]
        assert [failure["status"] for failure in failures] == ["killed"] * len(failures)
        assert len(failures) == len(project.calls("start", name)) >= 1
    assert Client().get_pipeline_run("etl-monday").status == "killed"
    assert not [*(find_project().home / "drivers").glob("*.json")]


def test_child_that_is_forked_amid_a_block_leaves_its_run_alone(local):
    code = (
        "import os, sys, trackyard\n"
        "stack = trackyard.tracked_step(pipeline='etl', step='fork')\n"
        "run = stack.__enter__()\n"
        "if os.fork() == 0:\n"
        "    sys.exit(0)\n"
        "os.wait()\n"
        "run.log_metric('after', 1)\n"
        "stack.__exit__(None, None, None)\n"
    )
    result = local.python(code)

    assert (result.returncode, result.stderr) == (0, "")
    assert local.logged("metrics") == [["after", 1.0, None]]
    assert not local.calls("fail")
