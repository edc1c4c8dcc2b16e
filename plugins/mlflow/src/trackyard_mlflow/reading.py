"""What does MLflow hold of a run, as records?"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trackyard.contract import Artifact, Metric, Param, Record, RunDeleted, Tag
from trackyard_mlflow.backend import is_elsewhere
from trackyard_mlflow.kinds import read_models

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

logger = logging.getLogger("trackyard")


def read_records(client: MlflowClient, run_id: str, folder: Path | None = None) -> Iterator[Record]:
    """Read params, tags, metrics with their whole history, and artifacts of a run.

    Args:
        client: A client of the backend.
        run_id: MLflow's id of the run.
        folder: Where artifacts are downloaded to; local ones stay in their place.

    Raises:
        RunDeleted: It is in MLflow's trash.
    """
    run = client.get_run(run_id)
    if run.info.lifecycle_stage == "deleted":
        raise RunDeleted(f"run {run_id} was deleted in MLflow")
    data = run.data
    for key, value in data.params.items():
        yield Param(key, value)
    for key, value in data.tags.items():
        yield Tag(key, value)
    for key in data.metrics:
        for metric in client.get_metric_history(run_id, key):
            yield Metric(key, _value(metric.value), metric.step, metric.timestamp * 1_000_000)
    for name, path in _artifacts(client, run, folder):
        yield Artifact(name, path, "file")
    yield from read_models(client, run_id, folder, is_elsewhere)


def _value(value: float) -> float:
    """MLflow stores infinities as the largest number."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _artifacts(
    client: MlflowClient, run: MlflowRun, folder: Path | None
) -> Iterator[tuple[str, Path]]:
    from mlflow.exceptions import MlflowException

    if is_elsewhere(client, run.info.artifact_uri):
        logger.warning(
            "artifacts in %s are left alone: no place of its store", run.info.artifact_uri
        )
        return
    uri = urlsplit(run.info.artifact_uri)
    if uri.scheme == "file":  # in their place: MlflowClient cannot get names with #, ? or % in them
        root = Path(url2pathname(uri.path))
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            yield path.relative_to(root).as_posix(), path
        return
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for name in artifact_names(client, run.info.run_id, None):
        try:
            path = client.download_artifacts(run.info.run_id, name, folder and str(folder))
        except MlflowException as error:
            logger.warning("artifact %r cannot be read from MLflow: %s", name, error)
        else:
            yield name, Path(path)


def artifact_names(client: MlflowClient, run_id: str, path: str | None) -> Iterator[str]:
    """Give the names of a run's artifacts.

    Args:
        client: A client of the backend.
        run_id: MLflow's id of the run.
        path: The folder among them, or None for all.
    """
    for info in client.list_artifacts(run_id, path):
        if info.is_dir:
            yield from artifact_names(client, run_id, info.path)
        else:
            yield info.path
