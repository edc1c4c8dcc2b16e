"""What MLflow's folders, databases and servers hold becomes runs of the project."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from trackyard import Client
from trackyard.contract import ImportNote, Metric, RunQuery, TrackyardError
from trackyard.recovery.imported_runs import load_mark
from trackyard_mlflow.databases import Database
from trackyard_mlflow.file_store import FileStore
from trackyard_mlflow.foreign import CAPPED

RUN, CHILD = "a" * 32, "b" * 32
# As the three generations of file stores write a run's description.
META = {
    "1.x": "run_uuid: {id}\nrun_id: {id}\nname: ''\nstatus: 3\nstart_time: 1600000000000\n"
    "end_time: 1600000005000\nuser_id: ann\nlifecycle_stage: active\nartifact_uri: {uri}\n",
    "2.x": "run_uuid: {id}\nrun_id: {id}\nrun_name: {name}\nstatus: 3\nstart_time: 1600000000000\n"
    "end_time: 1600000005000\nuser_id: ann\nlifecycle_stage: active\nartifact_uri: {uri}\n",
    "3.x": "run_id: {id}\nrun_name: {name}\nstatus: 3\nstart_time: 1600000000000\n"
    "end_time: 1600000005000\nuser_id: ann\nlifecycle_stage: active\nartifact_uri: {uri}\n",
}


def file_store(root: Path, version: str = "2.x", uri: str = "file:///gone/{id}/artifacts") -> Path:
    """Write a file store as MLflow of a version does: a run with all that there is, and a child."""
    experiment = root / "1"
    files = {"meta.yaml": "experiment_id: '1'\nname: exp a\nlifecycle_stage: active\n"}
    for run, name in ((RUN, "r1"), (CHILD, "trial")):
        text = META[version].format(id=run, name=name, uri=uri.format(id=run))
        files |= {f"{run}/meta.yaml": text, f"{run}/tags/mlflow.runName": name}
    files |= {
        f"{CHILD}/tags/mlflow.parentRunId": RUN,
        f"{RUN}/params/nested/p": "multi\nline = é",
        f"{RUN}/tags/mlflow.note.content": "note",
        f"{RUN}/tags/mlflow.source.git.commit": "c0ffee",
        f"{RUN}/metrics/loss": "1600000000001 nan -3\n1600000000002 0.5 3\n1600000000003 -inf 4\n",
        f"{RUN}/metrics/old": "1600000000001 1\n",
        f"{RUN}/metrics/of/dataset": "1 0.5 7 d abc\n1 0.5 50.0\nno point\n",
        f"{RUN}/artifacts/sub/a.txt": "x",
        f"{RUN}/inputs/i1/meta.yaml": "source_type: DATASET\nsource_id: d1\n"
        "tags: {mlflow.data.context: training}\n",
        "datasets/d1/meta.yaml": "name: rows\ndigest: abc\nsource: '{}'\nsource_type: code\n",
    }
    for name, text in files.items():
        path = experiment / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def bytes_of(folder: Path):
    return {p: p.read_bytes() if p.is_file() else p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture
def database(mlflow_project):
    """A database of MLflow's own, with a run that an SDK alone has logged."""
    import mlflow

    path = Path.cwd() / "old" / "mlflow.db"
    path.parent.mkdir()
    client = mlflow.MlflowClient(mlflow_project.new_store(path))
    location = path.parent.as_uri() + "/mlruns/1"
    run = client.create_run(client.create_experiment("exp a", location), run_name="r1")
    run_id = run.info.run_id
    for step, value in enumerate((math.nan, math.inf, 0.5)):
        client.log_metric(run_id, "loss", value, step=step - 1)
    client.log_param(run_id, "p", "x\ny")
    client.set_tag(run_id, "mlflow.note.content", "note")
    client.log_text(run_id, "x", "sub/a.txt")
    client.set_terminated(run_id, "FAILED")
    return path


