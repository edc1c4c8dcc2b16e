"""How does a run that has ended in MLflow get to be running again there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun


def reopen_run(client: MlflowClient, run: MlflowRun) -> None:
    """Let a run be running again: nothing says any more how it had ended.

    Args:
        client: A client of the store.
        run: The run as the store has it.
    """
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    client.set_tag(run.info.run_id, "trackyard.status", "running")
    if "trackyard.failure" in run.data.tags:
        client.delete_tag(run.info.run_id, "trackyard.failure")
