"""Does MLflow get models, datasets and tables as its own?"""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
from mlflow.types import ColSpec, Schema

from trackyard import Client, start_run
from trackyard.testing.workbench import to_toml
from trackyard_mlflow.kinds import read_models


@pytest.fixture
def run(mlflow_project, tmp_path):
    (tmp_path / "net" / "deep").mkdir(parents=True)
    (tmp_path / "net" / "weights.bin").write_bytes(b"\0\1")
    (tmp_path / "net" / "deep" / "config.json").write_text("{}", encoding="utf-8")
    with start_run("a", experiment="kinds") as run:
        run.log_metric("accuracy", 0.5, step=1)
        run.log_model(
            *(tmp_path / "net", "models/clf"),
            framework="own",
            signature={"inputs": "text"},
            metrics={"accuracy": 0.9},
            step=3,
        )
        run.log_dataset(
            "words",
            {"word": ["a", "b"]},
            version="3",
            source="https://a.example/words.csv",
            context="training",
        )
        run.log_table({"x": [1]}, "tables/rows")
        run.log_table({"x": [2]}, "others.json")
        run.log_table({"x": [3]}, "large.parquet")
    assert [row.state for row in Client().verify_run(run.id)] == ["same"]
    return mlflow_project.run("a")


def test_a_model_is_a_logged_model_of_the_run(run, mlflow_project):
    client = mlflow_project.client()

    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.name, logged.model_type, output.step) == ("models_clf", "own", 3)
    assert (logged.source_run_id, str(logged.status)) == (run.info.run_id, "READY")
    assert {(m.key, m.value) for m in logged.metrics} == {("models/clf/accuracy", 0.9)}
    place = Path(logged.artifact_location.removeprefix("file://"))
    files = sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())
    assert files == ["MLmodel", "deep/config.json", "trackyard-model.json", "weights.bin"]
    history = client.get_metric_history(run.info.run_id, "accuracy")
    assert [metric.value for metric in history] == [0.5]
    known = mlflow.models.get_model_info(str(place))
    assert known.flavors["trackyard"]["framework"] == "own"
    assert (known.run_id, known.signature) == (run.info.run_id, None)


def test_a_model_has_the_signature_that_mlflow_made_and_keeps_a_description_of_its_own(
    mlflow_project, tmp_path
):
    signature = mlflow.models.ModelSignature(Schema([ColSpec("double", "x")]), None)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "MLmodel").write_text("flavors: {own: {}}\n", encoding="utf-8")
    with start_run("a", experiment="kinds") as run:
        run.log_model({"bias": 1}, "made", signature=signature)
        run.log_model(tmp_path / "own", "own")

    assert [row.state for row in Client().verify_run(run.id)] == ["same"]
    client, outputs = mlflow_project.client(), mlflow_project.run("a").outputs.model_outputs
    models = [client.get_logged_model(output.model_id) for output in outputs]
    places = [model.artifact_location.removeprefix("file://") for model in models]
    known = {tuple(one.flavors): one for one in map(mlflow.models.get_model_info, places)}
    assert known.keys() == {("trackyard",), ("own",)}
    assert known["trackyard",].signature == signature
    id_ = mlflow_project.run("a").info.run_id
    read = {artifact.name for artifact in read_models(client, id_, None, lambda *_: False)}
    described = {f"{name}/trackyard-model.json" for name in ("made", "own")}
    assert read == {*described, "made/model.pkl", "own/MLmodel"}


def test_a_model_whose_files_did_not_arrive_is_gone_on_with(mlflow_project, tmp_path, monkeypatch):
    upload, tries = mlflow.MlflowClient.log_model_artifacts, []

    def fails_once(client, *arguments):
        tries.append(arguments)
        if len(tries) == 1:
            raise ConnectionError("the store is away")
        upload(client, *arguments)

    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", fails_once)
    (tmp_path / "weights.bin").write_bytes(b"\0")
    with start_run("a", experiment="kinds") as run:
        run.log_model(tmp_path / "weights.bin", "m")
    Client().sync()

    assert [row.state for row in Client().verify_run(run.id)] == ["same"]
    found = mlflow_project.client().search_logged_models(
        [mlflow_project.run("a").info.experiment_id]
    )
    assert [(logged.name, str(logged.status)) for logged in found] == [("m", "READY")]


@pytest.mark.usefixtures("mlflow_project")
def test_files_of_a_model_have_the_names_that_mlflow_takes(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "fold #1?.bin").write_bytes(b"\0")
    with start_run("odd", experiment="kinds") as run:
        run.log_model(tmp_path / "net", "a#1/m")

    assert [row.state for row in Client().verify_run(run.id)] == ["same"]


@pytest.mark.slow
def test_a_model_comes_back_from_a_server(mlflow_project, mlflow_server, tmp_path):
    fields = {"flavor": "mlflow", "tracking_uri": mlflow_server.url}
    waiting = {"start_timeout": 60, "flush_timeout": 60}
    mlflow_project.configure(to_toml({"team": {**fields, **waiting}}))
    (tmp_path / "net" / "deep").mkdir(parents=True)
    (tmp_path / "net" / "deep" / "fold #1.bin").write_bytes(b"\0\1")
    with start_run("served", experiment="kinds", experiment_tracker="team") as run:
        run.log_model(tmp_path / "net", "models/clf", metrics={"accuracy": 0.9})
        run.log_dataset("words", digest="0123abcd")
        run.log_table({"x": [1]}, "rows.json")

    (row,) = Client().verify_run(run.id, timeout=120)
    assert (row.state, row.problem, row.differences) == ("same", "", ())


def test_a_dataset_is_an_input_of_the_run(run):
    (found,) = run.inputs.dataset_inputs
    dataset = found.dataset
    assert (dataset.name, dataset.source_type) == ("words", "http")
    assert json.loads(dataset.source) == {"url": "https://a.example/words.csv"}
    assert len(dataset.digest) == 16
    columns = json.loads(dataset.schema)["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns] == [("word", "str")]
    assert json.loads(dataset.profile) == {"rows": 2, "columns": 1}
    tags = {tag.key: tag.value for tag in found.tags}
    assert tags == {"mlflow.data.context": "training", "version": "3"}


def test_tables_are_shown_as_such(run, mlflow_project):
    shown = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    names = [entry["path"] for entry in shown]
    assert sorted(names) == ["large.parquet", "others.json", "tables/rows.json"]
    assert {entry["type"] for entry in shown} == {"table"}
    mlflow.set_tracking_uri(mlflow_project.store)
    try:
        place, client = run.info.experiment_id, mlflow_project.client()
        read = [client.load_table(place, name, [run.info.run_id]).x.tolist() for name in names]
    finally:
        mlflow.set_tracking_uri(None)
    assert sorted(read) == [[1], [2], [3]]