@pytest.mark.parametrize("version", META)
def test_a_file_store_of_any_version_arrives_whole(version, mlflow_project):
    root = file_store(Path.cwd() / "mlruns", version)
    before = bytes_of(root)
    rows = {row.run: row for row in Client().import_runs("mlflow:./mlruns")}
    run = Client().get_run("r1")
    (step,) = run.steps

    assert (run.status, run.pipeline, run.context.user) == ("finished", "exp a", "ann")
    assert run.context.git.commit == "c0ffee"
    assert run.all_params == {"nested/p": "multi\nline = é"}
    assert step.tags["mlflow.note.content"] == "note"
    assert run.started_at.timestamp() == 1_600_000_000
    assert [child.name for child in run.children] == ["trial"]
    assert {name: m.points for name, m in run.metrics.items()} == {
        "loss": 3,
        "old": 1,
        "of/dataset": 2,
    }
    assert {*run.artifacts} == {"sub/a.txt", "datasets/rows.json"}
    assert rows["r1"].losses == {"metric of/dataset: line 3 of its file is no point": 1}
    assert bytes_of(root) == before
    assert not (root / ".trash").exists()


def test_points_of_a_file_store_have_their_steps(tmp_path):
    store = FileStore(file_store(tmp_path / "mlruns"))
    assert len([*store.runs(RunQuery())]) == 2
    points = [piece for piece in store.read(RUN, tmp_path) if isinstance(piece, Metric)]

    assert [(p.key, p.step) for p in points if p.key != "old"] == [
        *(("loss", -3), ("loss", 3), ("loss", 4)),
        *(("of/dataset", 7), ("of/dataset", 50)),
    ]
    assert [p.value for p in points if p.key == "loss"][1:] == [0.5, -math.inf]


def test_artifacts_elsewhere_are_named_and_links_are_not_followed(mlflow_project):
    root = file_store(Path.cwd() / "mlruns", uri="s3://bucket/{id}")
    (root / "1" / RUN / "artifacts" / "link").symlink_to("/etc/hostname")
    (row,) = Client().import_runs("mlflow:./mlruns", runs=["r1"])

    assert any("s3://bucket" in what for what in row.losses)
    assert "artifact link: it is a link, which is not followed" in row.losses


def test_links_in_a_file_store_lead_nowhere(mlflow_project, tmp_path):
    root = file_store(Path.cwd() / "mlruns")
    for part in ("artifacts", "params", "inputs"):
        shutil.rmtree(root / "1" / RUN / part)
        (root / "1" / RUN / part).symlink_to("/etc")
    (row,) = Client().import_runs("mlflow:./mlruns", runs=["r1"])

    assert {part: f"{part}: it is a link, which is not followed" in row.losses for part in (
        "artifacts", "params", "inputs"
    )} == {"artifacts": True, "params": True, "inputs": True}  # fmt: skip
    assert (row.artifacts, row.params) == (0, 0)


@pytest.mark.parametrize("text", ["", "{{ no yaml", "!!python/object/apply:os.getpid []", None])
def test_a_run_without_a_description_is_named_and_stops_no_other(text, mlflow_project):
    meta = file_store(Path.cwd() / "mlruns") / "1" / CHILD / "meta.yaml"
    meta.unlink() if text is None else meta.write_text(text)
    rows = {row.remote_id: row for row in Client().import_runs("mlflow:./mlruns")}

    assert (rows[RUN].state, rows[CHILD].state) == ("new", "failed")
    assert "meta.yaml: it is not there, or it is damaged" in rows[CHILD].problem


@pytest.mark.parametrize("moment", ["99999999999999999999", ".nan", "soon"])
def test_a_time_that_cannot_be_is_left_out(moment, mlflow_project):
    meta = file_store(Path.cwd() / "mlruns") / "1" / RUN / "meta.yaml"
    meta.write_text(meta.read_text().replace("1600000000000", moment))
    (row,) = Client().import_runs("mlflow:./mlruns", runs=["r1"])

    assert Client().get_run("r1").started_at.year < 2100
    assert any("no time that can be" in what for what in row.losses) == (moment[0] == "9")
    assert [run.name for run in Client().list_runs()] == ["r1"]


