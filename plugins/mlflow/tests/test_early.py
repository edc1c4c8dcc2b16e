"""Is a run that was made, written or ended without MLflow what MLflow would have made?"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import attrs
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from trackyard import Run
from trackyard.contract import Context, Git
from trackyard_mlflow import backend, batch_rows, ending
from trackyard_mlflow.backend import find_or_create_run, read_ids, write_ids
from trackyard_mlflow.batch_rows import write_batch
from trackyard_mlflow.early import make_run
from trackyard_mlflow.sqlite_rows import SCHEMAS, is_run_ended, is_schema_installed, plain_file
from trackyard_mlflow.stores import new_client, sqlite_uri

WAYS = ("MLflow", "early")
CONTEXT = Context(user="ada", script="train.py", git=Git(commit="c0ffee", is_dirty=True))


@pytest.fixture
def stores(tmp_path, empty_store):
    """Give two stores that are alike: one for MLflow, one for rows that are made without it."""
    found = {}
    for way in WAYS:
        (tmp_path / way).mkdir()
        found[way] = sqlite_uri(shutil.copy(empty_store, tmp_path / way / "mlflow.db"))
    return found


def new_run(folder, number=1, **fields):
    place = folder / f"run-{number}"
    place.mkdir(parents=True, exist_ok=True)
    fields = {"name": f"run {number}", "experiment": "fraud", "context": CONTEXT, **fields}
    return Run(f"{number:032x}", started_at=1_700_000_000_123_456_789, folder=place, **fields)


def made_by(way, run, uri, experiment="fraud"):
    """Make a run by MLflow's client, or without it."""
    if way == "early":
        return make_run(run, experiment, {"team": "risk"}, uri, {})
    find_or_create_run(new_client(uri), run, experiment, {"team": "risk"})
    return read_ids(run.folder)


def ended_by(way, run, uri, run_id, tags):
    """End a run by MLflow's client, or without it."""
    ended = attrs.evolve(run, ended_at=1_700_000_001_123_456_789)
    with pytest.MonkeyPatch.context() as patch:
        if way == "MLflow":
            patch.setattr("trackyard_mlflow.ending.is_run_ended", lambda *_: False)
        else:
            patch.setattr("trackyard_mlflow.backend.new_client", None)
        connected = partial(backend.connected, uri, {})
        ending.end_run(ended, run_id, "FAILED", tags, uri=uri, connected=connected)


