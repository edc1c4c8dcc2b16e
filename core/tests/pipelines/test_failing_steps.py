"""What becomes of a pipeline run when something in it fails, or is interrupted?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import traceback

import pytest
from recorder import Recorder
from small_steps import failing, load, run_of, statuses, total, tracked

from trackyard import (
    OutputError,
    RequiredTrackerError,
    current_run,
    hookimpl,
    log_metric,
    pipeline,
    step,
)


class Unending(Recorder):
    """Cannot be ended."""

    @hookimpl
    def tracker_end_run(self, run):
        raise OSError("no space left")


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
    project.add_tracker("local", Unending, required=True, flush_timeout=2)

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
