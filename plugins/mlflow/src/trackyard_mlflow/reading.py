"""What does MLflow hold of a run, as records?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trackyard import Artifact, Metric, Param, Record, Tag

if TYPE_CHECKING:
    from mlflow import MlflowClient


def read_records(client: MlflowClient, run_id: str, folder: Path) -> Iterator[Record]:
    """Read params, tags, metrics with their whole history, and artifacts of a run.

    Args:
        client: A client of the backend.
        run_id: MLflow's id of the run.
        folder: Where artifacts are downloaded to.
    """
    data = client.get_run(run_id).data
    for key, value in data.params.items():
        yield Param(key, value)
    for key, value in data.tags.items():
        yield Tag(key, value)
    for key in data.metrics:
        for metric in client.get_metric_history(run_id, key):
            yield Metric(key, metric.value, metric.step, metric.timestamp * 1_000_000)
    for name in _files(client, run_id, None):
        folder.mkdir(parents=True, exist_ok=True)
        yield Artifact(name, Path(client.download_artifacts(run_id, name, str(folder))), "file")


def _files(client: MlflowClient, run_id: str, path: str | None) -> Iterator[str]:
    for info in client.list_artifacts(run_id, path):
        if info.is_dir:
            yield from _files(client, run_id, info.path)
        else:
            yield info.path
