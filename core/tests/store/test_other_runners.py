"""Are the steps that another runner starts one pipeline run in the store, whatever happens?"""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import postgresql
import pytest
from matrices import first_by_default
from recorder import Recorder
from sqlalchemy import create_engine, text

from trackyard import Client, ConfigError, log_metric, log_param, start_run, tracked_step
from trackyard.project.configuration import find_project
from trackyard.recovery.drivers import find_dead_drivers
from trackyard.recovery.finishing import end_the_dead
from trackyard.store.other_runners import RunnerStep, place

STEP = """
import os, signal, sys, trackyard
with trackyard.tracked_step(pipeline="etl", step="victim", run="monday", experiment_tracker={of}):
    trackyard.log_metric("last", 1.0)
    {end}
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


@pytest.fixture(params=first_by_default(["sqlite", "postgresql"]))
def local(project, request):
    """A project with a tracker, whose store is sqlite or a team's PostgreSQL."""
    if request.param == "postgresql":
        url = request.getfixturevalue("database")
        engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        project.configure(f'store = "{url}"\n\n')
    project.add_tracker("local", Recorder)
    return project


def do(step, run="monday", *, loss=0.5, **options):
    with tracked_step(pipeline="etl", step=step, run=run, **options) as active:
        log_metric("loss", loss)
    return active


def fail(step, **options):
    with (
        pytest.raises(ZeroDivisionError),
        tracked_step(pipeline="etl", step=step, run="monday", **options),
    ):
        1 / 0


def stored(run="etl-monday"):
    found = Client().get_pipeline_run(run)
    steps = {name: (step.status, step.attempt) for name, step in found.steps.items()}
    return found.status, steps


def test_steps_of_one_run_are_one_pipeline_run(local):
    with tracked_step(pipeline="etl", step="load", run="monday"):
        log_param("rows", 3)
        assert stored() == ("running", {"load": ("running", 1)})
    last = do("train")
    do("train", "tuesday", loss=0.4)
    client = Client()

    assert [run.name for run in client.list_runs()] == ["etl-tuesday", "etl-monday"]
    assert {(run.kind, run.pipeline, run.status) for run in client.list_runs("etl")} == {
        ("pipeline", "etl", "finished")
    }
    assert stored() == ("finished", {"load": ("finished", 1), "train": ("finished", 1)})
    run = client.get_pipeline_run("etl-monday")
    assert run.steps["train"].url == f"https://tracker.test/etl/{last.id}"
    assert run.steps["train"].metrics == {"loss": 0.5}
    assert run.ended_at >= run.steps["train"].ended_at
    view = client.get_run("etl-monday")
    assert [(s.name, dict(s.params)) for s in view.steps] == [("load", {"rows": 3}), ("train", {})]
    assert client.compare_runs("etl-monday", "etl-tuesday").statuses == ("finished", "finished")
    client.delete_run("etl-monday")
    assert [run.name for run in client.list_runs()] == ["etl-tuesday"]


def test_step_that_failed_is_tried_again_and_linked(local):
    fail("train")
    status, steps = stored()
    assert (status, steps) == ("failed", {"train": ("failed", 1)})
    assert Client().get_pipeline_run("etl-monday").steps["train"].error.startswith("ZeroDivision")
    do("train")

    assert stored() == ("finished", {"train": ("finished", 2)})
    first, second = local.calls("start")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert second["tags"]["trackyard.retry_of"] == first["id"]
    assert [s.id for s in Client().get_pipeline_run("etl-monday").steps["train"].attempts] == [
        first["id"],
        second["id"],
    ]


def test_step_that_is_called_again_has_a_number(local):
    do("train")
    do("train")
    fail("train", attempt=1)
    assert stored()[1] == {
        "train": ("finished", 1),
        "train_2": ("finished", 1),
        "train_3": ("failed", 1),
    }
    do("train", attempt=2)
    assert stored() == (
        "finished",
        {"train": ("finished", 1), "train_2": ("finished", 1), "train_3": ("finished", 2)},
    )
    assert [call["name"] for call in local.calls("start")] == [
        "train", "train_2", "train_3", "train_3",
    ]  # fmt: skip


def known(*rows):
    names = ("id", "name", "attempt", "position", "status")
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows]


def test_retry_of_an_attempt_that_is_not_yet_found_dead_is_a_retry():
    step = RunnerStep("c", "g", "etl", "monday", "train", 2, 0)
    running = known(("a", "train", 1, 0, "running"), ("b", "load", 1, 1, "running"))

    placed = place(step, running)
    assert (placed.name, placed.attempt, placed.retry_of) == ("train", 2, "a")
    failed = known(("a", "train", 1, 0, "running"), ("b", "train_2", 1, 1, "failed"))
    assert place(step, failed).retry_of == "b"
    assert place(step, known(("a", "load", 1, 4, "running"))).position == 5


