"""Is a run one run in MLflow, in the right place, with the right status?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from left_behind import wait_until

from trackyard import (
    Artifact,
    Batch,
    Client,
    Failure,
    Metric,
    Param,
    Tag,
    log_artifact,
    log_metric,
    pipeline,
    start_run,
    step,
)
from trackyard_mlflow import MlflowTracker

RUN_ID = "trackyard.run_id"


@pytest.fixture
def tracker(mlflow_project):
    """Give a function that makes a new instance, as core does for each process."""
    return lambda **fields: MlflowTracker(tracking_uri=mlflow_project.store, **fields)


@step(experiment_tracker=True)
def train(number: int) -> int:
    log_metric("number", number)
    return number


@step
def untracked(number: int) -> int:
    return number + 1


def test_starting_again_continues_the_same_run(mlflow_project, tracker, make_run):
    first = tracker()
    first.tracker_start_run(make_run())
    url = first.tracker_url()
    first.tracker_start_run(make_run())
    for again, run in [
        (tracker(), make_run()),
        (tracker(), make_run(attached=True)),
        (tracker(), make_run("lost", attached=True)),
    ]:
        again.tracker_start_run(run)
        assert again.tracker_url() == url

    (found,) = mlflow_project.runs()
    assert url.endswith(f"/runs/{found.info.run_id}?workflowType=machine_learning")
    assert found.info.status == "RUNNING"


def test_a_start_whose_answer_was_lost_makes_no_second_run(mlflow_project, tracker, make_run):
    """Killed between the creation and the note of the id: the folder has all files but that."""
    run = make_run()
    tracker().tracker_start_run(run)
    kept = {path for path in run.folder.iterdir() if "run_id" not in path.read_text()}
    assert kept != set(run.folder.iterdir())
    for path in set(run.folder.iterdir()) - kept:
        path.unlink()

    tracker().tracker_start_run(run)

    assert len(mlflow_project.runs()) == 1


def test_an_ended_run_is_continued_and_ended_again(mlflow_project, tracker, make_run):
    first = tracker()
    first.tracker_start_run(make_run())
    first.tracker_end_run(make_run(ended_at=2_000_000_000))

    again = tracker()
    run = make_run("elsewhere", attached=True, ended_at=3_000_000_000)
    again.tracker_start_run(run)
    again.tracker_log(run, Batch.of((Metric("late", 1.0, 0, 5_000_000),), 0, 0))
    again.tracker_end_run(run)

    (found,) = mlflow_project.runs()
    assert found.info.status == "FINISHED"
    assert found.info.end_time == 3000
    assert found.data.metrics == {"late": 1}


def test_duplicates_are_tagged_and_ended(mlflow_project, tracker, make_run):
    client = mlflow_project.client()
    experiment = client.create_experiment("made")
    tags = {RUN_ID: make_run().id}
    late, oldest, later = (
        client.create_run(experiment, start_time=start, tags=tags).info.run_id
        for start in (3000, 1000, 2000)
    )
    other = client.create_run(experiment, tags={RUN_ID: "another"}).info.run_id

    for folder in ("one", "two"):
        continued = tracker()
        continued.tracker_start_run(make_run(folder, attached=True))
        assert oldest in continued.tracker_url()

    for duplicate in (late, later):
        found = client.get_run(duplicate)
        assert found.info.status == "KILLED"
        assert found.data.tags["trackyard.duplicate_of"] == oldest
    for run_id in (oldest, other):
        assert client.get_run(run_id).info.status == "RUNNING"
        assert "trackyard.duplicate_of" not in client.get_run(run_id).data.tags


def test_a_run_says_who_it_is(mlflow_project):
    @pipeline
    def named():
        train(1)

    run = named()

    found, parent = mlflow_project.run("train"), mlflow_project.run(run.name)
    tags = {key: value for key, value in found.data.tags.items() if key.startswith("trackyard.")}
    assert tags == {
        "trackyard.run_id": run.steps["train"].id,
        "trackyard.pipeline": "named",
        "trackyard.step": "train",
        "trackyard.attempt": "1",
        "trackyard.group": run.id,
        "trackyard.status": "finished",
    }
    assert parent.data.tags[RUN_ID] == run.id
    assert "trackyard.step" not in parent.data.tags
    client = mlflow_project.client()
    assert client.get_experiment(found.info.experiment_id).name == "named"


def test_another_process_activates_the_run_that_was_started(mlflow_project, tracker, make_run):
    """With a worker process, one instance starts the run and another one activates it."""
    tracker().tracker_start_run(make_run())

    with tracker().tracker_activate_run(make_run(), None, is_starting=False) as active:
        mlflow.log_metric("native", 1)
        mlflow.log_text("native", "native.txt")
        assert active.info.run_id == mlflow.active_run().info.run_id

    found = mlflow_project.run("made")
    assert found.data.metrics == {"native": 1}
    assert found.info.status == "RUNNING"
    assert mlflow_project.artifact(found, "native.txt") == b"native"


def test_a_pipeline_run_is_the_parent_of_its_steps(mlflow_project):
    @pipeline
    def family(rate: float):
        train.with_options(name="second")(untracked(train(1)))

    run = family(0.5)

    parent = mlflow_project.run(run.name)
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"rate": "0.5"}
    assert "mlflow.parentRunId" not in parent.data.tags
    assert mlflow_project.statuses().keys() == {run.name, "train", "second"}
    for name in ("train", "second"):
        child = mlflow_project.run(name)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert parent.info.start_time <= child.info.start_time
        assert child.info.end_time <= parent.info.end_time


def test_a_failed_step_fails_its_parent_and_no_other_step(mlflow_project):
    @step(experiment_tracker=True)
    def fails(number: int):
        raise ValueError("no luck")

    @pipeline
    def unlucky():
        number = train(1)
        fails(number)

    with pytest.raises(ValueError, match="no luck"):
        unlucky()

    run = Client().list_pipeline_runs()[0]
    assert mlflow_project.statuses() == {
        run.name: "FAILED",
        "train": "FINISHED",
        "fails": "FAILED",
    }


def test_a_stopped_step_stops_its_parent(mlflow_project):
    @step(experiment_tracker=True)
    def stopped(number: int):
        raise KeyboardInterrupt

    @pipeline
    def halted():
        stopped(train(1))

    with pytest.raises(KeyboardInterrupt):
        halted()

    run = Client().list_pipeline_runs()[0]
    assert mlflow_project.statuses() == {
        run.name: "KILLED",
        "train": "FINISHED",
        "stopped": "KILLED",
    }


def test_a_tracker_that_no_step_uses_has_no_parent_run(mlflow_project):
    unused = mlflow_project.new_store(mlflow_project.root / "unused.db")
    mlflow_project.configure(f"""
        [experiment_trackers.used]
        flavor = "mlflow"

        [experiment_trackers.unused]
        flavor = "mlflow"
        tracking_uri = "{unused}"
    """)

    @pipeline
    def partly():
        train.with_options(experiment_tracker="used")(1)

    run = partly()

    assert mlflow_project.statuses() == {run.name: "FINISHED", "train": "FINISHED"}
    assert mlflow_project.runs(unused) == []


def test_a_failed_untracked_step_fails_the_parent(mlflow_project):
    @step
    def fails(number: int):
        raise ValueError("no luck")

    @pipeline
    def unlucky():
        fails(train(1))

    with pytest.raises(ValueError, match="no luck"):
        unlucky()

    run = Client().list_pipeline_runs()[0]
    assert mlflow_project.statuses() == {run.name: "FAILED", "train": "FINISHED"}


def test_an_untracked_pipeline_has_no_run(mlflow_project):
    @pipeline
    def plain():
        untracked(untracked(1))

    assert plain().status == "finished"
    assert mlflow_project.runs() == []


def test_without_nested_steps_stand_alone(mlflow_project):
    mlflow_project.configure("""
        [experiment_trackers.flat]
        flavor = "mlflow"
        nested = false
    """)

    @pipeline
    def flat():
        train(1)

    flat()

    (found,) = mlflow_project.runs()
    assert found.info.run_name == "train"
    assert "mlflow.parentRunId" not in found.data.tags


def test_fields_and_settings_say_where_a_run_goes(mlflow_project):
    mlflow_project.configure("""
        [experiment_trackers.local]
        flavor = "mlflow"
        experiment_name = "from the file"
        tags = {team = "fraud", stage = "dev"}
        ui_port = 5123
    """)
    settings = {"local": {"experiment_name": "from the step", "tags": {"stage": "prod"}}}

    @pipeline
    def configured():
        train(train.with_options(name="set", settings=settings)(1))

    run = configured()

    client = mlflow_project.client()
    for name, experiment, stage in [
        ("train", "from the file", "dev"),
        ("set", "from the step", "prod"),
    ]:
        found = mlflow_project.run(name)
        assert client.get_experiment(found.info.experiment_id).name == experiment
        assert found.data.tags["team"] == "fraud"
        assert found.data.tags["stage"] == stage
        assert run.steps[name].url == (
            f"http://127.0.0.1:5123/#/experiments/{found.info.experiment_id}"
            f"/runs/{found.info.run_id}?workflowType=machine_learning"
        )
        parent = mlflow_project.run(run.name).info.run_id
        assert found.data.tags["mlflow.parentRunId"] == parent


def test_a_deleted_experiment_is_restored(mlflow_project):
    with start_run("before", experiment="fraud"):
        pass
    client = mlflow_project.client()
    client.delete_experiment(client.get_experiment_by_name("fraud").experiment_id)

    with start_run("after", experiment="fraud") as run:
        run.log_metric("a", 1)

    assert client.get_experiment_by_name("fraud").lifecycle_stage == "active"
    assert mlflow_project.run("after").data.metrics == {"a": 1}


@pytest.mark.parametrize(
    "name", ["Ünïcode 🎉", "a/b: c", "' or 1=1 --", 'quote " quote', "%", " ", "x" * 500]
)
def test_odd_names_of_experiments_and_runs_are_kept(mlflow_project, name):
    for _ in range(2):
        with start_run(name, experiment=name):
            pass

    first, second = mlflow_project.runs()
    assert first.info.run_name == second.info.run_name == name
    assert first.info.experiment_id == second.info.experiment_id
    assert mlflow_project.client().get_experiment(first.info.experiment_id).name == name


@pytest.mark.parametrize(
    ("name", "kept"), [("half \ud800", "half \\ud800"), ("", "default"), ("x" * 600, "x" * 500)]
)
def test_names_of_experiments_that_mlflow_cannot_hold_are_fitted(mlflow_project, name, kept):
    with start_run(name or "some name", experiment=name, tags={"half \ud800": "\udfff"}) as run:
        run.log_metric("a", 1)

    (found,) = mlflow_project.runs()
    assert found.info.status == "FINISHED"
    assert found.data.tags["half \\ud800"] == "\\udfff"
    assert mlflow_project.client().get_experiment(found.info.experiment_id).name == kept


def test_odd_tags_at_the_start_are_fitted(mlflow_project):
    with start_run("tagged", tags={"what?!": "odd", "": "empty", "long": "x" * 20_000}) as run:
        run.log_metric("a", 1)

    found = mlflow_project.run("tagged")
    assert found.info.status == "FINISHED"
    assert {"odd", "empty"} <= set(found.data.tags.values())
    assert found.data.tags["long"].startswith("xxx")


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (ValueError("bad rows"), "FAILED", "failed"),
        (KeyboardInterrupt(), "KILLED", "killed"),
        (SystemExit(3), "FAILED", "failed"),
        (SystemExit(0), "FINISHED", "finished"),
    ],
)
def test_how_a_run_ended_is_shown(mlflow_project, error, status, shown):
    def ending():
        with start_run("ended") as run:
            run.log_metric("a", 1)
            raise error

    with pytest.raises(type(error)):
        ending()

    found = mlflow_project.run("ended")
    assert found.info.status == status
    assert found.info.end_time >= found.info.start_time
    assert found.data.tags["trackyard.status"] == shown
    assert found.data.metrics == {"a": 1}
    if shown != "finished":
        assert found.data.tags["trackyard.failure"].startswith(type(error).__name__)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_is_shown_as_killed(mlflow_project):
    patience = "start_timeout = 60\nflush_timeout = 60\n"  # it imports MLflow first
    mlflow_project.configure(f'[experiment_trackers.local]\nflavor = "mlflow"\n{patience}')
    code = """
