"""How do models, datasets and tables become MLflow's own: logged models, inputs, shown tables?"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trackyard.contract import (
    MODEL_FILE,
    Artifact,
    Dataset,
    Model,
    RejectedRecords,
    fitted_name,
    put_file,
)
from trackyard_mlflow.files import local_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel

# Behind a server a name is part of a URL; and one name with `#`, or that reads as an absolute path
# or URL, hides all of a run's artifacts. One that begins with a space arrives, and cannot be read.
ARTIFACT_PATTERN = r"(?! )[^\x00-\x1f\x7f#?%:\\]+"
# Tags of a logged model of ours: its folder in the run, and which record it was.
_FOLDER, _RECORD = "trackyard.folder", "trackyard.record"
# The tag of what was moved: its id before.
MOVED_FROM = "trackyard.moved_from"
# In what describes a model that MLflow's own calls have logged: its id where they did.
MODEL_ID = "mlflow_model_id"
# The file by which MLflow knows a model.
_DESCRIPTION = "MLmodel"
# Which files of a run are tables, by which MLflow's page shows them as such.
_TABLES = "mlflow.loggedArtifacts"
_CONTEXT = "mlflow.data.context"
# Most characters of these, in MLflow's database.
_MOST = {"name": 500, "digest": 36, "schema": 1_000_000, "profile": 16_000_000, "tag": 5000}


def is_table(artifact: Artifact) -> bool:
    """Tell whether MLflow's page, or its `load_table`, takes a file for a table."""
    return artifact.kind == "table" or artifact.media_type == "application/vnd.apache.parquet"


def has_table(file: Path) -> bool:
    """Tell whether a file in JSON is what MLflow's `log_table` writes.

    Args:
        file: The file.
    """
    try:
        with file.open("rb") as opened:
            if not opened.read(11).startswith(b'{"columns":'):
                return False
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return content.keys() == {"columns", "data"} and isinstance(content["data"], list)


def show_as_table(client: MlflowClient, run_id: str, names: list[str]) -> None:
    """Have MLflow's page show files as tables.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        names: The files' paths in the run.
    """
    known = json.loads(client.get_run(run_id).data.tags.get(_TABLES) or "[]")
    new = [entry for name in names if (entry := {"path": name, "type": "table"}) not in known]
    text = json.dumps([*known, *new])
    if new and len(text) <= _MOST["tag"]:
        client.set_tag(run_id, _TABLES, text)


def log_input(client: MlflowClient, run_id: str, artifact: Artifact) -> None:
    """Make a dataset an input of the run.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        artifact: Of kind `dataset`.
    """
    client.log_inputs(run_id, [_input_of(Dataset.read(artifact.path))])


def _input_of(dataset: Dataset) -> DatasetInput:
    from mlflow.entities import Dataset as MlflowDataset, DatasetInput, InputTag

    source = dataset.source or ""
    kind = "http" if source.startswith(("http:", "https:")) else "local"
    digest = dataset.digest or dataset.version or "unknown"
    entity = MlflowDataset(
        name=dataset.name[: _MOST["name"]],
        digest=digest[: _MOST["digest"]],
        source_type=kind,
        source=json.dumps({"url" if kind == "http" else "uri": source}),
        schema=_fitting(_schema_of(dataset.schema), "schema"),
        profile=_fitting(dataset.profile, "profile"),
    )
    tags = {_CONTEXT: dataset.context, "version": dataset.version}
    return DatasetInput(entity, [InputTag(k, v[:500]) for k, v in tags.items() if v is not None])


def _schema_of(schema: Any) -> Any:
    """Give a schema as MLflow writes it, where it says the type of each column."""
    if not isinstance(schema, dict) or not all(isinstance(t, str) for t in schema.values()):
        return schema
    columns = [{"name": name, "type": type_, "required": True} for name, type_ in schema.items()]
    return {"mlflow_colspec": columns}


def _fitting(value: Any, what: str) -> str | None:
    text = None if value is None else json.dumps(value, ensure_ascii=False)
    return text if text is None or len(text) <= _MOST[what] else None


def log_model(client: MlflowClient, run_id: str, artifact: Artifact, is_elsewhere: Any) -> None:
    """Make a model a logged model of the run, with its files; once, however often it is sent.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        artifact: Of kind `model`; of all but the one that describes it nothing is made.
        is_elsewhere: Tells whether a place is none of the store's.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    model = Model.read(artifact)
    if model is None:
        return
    native = json.loads(artifact.path.read_text(encoding="utf-8")).get(MODEL_ID)
    logged = _begun(client, run_id, model, f"{artifact.name} {artifact.timestamp}", native)
    is_moving = _RECORD not in logged.tags  # with its files, from the store that it was in
    if is_moving or logged.model_id in _outputs_of(client, run_id):
        return
    if is_elsewhere(client, logged.artifact_location):
        reason = f"the store keeps models elsewhere, in {logged.artifact_location}"
        raise RejectedRecords([artifact], f"{reason}, where nothing is written")
    described = ""
    if not any(file.name == _DESCRIPTION for file in model.files):
        described = _described(model, artifact, run_id, logged.model_id)
    own = local_folder(logged.artifact_location) if artifact.is_final else None
    if own is not None:
        _lay_out(model, artifact, described, own)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _lay_out(model, artifact, described, Path(folder))
            client.log_model_artifacts(logged.model_id, folder)
    moment, step = artifact.timestamp // 1_000_000, int(artifact.step or 0)
    metrics = [
        Metric(f"{model.name}/{key}", float(value), moment, step, model_id=logged.model_id)
        for key, value in model.metrics.items()
    ]
    if metrics:
        client.log_batch(run_id, metrics)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step)])


def _begun(
    client: MlflowClient, run_id: str, model: Model, record: str, native: str | None
) -> LoggedModel:
    """Find the logged model that a try before this one, or a move, has begun, or create it."""
    experiment = client.get_run(run_id).info.experiment_id
    for known in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        is_moved = native is not None and known.tags.get(MOVED_FROM) == native
        if known.tags.get(_RECORD) == record or is_moved:
            return known
    moved = {MOVED_FROM: native} if native else {}
    return client.create_logged_model(
        experiment,
        re.sub(r"""[/:.%"']+""", "_", model.name),
        source_run_id=run_id,
        tags={_FOLDER: model.name, _RECORD: record, **moved},
        model_type=model.framework,
    )