def written_by(way, uri, run_id, rows):
    """Write a batch by MLflow's client, or without it."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "MLflow":
            patch.setattr(batch_rows, "is_batch_written", lambda *_, **__: False)
        else:
            patch.setattr(MlflowClient, "log_batch", None)
        write_batch(new_client(uri), run_id, rows, backend.is_refused)


def plain(value, folder, ids):
    """Write a value so that what differs from try to try has the same name."""
    text = repr(value).replace(str(folder), "<folder>")
    for number, id_ in enumerate(ids):
        text = text.replace(id_, f"<run {number}>")
    return text


def rows_of(uri, folder, ids):
    """Give the rows of every table that says something of runs."""
    columns = {
        "runs": "*",
        "tags": "*",
        "experiments": "experiment_id, name, artifact_location, lifecycle_stage, workspace, "
        "creation_time = last_update_time",
        "experiment_tags": "*",
        "params": "*",
        "metrics": "*",
        "latest_metrics": "*",
    }
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        return {
            table: sorted(
                plain(row, folder, ids) for row in database.execute(f"SELECT {names} FROM {table}")
            )
            for table, names in columns.items()
        }


def test_rows_in_a_file_are_those_that_mlflow_writes(stores, tmp_path):
    found = {}
    for way, uri in stores.items():
        folder, ids = tmp_path / way, []
        parent = new_run(folder)
        child = new_run(folder, 2, parent_folder=parent.folder, tags={"stage": "prod"})
        elsewhere = new_run(folder, 3, context=None)
        for run, experiment in ((parent, "fraud"), (child, "fraud"), (elsewhere, "other")):
            ids.append(made_by(way, run, uri, experiment)["run_id"])
        noted = [sorted(read_ids(run.folder).items()) for run in (parent, child)]
        noted = [[(k, v) for k, v in items if k != "experiment_created"] for items in noted]
        ended_by(way, child, uri, ids[1], {"trackyard.status": "failed", "stage": "test"})
        ended_by(way, elsewhere, uri, ids[2], {"trackyard.status": "finished"})
        found[way] = rows_of(uri, folder, ids), plain(noted, folder, ids)

    assert found["early"] == found["MLflow"]


# Batches of one run: a curve with later, earlier and repeated points, by step, time and value.
BATCHES = (
    {
        "params": [("rate", "0.1"), ("model/name", ""), ("note", "é" * 5000)],
        "metrics": [("loss", 0.5, 10, 3), ("loss", 0.7, 20, 3), ("loss", 0.9, 30, 2)],
        "tags": [("stage", "dev"), ("stage", "test"), ("mlflow.note.content", "first")],
    },
    {"metrics": [("loss", 0.6, 20, 3), ("acc", 1, 20, -1), ("acc", 1, 20, -1)]},
    {"metrics": [("loss", 0.8, 20, 3), ("acc", -0.0, 19, -1), ("a b/c-d.e", 1e308, 1, 2**62)]},
    {"params": [("rate", "0.1"), ("depth", "3")], "tags": [("stage", "prod")]},
)


def test_a_batch_in_a_file_is_what_mlflow_writes(stores, tmp_path):
    found = {}
    for way, uri in stores.items():
        folder = tmp_path / way
        run_id = made_by("early", new_run(folder), uri)["run_id"]
        other = made_by("early", new_run(folder, 2), uri)["run_id"]
        client = new_client(uri)
        client.log_metric(run_id, "acc", float("nan"), 19, -1)
        for rows in BATCHES:
            written_by(way, uri, run_id, rows)
        written_by(way, uri, other, BATCHES[0])
        found[way] = rows_of(uri, folder, [run_id, other])

    assert found["early"] == found["MLflow"]
    assert found["early"]["metrics"]


POINT = {"metrics": [("loss", 0.5, 10, 3)]}
UNUSUAL = {
    "NaN": {"metrics": [("loss", float("nan"), 10, 4)]},
    "infinite": {"metrics": [("loss", float("inf"), 10, 4)]},
    "a point that is there": {"metrics": [("acc", 0.5, 10, 3), *POINT["metrics"]]},
    "a large step": {"metrics": [("loss", 0.5, 10, 2**63)]},
    "another value": {"params": [("rate", "0.2")], **POINT},
    "a param twice": {"params": [("depth", "1"), ("depth", "1")]},
    "a long value": {"params": [("note", "x" * 6001)]},
    "a bad name": {"params": [("a/../b", "1")]},
    "half of a character": {"tags": [("stage", "\ud800")]},
    "many": {"params": [(f"p{number}", "1") for number in range(101)]},
    "a name of the run": {"tags": [("mlflow.runName", "another")]},
    "a model's": {"metrics": [("loss", 0.5, 11, 3)]},
    "deleted": POINT,
}


def test_what_is_unusual_in_a_batch_is_left_to_mlflow(stores, tmp_path):
    uri = stores["early"]
    run_id = made_by("early", new_run(tmp_path), uri)["run_id"]
    for rows in (POINT, {"params": [("rate", "0.1")]}):
        written_by("early", uri, run_id, rows)
    before, asked = rows_of(uri, tmp_path, [run_id]), []
    for what, rows in UNUSUAL.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MlflowClient, "log_batch", lambda _, id_, **__: asked.append(id_))
            if what == "a model's":
                patch.setattr(mlflow.tracking.fluent, "get_active_model_id", lambda: "m-1")
            if what == "deleted":
                new_client(uri).delete_run(run_id)
                before = rows_of(uri, tmp_path, [run_id])
            write_batch(new_client(uri), run_id, rows, backend.is_refused)
        assert asked == [run_id], what
        assert rows_of(uri, tmp_path, [run_id]) == before, what
        asked.clear()
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        write_batch(new_client(uri), run_id, POINT, backend.is_refused)


def test_mlflow_goes_on_with_a_run_that_was_made_without_it(stores, tmp_path):
    run, uri = new_run(tmp_path), stores["early"]
    ids = made_by("early", run, uri)
    client = new_client(uri)
    client.log_metric(ids["run_id"], "loss", 0.5)
    client.log_text(ids["run_id"], "text", "note.txt")
    client.set_terminated(ids["run_id"])
    there = find_or_create_run(client, run, "fraud", {})

    assert there.info.run_id == ids["run_id"]
    assert there.info.status == "FINISHED"
    assert there.data.metrics == {"loss": 0.5}
    assert [file.path for file in client.list_artifacts(ids["run_id"])] == ["note.txt"]
    assert made_by("early", run, uri) is None  # it was begun before

    client.delete_run(ids["run_id"])
    assert not is_run_ended(uri, ids["run_id"], "FINISHED", 1, {})  # MLflow says why


def test_a_server_is_asked_for_what_mlflow_asks_it(mlflow_server, tmp_path, monkeypatch):
    client, found = new_client(mlflow_server.url), {}
    experiment = f"early {time.time_ns()}"
    for way in reversed(WAYS):
        with monkeypatch.context() as patch:
            if way == "early":  # as in a worker that has not imported it
                patch.delitem(sys.modules, "mlflow")
            ids = made_by(way, new_run(tmp_path / way), mlflow_server.url, experiment)
        there = client.get_run(ids["run_id"]).to_dictionary()
        text = repr(sorted(ids.items())) + repr(there)
        found[way] = text.replace(ids["run_id"], "<id>")

    assert found["early"] == found["MLflow"]


@pytest.mark.parametrize("what", ["no file", "schema", "deleted", "name", "locked", "begun"])
def test_what_is_not_plain_is_left_to_mlflow(stores, tmp_path, monkeypatch, what):
    uri, run = stores["early"], new_run(tmp_path)
    path, experiment = uri.removeprefix("sqlite:///"), "fraud"
    monkeypatch.setattr("trackyard_mlflow.sqlite_rows._MOST_LOCKED", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        match what:
            case "no file":
                uri = sqlite_uri(tmp_path / "none.db")
            case "schema":
                database.execute("UPDATE alembic_version SET version_num = ?", (SCHEMAS[0],))
            case "deleted":
                experiment = "Default"
                database.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
            case "name":
                run = attrs.evolve(run, tags={"mlflow.runName": "another"})
            case "locked":
                database.execute("BEGIN EXCLUSIVE")
            case "begun":
                write_ids(run.folder, {"run_id": "1"})
        try:
            found = made_by("early", run, uri, experiment)
        except sqlite3.OperationalError:  # core leaves it to the regular start then
            found = None
        database.rollback()
        count = database.execute("SELECT COUNT(*) FROM runs").fetchone()

    assert found is None
    assert count == (0,)
    assert not (tmp_path / "none.db").exists()


def test_a_server_that_is_not_there_is_left_to_mlflow(refusing_server, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "mlflow")

    assert made_by("early", new_run(tmp_path), refusing_server) is None


def test_the_schema_of_the_installed_mlflow_is_known(empty_store):
    with closing(sqlite3.connect(empty_store)) as database:
        (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()

    assert is_schema_installed(revision)
    assert not is_schema_installed(SCHEMAS[0]) or revision == SCHEMAS[0]


def test_a_forked_child_has_rows_of_its_own_while_its_parent_writes(empty_store):
    uri = sqlite_uri(empty_store)
    with plain_file(uri) as database:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with plain_file(uri) as own:
                os._exit(0 if own is not None and own is not database else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.long(reason="it makes a store by each of MLflow's migrations")
def test_the_tables_are_the_same_in_each_schema_that_is_known(tmp_path):
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    path, found = tmp_path / "mlflow.db", []
    Base.metadata.create_all(create_engine(sqlite_uri(path)))
    for revision in SCHEMAS:
        command.upgrade(_get_alembic_config(sqlite_uri(path)), revision)
        with closing(sqlite3.connect(path)) as database:
            tables = ("experiments", "runs", "tags", "params", "metrics", "latest_metrics")
            found.append([database.execute(f"PRAGMA table_info({t})").fetchall() for t in tables])

    assert all(found[0])
    assert all(tables == found[0] for tables in found)


# In front of MLflow's import in a worker: it waits until the step's code has seen its URL.
WAITING = """
import sys, time
from importlib.abc import MetaPathFinder
from pathlib import Path