import os, signal, time
from trackyard import start_run
with start_run("told") as run:
    run.log_metric("a", 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=150)

    found = mlflow_project.run("told")
    assert ended.returncode == 128 + 15
    assert found.info.status == "KILLED"
    assert found.data.tags["trackyard.status"] == "killed"
    assert found.data.metrics == {"a": 1}


def test_a_crashed_run_is_shown_as_failed(mlflow_project, tracker, make_run):
    tracker().tracker_start_run(make_run())

    found_dead = tracker()
    run = make_run(attached=True, ended_at=10**18)
    found_dead.tracker_start_run(run)
    found_dead.tracker_fail_run(run, Failure("crashed", "SIGKILL", "found dead", signal=9))

    (found,) = mlflow_project.runs()
    assert found.info.status == "FAILED"
    assert found.info.end_time == 10**12
    assert found.data.tags["trackyard.status"] == "crashed"
    assert found.data.tags["trackyard.failure"] == "SIGKILL: found dead"


@pytest.mark.parametrize("message", ["🎉" * 10_000, "half \ud800", "nul \0"])
def test_an_odd_failure_is_shown_all_the_same(mlflow_project, message):
    with pytest.raises(ValueError), start_run("verbose"):
        raise ValueError(message)

    found = mlflow_project.run("verbose")
    assert found.info.status == "FAILED"
    assert found.data.tags["trackyard.failure"].startswith(f"ValueError: {message[:4]}")