@pytest.mark.parametrize("of", first_by_default(["True", "None"]), ids=["tracked", "untracked"])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "crashed"),
        ("os._exit(0)", "crashed"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed"),
        ("sys.exit(3)", "failed"),
    ],
)
def test_status_of_a_step_is_true_whatever_ends_its_process(project, of, end, status):
    project.add_tracker("local", Recorder)
    do("load")
    project.python(STEP.format(of=of, end=end))
    end_the_dead(find_project())

    assert stored() == (status, {"load": ("finished", 1), "victim": (status, 1)})
    assert Client().get_pipeline_run("etl-monday").steps["victim"].metrics == {"last": 1.0}
    do("victim")
    assert stored()[0] == "finished"


def test_watchdog_notes_the_death_of_a_step_that_is_not_tracked(project):
    project.python(STEP.format(of=None, end="os._exit(0)"), TRACKYARD_WATCHDOG="1")
    deadline = time.monotonic() + 60
    while find_dead_drivers(find_project().home):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert stored() == ("crashed", {"victim": ("crashed", 1)})


def test_death_of_one_step_leaves_the_run_running_while_another_does(local):
    with tracked_step(pipeline="etl", step="load", run="monday"):
        local.python(STEP.format(of=True, end="os._exit(0)"))
        end_the_dead(find_project())
        assert stored()[0] == "running"
        assert stored()[1] == {"load": ("running", 1), "victim": ("crashed", 1)}

    assert stored()[0] == "crashed"


def test_many_processes_write_one_run_at_once(local):
    program = (
        "import sys, trackyard\n"
        "for number in range(6):\n"
        "    with trackyard.tracked_step(\n"
        "        pipeline='etl', step='part', run='monday', experiment_tracker=None\n"
        "    ):\n"
        "        trackyard.log_metric('number', number)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=local.root,
            env=local.environment(),
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    assert [process.communicate(timeout=100)[1] for process in processes] == [b""] * 4

    status, steps = stored()
    assert status == "finished"
    assert sorted(steps) == sorted(["part", *(f"part_{number}" for number in range(2, 25))])
    assert set(steps.values()) == {("finished", 1)}


def test_step_does_not_suffer_from_a_store_that_is_away_which_gets_it_later(project, caplog):
    (project.root / ".trackyard").mkdir()
    (project.root / ".trackyard/store.db").write_text("this is no database")
    project.add_tracker("local", Recorder)
    do("load")
    fail("train")

    assert caplog.text.count("the store cannot be written, and gets step 'load' later") == 1
    assert local_hooks(project) == [["start", "log", "end"], ["start", "fail"]]
    assert len(find_dead_drivers(find_project().home)) == 2

    end_the_dead(find_project())
    assert "the store gets the ends of runs later" in caplog.text
    assert len(find_dead_drivers(find_project().home)) == 2
    (project.root / ".trackyard/store.db").unlink()
    end_the_dead(find_project())
    assert stored() == ("failed", {"load": ("finished", 1), "train": ("failed", 1)})
    run = Client().get_pipeline_run("etl-monday")
    assert run.steps["load"].metrics == {"loss": 0.5}
    assert run.steps["load"].url.startswith("https://tracker.test/etl/")
    assert not find_dead_drivers(find_project().home)


def local_hooks(project):
    return [[hook for hook in hooks if hook != "url"] for hooks in project.hooks_by_run()]


def test_store_that_is_configured_wrongly_is_said_before_the_step(project):
    project.configure('store = "nonsense"\n')

    with (
        pytest.raises(ConfigError, match="store: is no database URL"),
        tracked_step(pipeline="etl", step="a", run="b", experiment_tracker=None),
    ):
        pytest.fail("it ran")
    assert not find_dead_drivers(project.root / ".trackyard")


def test_names_of_runs_may_be_alike_and_long(local):
    with tracked_step(pipeline="a", step="s" * 300, run="b-c", experiment_tracker=None):
        pass
    with tracked_step(pipeline="a-b", step="s", run="c", experiment_tracker=None):
        pass
    with tracked_step(pipeline="p" * 300, step="s", run="r", experiment_tracker=None):
        pass

    assert [run.pipeline for run in Client().list_runs()] == ["p" * 255, "a-b", "a"]


def test_block_that_is_no_step_of_a_run_is_found_in_the_store_all_the_same(project):
    with start_run("alone", experiment_tracker=None):
        log_metric("loss", 0.5)
    with tracked_step(pipeline="etl", step="alone", experiment_tracker=None):
        log_metric("loss", 0.5)

    assert [run.kind for run in Client().list_runs()] == ["step", "run"]
    found = Client().search_runs("metrics.loss = 0.5")
    assert [(run.kind, run.status) for run in found] == [("step", "finished"), ("run", "finished")]


def test_commands_of_a_script_are_one_pipeline_run(project):
    project.add_tracker("local", Recorder)
    command = ["exec", "--pipeline", "nightly", "--run", "monday", "--step"]
    assert project.trackyard(*command, "load", "--", "true").returncode == 0
    assert project.trackyard(*command, "train", "--", "sh", "-c", "exit 3").returncode == 3
    shown = project.trackyard("runs", "list").stdout

    assert shown.split()[:3] == ["nightly-monday", "nightly", "failed"]
    assert project.trackyard(*command, "train", "--", "true").returncode == 0
    assert stored("nightly-monday") == (
        "finished",
        {"load": ("finished", 1), "train": ("finished", 2)},
    )
