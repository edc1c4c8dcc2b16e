"""Does all that native calls made in a run's folder reach the store that was late?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from moved_things import WHOLE, make_everything, what_is_there

from trackyard import Client, start_run
from trackyard.contract import RetryLater
from trackyard_mlflow import MlflowTracker

# MLflow gives a span that does nothing where a library of its own warns while it makes one.
pytestmark = pytest.mark.filterwarnings("default")


def files_of_model(uri: str, place: Path) -> tuple[str, list[str]]:
    client = MlflowClient(uri, uri)
    [model] = client.search_logged_models(
        [one.experiment_id for one in client.search_experiments()]
    )
    where = mlflow.artifacts.download_artifacts(
        artifact_uri=model.artifact_location, dst_path=str(place), tracking_uri=uri
    )
    found = sorted(path.name for path in Path(where).rglob("*") if path.is_file())
    text = f"model_id: {model.model_id}\nrun_id: {model.source_run_id}\n"
    assert (Path(where) / "MLmodel").read_text() == text
    return text, found


@pytest.fixture
def late(mlflow_project, make_run):
    """Give a tracker and a run whose body has run before its store was there."""
    tracker, run = MlflowTracker(), make_run()
    with tracker.tracker_activate_run(run, None, is_starting=False):
        make_everything()
    return tracker, run


@pytest.mark.slow
def test_a_late_store_has_all_kinds_and_a_second_move_changes_nothing(late, tmp_path):
    tracker, run = late
    tracker.tracker_start_run(run)
    tracker.tracker_end_run(run)

    assert what_is_there(tracker.tracking_uri, "made") == WHOLE
    _, files = files_of_model(tracker.tracking_uri, tmp_path / "down")
    assert files == ["MLmodel", "weights.txt"]

    (run.folder / "native-moved.json").unlink()  # as if killed before it was written
    tracker.tracker_sync_run(run)
    assert what_is_there(tracker.tracking_uri, "made") == WHOLE


@pytest.mark.slow
def test_what_is_not_taken_keeps_the_run_pending_by_name(late):
    tracker, run = late
    local = MlflowClient(f"sqlite:///{run.folder / 'native.db'}")
    local.create_registered_model("astray")
    local.create_model_version("astray", str(run.folder / "nowhere"))
    tracker.tracker_start_run(run)

    with pytest.raises(RetryLater, match=r"MLflow lacks registered model astray/1 .*native\.db"):
        tracker.tracker_end_run(run)

    assert what_is_there(tracker.tracking_uri, "made") == WHOLE


@pytest.mark.slow
def test_a_server_that_comes_up_later_has_all_kinds(mlflow_project, mlflow_server, door, tmp_path):
    is_away = [True]
    url = door(refuse=lambda *_: 503 if is_away else None).url
    mlflow_project.configure(
        f'[experiment_trackers.local]\nflavor = "mlflow"\ntracking_uri = "{url}"\n'
        "start_timeout = 0.2\nflush_timeout = 0.2\n"
    )
    with start_run("late-and-whole"):
        make_everything()
    is_away.clear()
    sync = [sys.executable, "-m", "trackyard", "sync", "--patience", "100"]
    done = subprocess.run(sync, capture_output=True, text=True, check=False, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    (health,) = Client().get_run("late-and-whole").health
    moved = re.findall(r"(run|model|version) \S+ is (\S+) there", "\n".join(health.changes))
    there = MlflowClient(mlflow_server.url).get_run(moved[0][1])
    assert [kind for kind, _ in moved][:2] == ["run", "run"]
    assert there.info.run_name == "late-and-whole"
    assert f"run {there.data.tags['trackyard.moved_from']} is" in "".join(health.changes)
    assert what_is_there(mlflow_server.url, "late-and-whole") == WHOLE
    files = files_of_model(mlflow_server.url, tmp_path / "down")[1]
    assert sorted({*files, "trackyard-model.json"}) == [  # the journal has sent it, or the move
        "MLmodel",
        "trackyard-model.json",
        "weights.txt",
    ]


@pytest.mark.slow
def test_a_run_that_the_code_deleted_is_deleted_there_and_the_others_arrive(
    mlflow_project, mlflow_server, door
):
    is_away = [True]
    url = door(refuse=lambda *_: 503 if is_away else None).url
    mlflow_project.configure(
        f'[experiment_trackers.local]\nflavor = "mlflow"\ntracking_uri = "{url}"\n'
        'experiment_name = "late-and-deleted"\nstart_timeout = 0.2\nflush_timeout = 0.2\n'
    )
    with start_run("search"):
        with mlflow.start_run(run_name="kept"):
            mlflow.log_metric("loss", 1.0)
        for name in ("tried", "good"):
            with mlflow.start_run(run_name=name) as made:
                mlflow.log_metric("loss", 2.0)
            if name == "tried":
                mlflow.delete_run(made.info.run_id)
    is_away.clear()
    Client().sync()

    client = MlflowClient(mlflow_server.url, mlflow_server.url)
    place = client.get_experiment_by_name("late-and-deleted").experiment_id
    found = client.search_runs([place])
    assert {run.info.run_name: run.info.status for run in found} == {
        "kept": "FINISHED",
        "good": "FINISHED",
    }