def test_what_is_read_back_is_what_was_logged(mlflow_project, tracker, make_run, tmp_path):
    paths = [tmp_path / "a.txt", tmp_path / "odd ü?%41 #1.txt"]
    for path in paths:
        path.write_text(path.name)
    metrics = {
        Metric("loss", 0.5, 1, 1_700_000_000_123_000_000),
        Metric("loss", 0.25, 2, 1_700_000_000_124_000_000),
        Metric("loss", 0.25, 2, 1_700_000_000_125_000_000),
        Metric("up", float("inf"), 0, 1_700_000_000_124_000_000),
        Metric("down", float("-inf"), -3, 1_700_000_000_124_000_000),
    }
    params = {Param("rate", "0.1"), Param("empty", "")}
    tags = {Tag("team", "fraud"), Tag("mlflow.note.content", "text")}
    artifacts = {"notes/a.txt": paths[0], "deep/er/odd ü?%41 #1.txt": paths[1]}
    written = tracker()
    written.tracker_start_run(make_run())
    everything = [*metrics, *params, *tags]
    everything += [Artifact(name, path, "file") for name, path in artifacts.items()]
    written.tracker_log(make_run(), Batch.of(tuple(everything), 0, len(everything)))

    reader = tracker()
    reader.tracker_start_run(make_run("reading", attached=True))
    read = list(reader.tracker_read_run(make_run("reading", attached=True), None))

    assert {record for record in read if isinstance(record, Metric)} == metrics
    assert {record for record in read if isinstance(record, Param)} == params
    assert {record for record in read if isinstance(record, Tag)} > tags
    found = {a.name: a.path.read_text() for a in read if isinstance(a, Artifact)}
    assert found == {"notes/a.txt": "a.txt", "deep/er/odd ü?%41 #1.txt": "odd ü?%41 #1.txt"}