def test_a_database_arrives_whole_and_stays_as_it_was(database):
    before = bytes_of(database.parent)
    (row,) = Client().import_runs(f"mlflow:sqlite:///{database}")
    run = Client().get_run("r1")

    assert (run.status, run.pipeline, row.metrics) == ("failed", "exp a", 3)
    assert run.metrics["loss"].points == 3
    assert row.changes == {CAPPED.what: 1}
    assert run.all_params == {"p": "x\ny"}
    assert run.steps[0].tags["mlflow.note.content"] == "note"
    assert [*run.artifacts] == ["sub/a.txt"]
    assert bytes_of(database.parent) == before


def test_what_stays_in_the_registry_and_of_traces_is_named(database, tmp_path):
    with sqlite3.connect(database) as other:
        ((run_id,),) = other.execute("SELECT run_uuid FROM runs")
        other.execute("PRAGMA foreign_keys = OFF")
        other.execute("INSERT INTO registered_models (name) VALUES ('net')")
        other.execute(
            "INSERT INTO model_versions (name, version, run_id) VALUES ('net', 3, ?)", [run_id]
        )
        other.executemany(
            "INSERT INTO trace_request_metadata (key, value, request_id) VALUES (?, ?, ?)",
            [("mlflow.sourceRun", run_id, trace) for trace in "ab"],
        )
    other.close()
    reader = Database(database)
    [*reader.runs(RunQuery())]
    notes = [piece for piece in reader.read(run_id, tmp_path) if isinstance(piece, ImportNote)]
    root = tmp_path / "mlruns"
    for name, text in {
        "1/meta.yaml": "name: exp",
        f"1/{run_id}/meta.yaml": f"run_id: {run_id}",
        "1/traces/a/request_metadata/mlflow.sourceRun": run_id,
        "1/traces/b/request_metadata/mlflow.sourceRun": run_id,
        "models/net/version-3/meta.yaml": f"name: net\nversion: 3\nrun_id: {run_id}",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    store = FileStore(root)
    [*store.runs(RunQuery())]

    expected = [ImportNote("registered model net, version 3: the registry stays")]
    expected.append(ImportNote("traces", count=2))
    assert notes[-2:] == expected
    assert [*store.read(run_id, tmp_path)][-2:] == expected


def test_artifacts_of_a_database_are_found_after_a_move(database):
    moved = database.parent.rename(database.parent.with_name("moved"))
    (row,) = Client().import_runs(f"mlflow:{moved / 'mlflow.db'}")

    assert (row.artifacts, row.left) == (1, 0)


@pytest.mark.parametrize("is_moved", [False, True])
def test_nothing_is_said_of_a_run_without_artifacts(database, is_moved):
    """MLflow makes their folder for the first of them."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("exp a").experiment_id
    client.set_terminated(client.create_run(experiment, run_name="bare").info.run_id)
    if is_moved:
        database = database.parent.rename(database.parent.with_name("moved")) / "mlflow.db"
    rows = {row.run: row for row in Client().import_runs(f"mlflow:sqlite:///{database}")}

    assert not rows["bare"].losses
    assert rows["r1"].artifacts == 1


def test_a_database_of_an_old_schema_is_read(tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as old:
        old.executescript(f"""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, name TEXT, experiment_id INTEGER, user_id TEXT,
                status TEXT, start_time INTEGER, end_time INTEGER, artifact_uri TEXT);
            CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            INSERT INTO experiments VALUES (1, 'old');
            INSERT INTO runs VALUES ('{RUN}', '', 1, 'ann', 'FINISHED', 1600000000000, NULL, NULL);
            INSERT INTO metrics VALUES ('loss', 0.5, 1600000000001, '{RUN}');
            INSERT INTO metrics VALUES ('loss', -1.7976931348623157e308, 1600000000001, '{RUN}');
            INSERT INTO tags VALUES ('mlflow.runName', 'r1', '{RUN}');
        """)
    old.close()
    reader = Database(path)
    (run,) = reader.runs(RunQuery())

    assert (run.name, run.experiment, run.status, run.user) == ("r1", "old", "finished", "ann")
    points = [piece for piece in reader.read(RUN, tmp_path) if isinstance(piece, Metric)]
    assert points == [
        Metric("loss", value, 0, 1_600_000_000_001_000_000) for value in (0.5, -math.inf)
    ]


def test_a_database_that_is_written_meanwhile_is_read_with_its_log(database):
    with sqlite3.connect(database) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE params SET value = 'later'")
        other.commit()
        before = bytes_of(database.parent)
        Client().import_runs(f"mlflow:{database}")

        assert bytes_of(database.parent) == before
    other.close()
    assert Client().get_run("r1").all_params == {"p": "later"}


def test_the_embedded_store_is_a_source_and_holds_the_projects_own_runs(mlflow_project):
    from trackyard import start_run

    with start_run("mine") as run:
        run.log_metric("loss", 1)
    (row,) = Client().import_runs("local")

    assert (row.state, row.id) == ("own", run.id)


def test_an_imported_run_goes_into_mlflow_and_is_the_same_there(mlflow_project):
    file_store(Path.cwd() / "mlruns")
    rows = Client().import_runs("mlflow:./mlruns", to="local")

    assert [row.delivered for row in rows] == [True, True]
    assert [(row.state, row.differences) for row in Client().verify_run("r1")] == [
        ("same", ()),
        ("same", ()),
    ]


@pytest.mark.slow
def test_a_server_is_a_source(mlflow_project, mlflow_server):
    import mlflow

    client = mlflow.MlflowClient(mlflow_server.url)
    name = f"exp-{os.urandom(4).hex()}"
    experiment = client.create_experiment(name)
    ids = []
    for number in range(3):
        run_id = client.create_run(experiment, run_name=f"n{number}").info.run_id
        client.log_metric(run_id, "loss", number, step=4)
        client.set_terminated(run_id)
        ids.append(run_id)
    client.log_text(ids[0], "x", "sub/a.txt")
    rows = Client().import_runs(f"mlflow:{mlflow_server.url}", experiment=name)

    assert {row.remote_id: row.state for row in rows} == dict.fromkeys(ids, "new")
    assert sum(row.artifacts for row in rows) == 1
    assert Client().get_run("n2").metrics["loss"].last == 2


def test_what_is_no_place_of_mlflows_is_named(mlflow_project, tmp_path):
    (tmp_path / "file").write_text("no database, that is certain")
    (tmp_path / "empty").mkdir()
    for place, message in {
        "file": "no database of MLflow's",
        "empty": "no experiment of MLflow's",
        "nothing": "no such folder or file",
    }.items():
        with pytest.raises(TrackyardError, match=message):
            Client().import_runs(f"mlflow:{tmp_path / place}")


@pytest.mark.slow
def test_a_file_store_of_todays_mlflow_arrives(mlflow_project):
    root = Path.cwd() / "mlruns"
    code = f"""