class Waiting(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("mlflow."):
            Path("imports").touch()
            while not Path("seen").exists():
                time.sleep(0.01)

if "trackyard.delivery.serving" in sys.orig_argv:
    sys.meta_path.insert(0, Waiting())
"""
PROGRAM = """
import time
from pathlib import Path
from trackyard import current_run, pipeline, step

@step(experiment_tracker=True)
def train():
    while not Path("imports").exists():  # for the pipeline's own run
        time.sleep(0.01)
    print(current_run().url)
    Path("seen").touch()

@pipeline
def training(rate):  # a param of its own run
    train()

training(0.1)
"""


@pytest.mark.slow
def test_a_step_has_its_url_while_the_worker_imports_mlflow(mlflow_project, tmp_path):
    mlflow_project.configure(
        '[stacks.default]\nexperiment_trackers = ["local"]\n'
        '[experiment_trackers.local]\nflavor = "mlflow"\nflush_timeout = 100\n'
    )
    (tmp_path / "sitecustomize.py").write_text(WAITING)
    (mlflow_project.root / "program.py").write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    environment |= {"PYTHONPATH": str(tmp_path), "TRACKYARD_ISOLATION": "process"}
    done = subprocess.run(
        [sys.executable, "program.py"],
        check=False,
        cwd=mlflow_project.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    (step,) = [run for run in mlflow_project.runs() if "trackyard.step" in run.data.tags]

    assert done.returncode == 0, done.stderr
    assert step.info.run_id in done.stdout
    assert step.info.status == "FINISHED"
