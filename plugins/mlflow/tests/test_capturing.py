"""Does what MLflow's own calls log reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import mlflow
import numpy
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from trackyard import Client, start_run
from trackyard.cli.main import cli
from trackyard.contract import Model
from trackyard.testing import MemoryTracker

BOTH = """
[experiment_trackers.local]
flavor = "mlflow"
start_timeout = 60
flush_timeout = 60

[experiment_trackers.memory]
flavor = "trackyard.testing:MemoryTracker"
flush_timeout = 60
"""
TRACKERS = ["local", "memory"]


@pytest.fixture
def both(mlflow_project):
    mlflow_project.configure(BOTH)
    MemoryTracker.runs.clear()
    return mlflow_project


def stored(run):
    return MemoryTracker.runs[run.id]


def points(run, key):
    return [(m.step, m.value) for m in stored(run).metrics.values() if m.key == key]


def history(project, name, key):
    client, found = project.client(), project.run(name)
    return [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, key)]


def test_params_metrics_and_tags_reach_the_other_trackers_and_stand_in_mlflow_once(both):
    with start_run("all", experiment_tracker=TRACKERS) as run:
        mlflow.log_param("rate", 0.1)
        mlflow.log_params({"depth": 3, "name": "sgd"})
        mlflow.set_tag("team", "fraud")
        for step in range(3):
            mlflow.log_metric("loss", 1 / (1 + step), step=step)
        mlflow.log_metrics({"a": 1, "b": 2}, step=7)
        run.log_metric("portable", 5)

    assert stored(run).params == {"rate": "0.1", "depth": "3", "name": "sgd"}
    assert stored(run).tags["team"] == "fraud"
    assert not [key for key in stored(run).tags if key.startswith("mlflow.")]
    assert points(run, "loss") == history(both, "all", "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert points(run, "a") == [(7, 1.0)]
    assert history(both, "all", "portable") == [(0, 5.0)]
    assert Client().get_run(run.id).metrics["loss"].last == 1 / 3


def test_times_are_those_of_mlflow(both):
    with start_run("times", experiment_tracker=TRACKERS) as run:
        mlflow.log_metric("loss", 1, timestamp=1_790_000_000_123)

    (metric,) = stored(run).metrics.values()
    assert metric.timestamp == 1_790_000_000_123_000_000


def test_artifacts_of_all_kinds_are_captured(both, tmp_path):
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/a.bin").write_bytes(b"a")
    (tmp_path / "one.txt").write_text("one")
    rows = mlflow.data.from_numpy(numpy.arange(4.0), name="rows")
    with start_run("files", experiment_tracker=TRACKERS) as run:
        mlflow.log_input(rows, context="training")
        mlflow.log_artifact(str(tmp_path / "one.txt"), "notes")
        mlflow.log_artifacts(str(tmp_path / "folder"), "kept")
        mlflow.log_text("two", "two.txt")
        mlflow.log_dict({"a": 1}, "config.json")
        mlflow.log_image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), "zero.png")
        mlflow.log_table({"a": [1, 2]}, "rows.json")
        for step in (3, 4):
            seen = numpy.full((4, 4, 3), step, dtype=numpy.uint8)
            mlflow.log_image(seen, key="seen", step=step)
        mlflow.flush_artifact_async_logging()

    found = {name: (a.kind, a.path.read_bytes()) for name, a in stored(run).artifacts.items()}
    assert found["notes/one.txt"] == ("text", b"one")
    assert found["kept/deep/a.bin"] == ("file", b"a")
    assert found["two.txt"] == ("text", b"two")
    assert b'"a": 1' in found["config.json"][1]
    assert found["zero.png"][0] == "image"
    assert found["rows.json"] == ("table", b'{"columns":["a"],"data":[[1],[2]]}')
    dataset = json.loads(found["datasets/rows.json"][1])
    assert (dataset["digest"], dataset["context"]) == (rows.digest, "training")
    assert Client().get_run(run.id).artifacts["datasets/rows.json"].kind == "dataset"
    assert len(found) == 8
    images = [a for a in stored(run).artifacts.values() if a.name == "seen.png"]
    assert [(image.kind, image.step) for image in images] == [("image", 4)]
    (there,) = both.run("files").inputs.dataset_inputs  # once
    assert there.dataset.digest == rows.digest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint")  # MLflow's own, when it is imported
def test_a_model_is_one_everywhere(both):
    rows = numpy.arange(20.0).reshape(10, 2)
    fitted = LinearRegression().fit(rows, rows[:, 0])
    signature = mlflow.models.infer_signature(rows, rows[:, 0])
    said = {"pip_requirements": ["scikit-learn"], "signature": signature}
    said["serialization_format"] = "cloudpickle"
    with start_run("model", experiment_tracker=TRACKERS) as run:
        with mlflow.start_run(run_name="net-run"):
            mlflow.sklearn.log_model(fitted, name="net", **said)
        with mlflow.start_run(run_name="second"):
            mlflow.sklearn.log_model(fitted, name="other", **said)

    (child,) = Client().get_run(run.id).children
    for of, name in ((run.id, "net"), (child.id, "other")):
        found = MemoryTracker.runs[of].artifacts
        kinds = {n: a.kind for n, a in Client().get_run(of).artifacts.items() if n in found}
        assert {kinds[n] for n in kinds if n != "console.log"} == {"model"}
        model = Model.read(found[f"{name}/trackyard-model.json"])
        assert (model.framework, model.signature) == ("sklearn", signature.to_dict())
        assert {"MLmodel", "requirements.txt"} <= {file.name for file in model.files}
    assert len(both.run("net-run").outputs.model_outputs) == 1  # once
    store = both.new_store(both.root / "again.db")
    both.configure(
        f'{BOTH}[experiment_trackers.again]\nflavor = "mlflow"\n'
        f'tracking_uri = "{store}"\nflush_timeout = 60\n'
    )
    assert CliRunner().invoke(cli, ["replay", child.id, "--to", "again"]).exit_code == 0
    (output,) = both.run("second", store).outputs.model_outputs
    logged = both.client(store).get_logged_model(output.model_id)
    loaded = mlflow.sklearn.load_model(logged.artifact_location)
    assert loaded.predict(rows[1:2]) == pytest.approx([2.0])


def test_autologging_is_captured(both):
    with start_run("fit", experiment_tracker=TRACKERS) as run:
        mlflow.sklearn.autolog(log_models=False, silent=True)
        rows = numpy.arange(20.0).reshape(10, 2)
        LinearRegression().fit(rows, rows[:, 0])

    assert stored(run).params["fit_intercept"] == "True"
    assert "training_score" in {metric.key for metric in stored(run).metrics.values()}
    assert both.run("fit").data.params["fit_intercept"] == "True"


def test_calls_without_waiting_and_calls_in_threads_are_captured(both):
    with start_run("threads", experiment_tracker=TRACKERS) as run:
        mlflow.log_metric("later", 1, synchronous=False)
        mlflow.flush_async_logging()
        thread = threading.Thread(target=lambda: mlflow.log_metric("there", 2))
        thread.start()
        thread.join()

    assert points(run, "later") == [(0, 1.0)]
    assert points(run, "there") == [(0, 2.0)]


def test_what_mlflow_refuses_is_captured_by_nobody(both):
    with start_run("refused", experiment_tracker=TRACKERS) as run:
        mlflow.log_param("rate", 1)
        with pytest.raises(mlflow.MlflowException):
            mlflow.log_param("rate", 2)

    assert stored(run).params == {"rate": "1"}


def test_a_run_of_anothers_is_left_alone(both):
    client = both.client()
    other = client.create_run("0", run_name="other").info.run_id
    with start_run("mine", experiment_tracker=TRACKERS) as run:
        mlflow.MlflowClient().log_metric(other, "theirs", 1)

    assert points(run, "theirs") == []


def test_a_replay_has_what_native_calls_logged(both):
    with start_run("moved", experiment_tracker=["local"]) as run:
        mlflow.log_metric("loss", 0.5, step=2)

    assert CliRunner().invoke(cli, ["replay", run.id, "--to", "memory"]).exit_code == 0
    assert points(run, "loss") == [(2, 0.5)]


def test_stores_are_as_they_were_after_the_run(both):
    store = mlflow.tracking._tracking_service.utils._get_store(both.store)
    before = type(store)
    with start_run("seen", experiment_tracker=TRACKERS):
        mlflow.log_metric("loss", 1)
        assert type(store) is not before
        assert isinstance(store, before)

    assert type(store) is before


def test_each_run_of_a_loop_is_a_child_run_everywhere(both):
    with start_run("loop", experiment_tracker=TRACKERS) as run:
        for rate in range(3):
            said = {"tags": {"kind": "trial"}, "description": f"the note of {rate}"}
            with mlflow.start_run(run_name=f"rate={rate}", **said):
                mlflow.log_param("rate", rate)
                mlflow.log_metric("loss", 1 / (1 + rate), step=rate)
        mlflow.start_run(run_name="pruned")
        mlflow.end_run("KILLED")

    children = {child.name: child for child in Client().get_run(run.id).children}
    assert {name: child.status for name, child in children.items()} == {
        "rate=1": "finished",
        "rate=2": "finished",
        "pruned": "killed",
    }
    for rate in (1, 2):
        memory = MemoryTracker.runs[children[f"rate={rate}"].id]
        assert memory.params == {"rate": str(rate)}
        assert memory.status == "finished"
        assert memory.tags["kind"] == "trial"
        assert (memory.tags["mlflow.note"], "mlflow.name" in memory.tags) == (
            f"the note of {rate}",
            False,  # it is the child run's own
        )
        assert [(m.step, m.value) for m in memory.metrics.values()] == [(rate, 1 / (1 + rate))]
        found = both.run(f"rate={rate}")
        assert found.data.params == {"rate": str(rate)}
        assert found.data.tags["trackyard.run_id"] == children[f"rate={rate}"].id
        assert len(history(both, f"rate={rate}", "loss")) == 1
    assert stored(run).params == {"rate": "0"}
    labels = [stored(run).tags[key] for key in ("mlflow.name", "mlflow.note")]
    assert labels == ["rate=0", "the note of 0"]
    assert both.statuses() == {
        "rate=0": "FINISHED",
        "rate=1": "FINISHED",
        "rate=2": "FINISHED",
        "pruned": "KILLED",
    }


def test_what_is_logged_to_a_child_run_that_has_ended_stays_in_mlflow_and_is_told_once(
    both, caplog
):
    with start_run("late", experiment_tracker=TRACKERS) as run:
        client = mlflow.MlflowClient()
        for name in ("first", "second"):
            with mlflow.start_run(run_name=name) as made:
                mlflow.log_metric("loss", 1)
        for _ in range(2):
            client.set_tag(made.info.run_id, "chosen", "yes")
        below = client.create_run(
            made.info.experiment_id, tags={"mlflow.parentRunId": made.info.run_id}, run_name="below"
        )
        client.log_metric(below.info.run_id, "loss", 2)
        client.set_terminated(below.info.run_id, "FAILED")

    assert both.run("second").data.tags["chosen"] == "yes"
    (line,) = [line for line in caplog.messages if "stays in MLflow" in line]
    assert line.startswith(f"child run {made.info.run_id} has ended")
    children = {child.name: child for child in Client().get_run(run.id).children}
    assert {n: c.status for n, c in children.items()} == {"second": "finished", "below": "failed"}
    assert children["below"].metrics["loss"].last == 2


def test_a_run_that_the_code_leaves_open_ends_with_the_step(both):
    with start_run("left", experiment_tracker=TRACKERS) as run:
        mlflow.log_metric("first", 1)
        mlflow.end_run()
        mlflow.start_run(run_name="open")
        mlflow.log_metric("second", 2)

    (child,) = Client().get_run(run.id).children
    assert (child.name, child.status) == ("open", "finished")
    assert set(both.statuses().values()) == {"FINISHED"}
    assert len(both.runs()) == 2


@pytest.mark.slow
def test_as_a_source_it_gives_what_is_logged_and_leaves_the_store_alone(both, tmp_path):
    with start_run("source", experiment_tracker=["memory"], capture=["mlflow"]) as run:
        for number in range(2):
            with mlflow.start_run(run_name=f"run {number}"):
                mlflow.log_param("lr", 0.1)
                mlflow.log_metric("loss", number, step=1)
                mlflow.log_text("hello", "note.txt")

    assert points(run, "loss") == [(1, 0.0)]
    assert stored(run).params == {"lr": "0.1"}
    assert "note.txt" in stored(run).artifacts
    (child,) = [r for key, r in MemoryTracker.runs.items() if key != run.id]
    assert [(m.step, m.value) for m in child.metrics.values()] == [(1, 1.0)]
    assert not (both.root / ".trackyard" / "mlflow.db").exists()


@pytest.mark.slow
def test_a_command_makes_the_runs_that_it_makes_alone_in_the_tracked_one_and_below_it(both):
    (both.root / "train.py").write_text(
        "import mlflow\n"
        "for number in range(2):\n"
        "    with mlflow.start_run(run_name=f'run {number}'):\n"
        "        mlflow.log_param('lr', number)\n"
        "        mlflow.log_metric('loss', number, step=1)\n"
    )
    command = [sys.executable, "-m", "trackyard", "exec", "-e", "local", "--name", "it", "--"]
    done = subprocess.run([*command, sys.executable, "train.py"], check=False, cwd=both.root)
    assert done.returncode == 0

    first, second = both.run("run 0"), both.run("run 1")
    assert (first.data.params, second.data.params) == ({"lr": "0"}, {"lr": "1"})
    assert second.data.tags["mlflow.parentRunId"] == first.info.run_id
    (tracked,) = [run for run in Client().list_runs() if run.name == "it"]
    assert Client().get_run(tracked.id).metrics["loss"].last == 0.0
