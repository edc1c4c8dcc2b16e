"""How do MLflow's own calls land in a run, and where, while its server cannot be reached?"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackyard import Run, process_values
from trackyard_mlflow.backend import new_client

if TYPE_CHECKING:
    from mlflow import ActiveRun
    from mlflow.entities import Run as MlflowRun


@contextmanager
def active_run(
    tracking_uri: str, remote: MlflowRun, environment: Mapping[str, Any]
) -> Iterator[ActiveRun]:
    """Make a run MLflow's active run in this thread.

    MLflow keeps a stack of active runs per thread. Entering a run by id would cost two calls to
    the backend, and leaving it would mark it as finished.
    """
    import mlflow
    from mlflow.tracking import fluent
    from mlflow.tracking._tracking_service import utils

    environment = {**environment, "MLFLOW_TRACKING_URI": tracking_uri}
    with process_values(environment, [(utils, "_tracking_uri", tracking_uri)]), own_autologging():
        stack = fluent._active_run_stack.get()  # noqa: SLF001 - there is no public way
        active = mlflow.ActiveRun(remote)
        stack.append(active)
        try:
            yield active
        finally:
            stack[:] = [run for run in stack if run.info.run_id != remote.info.run_id]


@contextmanager
def own_autologging() -> Iterator[None]:
    """Switch off afterwards what `mlflow.autolog()` switched on, so that it meets no other step."""
    from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS

    before = copy.deepcopy(dict(AUTOLOGGING_INTEGRATIONS))
    try:
        yield
    finally:
        for name in set(AUTOLOGGING_INTEGRATIONS) - set(before):
            del AUTOLOGGING_INTEGRATIONS[name]
        AUTOLOGGING_INTEGRATIONS.update(before)


def local_run(run: Run) -> tuple[str, MlflowRun]:
    """Make or find the run on sqlite in a run's folder that takes native calls meanwhile.

    It has the same name: what is merged later holds it as a tag.

    Returns:
        Its tracking URI and the run.
    """
    uri = f"sqlite:///{(run.folder / 'native.db').as_posix()}"
    client = new_client(uri)
    experiment = client.get_experiment_by_name("native")
    if experiment is None:
        location = (run.folder / "native-artifacts").as_uri()
        experiment_id = client.create_experiment("native", artifact_location=location)
        return uri, client.create_run(experiment_id, run_name=run.name)
    return uri, client.search_runs([experiment.experiment_id])[0]


def has_local_run(folder: Path) -> bool:
    """Tell whether a local target was made in a folder."""
    return (folder / "native.db").is_file()
