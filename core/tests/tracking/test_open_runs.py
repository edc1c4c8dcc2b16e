"""Does a run without a block go on until it is told to end, or with its process, everywhere?"""

from __future__ import annotations

import copy
import logging
import pickle
import sys

import pytest
from recorder import Recorder

import trackyard
from trackyard import Client, NoActiveRunError, current_run, log_metric, start_run, step
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import sync_all


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def test_run_goes_on_over_cells_until_it_is_ended(local):
    run = start_run("notebook")
    log_metric("loss", 0.2)
    assert current_run() is run
    assert Client().get_run("notebook").status == "running"
    run.log_metric("loss", 0.1)
    run.end()
    run.end()

    assert Client().get_run("notebook").status == "finished"
    assert [value for _, value, _ in local.logged("metrics")] == [0.2, 0.1]
    assert local.hooks() == ["start", "log", "end"]
    with pytest.raises(NoActiveRunError):
        current_run()


def test_said_status_counts_at_the_end(local):
    run = start_run("notebook")
    run.set_status("killed")
    run.end()

    assert Client().get_run("notebook").status == "killed"


@pytest.mark.parametrize(
    ("last_line", "status", "kind"),
    [
        ("", "finished", None),
        ("sys.exit(0)", "finished", None),
        ("sys.exit(3)", "failed", "SystemExit"),
        ("1 / 0", "failed", "ZeroDivisionError"),
        ("raise KeyboardInterrupt", "killed", "KeyboardInterrupt"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", "killed", "SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "crashed", "Crashed"),
    ],
)
def test_run_that_nobody_ends_ends_as_its_process_does(local, last_line, status, kind):
    code = f"""
import os, signal, sys, time, trackyard
run = trackyard.start_run("notebook")
trackyard.log_metric("loss", 1)
{last_line}
"""
    local.python(code)
    sync_all(find_project(), patience=10)

    assert Client().get_run("notebook").status == status
    (last,) = [call for call in local.calls() if call["hook"] in ("end", "fail")]
    assert last.get("failure", {}).get("kind") == kind


def test_what_python_calls_at_its_end_is_as_before_behind_the_run(local):
    before = sys.excepthook, sys.exit
    run, other = start_run("a"), start_run("b")
    assert (sys.excepthook, sys.exit) != before
    run.end()
    other.end()

    assert (sys.excepthook, sys.exit) == before
    with start_run("c"):
        assert (sys.excepthook, sys.exit) == before


def test_end_of_a_run_that_its_step_ends_is_refused_in_a_warning(local, caplog):
    with trackyard.tracked_step(pipeline="etl", step="train") as run:
        run.end()
        log_metric("loss", 1)

    assert "is ended by its step" in caplog.text
    assert len(local.logged("metrics")) == 1


# An id that travels


def test_run_that_is_copied_is_the_same_run(local):
    with start_run("a") as run:
        assert pickle.loads(pickle.dumps(run)) is run
        assert copy.deepcopy({"run": run})["run"] is run


def test_process_that_gets_a_run_logs_into_it(local):
    with start_run("a") as run:
        code = f"import pickle; pickle.loads({pickle.dumps(run)!r}).log_metric('loss', 1)"
        done = local.python(code, TRACKYARD_RUN_ID="", TRACKYARD_RUN_FOLDER="")

    assert done.returncode == 0, done.stderr
    assert Client().get_run("a").metrics["loss"].last == 1
    assert len(local.logged("metrics")) == 1


def test_run_that_has_ended_is_muted_where_it_arrives_and_said_once(local):
    run = start_run("a")
    packed = pickle.dumps(run)
    run.end()
    code = f"""
import pickle, trackyard
for _ in range(2):
    run = pickle.loads({packed!r})
    run.log_metric("loss", 1)
    run.log_text("text", "a.txt")
"""
    done = local.python(code)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this run has ended") == 1
    assert local.logged("metrics") == []


def test_process_that_inherits_a_run_that_has_ended_warns_once_and_goes_on(local):
    with start_run("a") as run:
        inherited = {"TRACKYARD_RUN_ID": run.id, "TRACKYARD_RUN_FOLDER": str(run.folder)}
    code = """
import trackyard
for number in range(3):
    trackyard.log_metric("loss", number)
with trackyard.start_run("own", nested=True):
    trackyard.log_metric("loss", 1)
"""
    done = local.python(code, **inherited)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this run has ended") == 1
    assert Client().get_run("own").parent is None
    assert local.trackyard("log", "metric", "a", "1", **inherited).returncode == 1


# Steps as functions


@step
def train(rate):
    trackyard.log_param("rate", rate)
    trackyard.log_text("text", "a.txt")
    with start_run("own", experiment_tracker=None, nested=True):
        log_metric("loss", 1)
    return rate


def test_step_that_is_called_as_a_function_may_log(local, caplog):
    caplog.set_level(logging.DEBUG, "trackyard")
    assert train(0.1) == 0.1
    assert train.map([0.1, 0.2]) == [0.1, 0.2]

    assert [r.levelname for r in caplog.records if "outside a pipeline" in r.message] == [
        "DEBUG",
        "DEBUG",
    ]
    assert not [r for r in caplog.records if r.levelno > logging.DEBUG]
    assert {run.name for run in Client().list_runs()} == {"own"}
    with pytest.raises(NoActiveRunError):
        current_run()


def test_step_that_is_called_in_a_run_logs_there(local):
    with start_run("around"):
        train(0.1)

    assert Client().get_run("around").all_params == {"rate": 0.1}


def test_disabled_program_logs_anywhere(local):
    code = """
import trackyard
trackyard.log_metric("loss", 1)
trackyard.log_text("text", "a.txt")
run = trackyard.start_run("a")
run.log_metric("loss", 1)
"""
    done = local.python(code, TRACKYARD_DISABLE="1")

    assert (done.returncode, done.stderr) == (0, "")
    assert not (local.root / ".trackyard").exists()
