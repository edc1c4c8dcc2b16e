"""How does a run that has ended in MLflow get to be running again there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackyard.contract import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun


def reopened(client: MlflowClient, run: Run, there: MlflowRun) -> MlflowRun:
    """Give MLflow's run; one that was resumed is running, and says no more how it had ended.

    Args:
        client: A client of the store.
        run: The run.
        there: The run as the store has it.
    """
    if not run.resumed:
        return there
    if there.info.status != "RUNNING":
        client.update_run(there.info.run_id, status="RUNNING")
    client.set_tag(there.info.run_id, "trackyard.status", "running")
    if "trackyard.failure" in there.data.tags:
        client.delete_tag(there.info.run_id, "trackyard.failure")
    return there
