"""How is a run found, made and written in an MLflow backend?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from trackyard import Batch, RetryLater, Run, process_values

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

# MLflow's own limits, 7 tries of 120 s, block for minutes; core does the retries.
_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


@contextmanager
def connected(tracking_uri: str, environment: Mapping[str, Any]) -> Iterator[MlflowClient]:
    """Give a client, and say of each error of MLflow's whether another try can help.

    Args:
        tracking_uri: The backend.
        environment: Credentials, which MLflow takes from the environment alone; empty where the
            backend is a database.
    """
    from mlflow.exceptions import MlflowException

    with process_values({**environment, **_LIMITS} if environment else {}):
        try:
            yield new_client(tracking_uri)
        except MlflowException as error:
            status = error.get_http_status_code()
            if 400 <= status < 500 and status not in (401, 403, 408, 429):
                raise
            raise RetryLater(str(error)) from error


def new_client(tracking_uri: str) -> MlflowClient:
    """Make a client; a new sqlite file is made without 60 lines on stderr."""
    from mlflow import MlflowClient

    path = Path(tracking_uri.removeprefix("sqlite:///"))
    if not tracking_uri.startswith("sqlite:///") or path.is_file():
        return MlflowClient(tracking_uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        return MlflowClient(tracking_uri)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def find_or_create_run(
    client: MlflowClient, run: Run, experiment: str, tags: Mapping[str, str], nested: bool
) -> MlflowRun:
    """Continue the run with this `run.id`, or create it; a lost answer makes no second one.

    MLflow gives ids itself. The id is kept in `run.folder`; where only the intention to create is
    noted there, or another machine began, the run is searched by its tag.
    """
    known, intended = run.folder / "mlflow-run-id", run.folder / "mlflow-intended"
    if known.is_file():
        return client.get_run(known.read_text())
    experiment_id = find_or_create_experiment(client, experiment)
    found = None
    if run.attached or intended.exists():
        found = _search(client, experiment_id, run.id)
    if found is None:
        intended.touch()
        own_tags = {**tags, **run.tags, **run.identity_tags}
        parent = run.parent_folder / "mlflow-run-id" if run.parent_folder and nested else None
        if parent is not None and parent.is_file():
            own_tags["mlflow.parentRunId"] = parent.read_text()
        found = client.create_run(
            experiment_id, start_time=run.started_at // 1_000_000, run_name=run.name, tags=own_tags
        )
    known.write_text(found.info.run_id)
    return found


def find_or_create_experiment(client: MlflowClient, name: str) -> str:
    """Give an experiment's id."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, _artifact_location(client)))
        except MlflowException:  # another process was quicker
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":  # its name stays taken, and it takes no runs
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def send(client: MlflowClient, run_id: str, batch: Batch) -> None:
    """Write a batch. One bad param would make MLflow refuse a whole call: kinds go apart."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(m.key, m.value, m.timestamp // 1_000_000, m.step or 0) for m in batch.metrics]
    if metrics:
        client.log_batch(run_id, metrics=metrics)
    if batch.tags:
        client.log_batch(run_id, tags=[RunTag(t.key, t.value) for t in batch.tags])
    if batch.params:
        client.log_batch(run_id, params=[Param(p.key, str(p.value)) for p in batch.params])
    for artifact in batch.artifacts:
        folder = PurePosixPath(artifact.name).parent.as_posix()
        client.log_artifact(run_id, str(artifact.path), None if folder == "." else folder)


def _search(client: MlflowClient, experiment_id: str, run_id: str) -> MlflowRun | None:
    """Find a run by its Trackyard id: the oldest wins, later ones are ended as duplicates."""
    found = client.search_runs(
        [experiment_id],
        f"tags.`trackyard.run_id` = '{run_id}'",
        order_by=["attributes.start_time ASC"],
    )
    found = [run for run in found if "trackyard.duplicate_of" not in run.data.tags]
    for duplicate in found[1:]:
        client.set_tag(duplicate.info.run_id, "trackyard.duplicate_of", found[0].info.run_id)
        client.set_terminated(duplicate.info.run_id, "KILLED")
    return found[0] if found else None


def _artifact_location(client: MlflowClient) -> str | None:
    """Give an absolute place for the files of a sqlite store, beside it.

    MLflow's own default is in the working directory of the moment. A server has its own place.
    """
    store = client.tracking_uri
    if not store.startswith("sqlite:///"):
        return None
    return (Path(store.removeprefix("sqlite:///")).absolute().parent / "mlflow-artifacts").as_uri()
