"""What do MLflow's own calls make of each kind, and what does a store hold of it?"""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput


def make_everything() -> dict[str, str]:
    """Make one of each kind by MLflow's own calls, without a library that trains."""
    client = MlflowClient()
    mlflow.log_metric("m", 1, step=3)
    run = mlflow.active_run()
    assert run is not None
    run_id, experiment = run.info.run_id, run.info.experiment_id
    mlflow.log_input(mlflow.data.from_numpy(numpy.zeros((2, 2)), name="rows"), context="training")
    model = client.create_logged_model(experiment, "forest", run_id, params={"depth": "3"})
    folder = Path("model")
    folder.mkdir()
    (folder / "MLmodel").write_text(f"model_id: {model.model_id}\nrun_id: {run_id}\n")
    (folder / "weights.txt").write_text("1 2 3")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    mlflow.set_tag("history", json.dumps([{"run_id": run_id, "model": model.model_id}]))
    mlflow.log_metric("accuracy", 0.5, step=1, model_id=model.model_id)
    client.create_registered_model("fraud", description="of cards")
    source = client.get_logged_model(model.model_id).artifact_location
    version = client.create_model_version("fraud", source, run_id, model_id=model.model_id)
    client.set_registered_model_alias("fraud", "champion", version.version)
    with mlflow.start_run(run_name="child", nested=True), mlflow.start_span("inside"):
        mlflow.log_metric("c", 2)
    with mlflow.start_span("outside") as span:
        pass
    mlflow.flush_trace_async_logging()
    mlflow.log_feedback(trace_id=span.trace_id, name="good", value=True)
    return {"run": run_id, "model": model.model_id}


def what_is_there(uri: str, name: str) -> dict[str, object]:
    """Give what a store holds of a run and of all that hangs on it."""
    client = MlflowClient(uri, uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = {run.info.run_name: run for run in client.search_runs(experiments)}
    run, child = runs[name], runs["child"]
    [model] = client.search_logged_models(experiments)
    [version] = client.search_model_versions("name = 'fraud'")
    place = client.get_model_version_download_uri("fraud", version.version)
    traces = client.search_traces(locations=experiments)
    names = {run.info.run_id: "run", child.info.run_id: "child"}
    return {
        "metrics": (run.data.metrics, child.data.metrics),
        "parent": names[child.data.tags["mlflow.parentRunId"]],
        "child": child.info.status,
        "datasets": [one.dataset.name for one in run.inputs.dataset_inputs],
        "outputs": [one.model_id == model.model_id for one in run.outputs.model_outputs],
        "history": json.loads(run.data.tags["history"])
        == [{"run_id": run.info.run_id, "model": model.model_id}],
        "model": (model.name, str(model.status), model.params, names[model.source_run_id]),
        "model's metrics": [(one.key, one.value, one.step) for one in model.metrics],
        "version": (names[version.run_id], place == model.artifact_location),
        "alias": client.get_model_version_by_alias("fraud", "champion").version == version.version,
        "description": client.get_registered_model("fraud").description,
        "traces": sorted(
            (
                trace.data.spans[0].name,
                names[trace.info.trace_metadata["mlflow.sourceRun"]],
                *(one.name for one in trace.info.assessments),
            )
            for trace in traces
        ),
    }


WHOLE = {
    "metrics": ({"m": 1, "accuracy": 0.5}, {"c": 2}),
    "parent": "run",
    "child": "FINISHED",
    "datasets": ["rows"],
    "outputs": [True],
    "history": True,
    "model": ("forest", "READY", {"depth": "3"}, "run"),
    "model's metrics": [("accuracy", 0.5, 1)],
    "version": ("run", True),
    "alias": True,
    "description": "of cards",
    "traces": [("inside", "child"), ("outside", "run", "good")],
}
