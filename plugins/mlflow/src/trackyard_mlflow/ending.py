"""How is it written into MLflow how a run ended?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from trackyard.contract import Run
from trackyard_mlflow.backend import has_been_written, late_parent_tag, writing
from trackyard_mlflow.sqlite_rows import is_run_ended

if TYPE_CHECKING:
    from mlflow import MlflowClient


def end_run(
    run: Run,
    run_id: str,
    status: str,
    tags: Mapping[str, str],
    *,
    uri: str,
    connected: Callable[[], AbstractContextManager[MlflowClient]],
) -> None:
    """Write a run's end and what its tags say of it, together where that is possible.

    Args:
        run: The run.
        run_id: MLflow's own id of it.
        status: In MLflow's word.
        tags: What else the end says.
        uri: The store's address.
        connected: Gives a client of the store.
    """
    ended_at = run.ended_at // 1_000_000 if run.ended_at else None
    tags = {**tags, **late_parent_tag(run)}
    if is_run_ended(uri, run_id, status, ended_at, tags):
        has_been_written(run)
        return
    with connected() as client, writing(client, run, run_id):
        _set_tags(client, run_id, tags)
        client.set_terminated(run_id, status, ended_at)


def _set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags in one request; a single one by the call that costs a database half."""
    from mlflow.entities import RunTag

    if len(tags) > 1:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        return
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