def _lay_out(model: Model, artifact: Artifact, described: str, folder: Path) -> None:
    """Put a model's files, and the one by which MLflow knows it, below a folder."""
    for name, path in (*((f.name, f.path) for f in model.files), (MODEL_FILE, artifact.path)):
        if path is not None:
            target = folder / fitted_name(name, ARTIFACT_PATTERN)
            put_file(path, target, by_link=artifact.is_final)
    if described:
        (folder / _DESCRIPTION).write_text(described, encoding="utf-8")


def _described(model: Model, artifact: Artifact, run_id: str, model_id: str) -> str:
    """Write the file by which MLflow knows a model: YAML, which JSON is, too.

    It loads no model, since MLflow's own flavors have not written the files. The model's id is left
    out, by which MLflow would ask whatever store is the current one.
    """
    from mlflow import __version__

    created = datetime.fromtimestamp(artifact.timestamp / 1e9, UTC).replace(tzinfo=None)
    values = {
        "artifact_path": model.name,
        "flavors": {
            "trackyard": {
                "framework": model.framework or "unknown",
                "data": sorted(file.name for file in model.files),
            }
        },
        "mlflow_version": __version__,
        "model_uuid": model_id.removeprefix("m-"),
        "run_id": run_id,
        "utc_time_created": f"{created:%Y-%m-%d %H:%M:%S.%f}",
    }
    if _is_of_mlflow(model.signature):
        values["signature"] = model.signature
    return json.dumps(values, indent=2, ensure_ascii=False)


def _is_of_mlflow(signature: Any) -> bool:
    """Tell whether a signature is written as MLflow does; it can read no other."""
    if not isinstance(signature, dict) or not signature.keys() <= {"inputs", "outputs", "params"}:
        return False
    try:
        parts = [json.loads(part) for part in signature.values() if part is not None]
    except (TypeError, ValueError):
        return False
    return bool(parts) and all(
        isinstance(part, list) and all(isinstance(item, dict) and "type" in item for item in part)
        for part in parts
    )


def _models_of(client: MlflowClient, run_id: str) -> Iterator[LoggedModel]:
    """Give the logged models of a run that are ours."""
    for model_id in _outputs_of(client, run_id):
        logged = client.get_logged_model(model_id)
        if _FOLDER in logged.tags:
            yield logged


def _outputs_of(client: MlflowClient, run_id: str) -> list[str]:
    outputs = client.get_run(run_id).outputs
    return [output.model_id for output in outputs.model_outputs] if outputs else []


def _was_logged(root: Path, name: str) -> bool:
    """Tell whether a model had a file when it was logged; who cannot know takes it that it had."""
    try:
        files = json.loads((root / MODEL_FILE).read_text(encoding="utf-8"))["files"]
        return name in [file["name"] for file in files]
    except (OSError, ValueError, KeyError, TypeError):
        return True


def read_models(
    client: MlflowClient, run_id: str, folder: Path | None, is_elsewhere: Any
) -> Iterator[Artifact]:
    """Read the files of a run's models.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        folder: Where files are downloaded to; local ones stay in their place.
        is_elsewhere: Tells whether a place is none of the store's.
    """
    for logged in _models_of(client, run_id):
        if is_elsewhere(client, logged.artifact_location):
            continue
        root = _local_copy(client, logged, folder)
        ours = root / _DESCRIPTION
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            if path == ours and not _was_logged(root, _DESCRIPTION):
                continue
            name = f"{logged.tags[_FOLDER]}/{path.relative_to(root).as_posix()}"
            yield Artifact(name, path, "model")


def _local_copy(client: MlflowClient, logged: LoggedModel, folder: Path | None) -> Path:
    uri = urlsplit(logged.artifact_location)
    if uri.scheme == "file":
        return Path(url2pathname(uri.path))
    from mlflow.artifacts import download_artifacts

    place = (folder or Path(tempfile.mkdtemp())) / logged.model_id
    place.mkdir(parents=True, exist_ok=True)
    # By its place: for the name of a model MLflow would ask the tracking URI of the process.
    where, store = logged.artifact_location, client.tracking_uri
    return Path(download_artifacts(where, dst_path=str(place), tracking_uri=store))