import mlflow, pandas
mlflow.set_tracking_uri({str(root)!r})
mlflow.set_experiment("exp a")
with mlflow.start_run(run_name="r1") as run:
    mlflow.log_metric("loss", float("nan"), step=-3); mlflow.log_metric("loss", 0.5, step=3)
    mlflow.log_param("nested/p", "x"); mlflow.log_text("x", "sub/a.txt")
    mlflow.log_input(mlflow.data.from_pandas(pandas.DataFrame({{"a": [1]}}), name="d"), "training")
    with mlflow.start_run(nested=True, run_name="trial"):
        mlflow.log_metric("m", 1)
"""
    env = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=env)
    Client().import_runs("mlflow:./mlruns")
    run = Client().get_run("r1")

    assert run.metrics["loss"].points == 2
    assert [child.name for child in run.children] == ["trial"]
    assert {*run.artifacts} == {"sub/a.txt", "datasets/d.json"}


def test_a_second_import_reads_no_run_again_until_it_changes(mlflow_project):
    root = file_store(Path.cwd() / "mlruns")
    Client().import_runs("mlflow:./mlruns")
    with (root / "1" / RUN / "metrics" / "loss").open("a") as file:
        file.write("1600000000009 9 9\n")
    rows = {row.run: row for row in Client().import_runs("mlflow:./mlruns")}

    assert (rows["r1"].state, rows["trial"].state) == ("grown", "same")
    assert Client().get_run("r1").metrics["loss"].points == 4
    mark = load_mark(mlflow_project.home / "runs" / rows["r1"].id)
    assert mark is not None
    assert mark.version is not None