def test_sending_a_batch_again_changes_nothing(mlflow_project, tracker, make_run):
    records = (Metric("m", 1.0, 1, 10**9), Param("p", "1"), Tag("t", "1"))
    sent = tracker()
    sent.tracker_start_run(make_run())
    for _ in range(3):
        sent.tracker_log(make_run(), Batch.of(records, 0, 2))

    (found,) = mlflow_project.runs()
    assert len(mlflow_project.client().get_metric_history(found.info.run_id, "m")) == 1
    assert found.data.params == {"p": "1"}


def test_a_check_finds_no_problem_where_there_is_none(tracker):
    assert tracker().tracker_check() == []


def test_a_check_names_a_server_that_is_not_there(refusing_server):
    (problem,) = MlflowTracker(tracking_uri=refusing_server).tracker_check()

    assert refusing_server.removeprefix("http://127.0.0.1:") in problem


@pytest.mark.slow
def test_nothing_is_written_into_the_working_directory(tmp_path):
    """In a process of its own, on a store that has to be made, with native calls, too."""
    code = """
import mlflow
from trackyard import log_text, pipeline, start_run, step

@step(experiment_tracker=True)
def save():
    log_text("portable", "deep/portable.txt")
    mlflow.log_text("native", "deep/native.txt")
    mlflow.log_metric("native", 1)

@pipeline
def saving():
    save()

saving()
with start_run("alone") as run:
    run.log_text("alone", "alone.txt")
"""
    (tmp_path / "work").mkdir()
    env = {"TRACKYARD_HOME": str(tmp_path / "home"), "PATH": "", "MLFLOW_DISABLE_TELEMETRY": "true"}

    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path / "work", env=env, timeout=120
    )

    assert list((tmp_path / "work").iterdir()) == []
    names = {path.name for path in (tmp_path / "home" / "mlflow-artifacts").rglob("*.txt")}
    assert names >= {"portable.txt", "native.txt", "alone.txt"}


def test_changing_the_working_directory_in_a_step_changes_nothing(
    mlflow_project, monkeypatch, tmp_path
):
    monkeypatch.delenv("TRACKYARD_HOME")
    store = mlflow_project.new_store(mlflow_project.root / ".trackyard" / "mlflow.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "trackyard.toml").write_text('[experiment_trackers.other]\nflavor = "mlflow"\n')

    @step(experiment_tracker=True)
    def moves() -> int:
        log_metric("before", 1)
        monkeypatch.chdir(elsewhere)
        log_metric("after", 2)
        Path("report.txt").write_text("hello")
        log_artifact("report.txt")
        return 1

    @pipeline
    def moving():
        train(moves())

    run = moving()

    assert run.steps["train"].outputs["output"].load() == 1
    assert mlflow_project.statuses(store) == {
        run.name: "FINISHED",
        "moves": "FINISHED",
        "train": "FINISHED",
    }
    moved = mlflow_project.run("moves", store)
    assert moved.data.metrics == {"before": 1, "after": 2}
    assert mlflow_project.artifact(moved, "report.txt", store) == b"hello"
    assert {path.name for path in elsewhere.iterdir()} == {"trackyard.toml", "report.txt"}


def test_a_relative_store_counts_from_the_project(mlflow_project, monkeypatch, tmp_path):
    monkeypatch.delenv("TRACKYARD_HOME")
    store = mlflow_project.new_store(mlflow_project.root / "data" / "runs.db")
    mlflow_project.configure("""
        [experiment_trackers.local]
        flavor = "mlflow"
        tracking_uri = "sqlite:///data/runs.db"
    """)

    with start_run("first"):
        monkeypatch.chdir(mlflow_project.root / "data")
    with start_run("second"):
        pass

    assert mlflow_project.statuses(store) == {"first": "FINISHED", "second": "FINISHED"}
    assert not (mlflow_project.root / "data" / "data").exists()


def test_a_home_with_an_odd_name_holds_everything(mlflow_project, monkeypatch, tmp_path):
    home = tmp_path / "odd ü #home (1) 100%"
    monkeypatch.setenv("TRACKYARD_HOME", str(home))
    store = mlflow_project.new_store(home / "mlflow.db")

    with start_run("odd") as run:
        run.log_metric("a", 1)
        mlflow.log_metric("b", 2)
        run.log_text("hello", "deep/hello.txt")
        mlflow.log_text("native", "deep/native.txt")

    assert mlflow_project.run("odd", store).data.metrics == {"a": 1, "b": 2}
    texts = {path.name: path.read_text() for path in home.rglob("mlflow-artifacts/**/*.txt")}
    assert texts == {"hello.txt": "hello", "native.txt": "native"}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "experiment"])
def test_what_was_deleted_in_mlflow_is_left_alone_and_gets_everything_when_it_is_restored(
    mlflow_project, caplog, what
):
    client = mlflow_project.client()
    with start_run("baseline", experiment="deleted") as run:
        run.log_metric("loss", 1.0, step=0)
        wait_until(lambda: mlflow_project.run("baseline").data.metrics)
        found = mlflow_project.run("baseline").info
        id_ = found.run_id if what == "run" else found.experiment_id
        getattr(client, f"delete_{what}")(id_)
        for number in range(1, 5):
            run.log_metric("loss", 1.0 / number, step=number)
        run.log_text("report", "report.txt")
    assert caplog.text.count("was deleted there") == 1
    (row,) = Client().sync()
    assert row.state == "incomplete"
    getattr(client, f"restore_{what}")(id_)
    (row,) = Client().sync()

    assert row.state == "complete"
    history = client.get_metric_history(found.run_id, "loss")
    assert [point.step for point in history] == [*range(5)]
    assert mlflow_project.artifact(mlflow_project.run("baseline"), "report.txt") == b"report"
