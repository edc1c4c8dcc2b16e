"""What becomes of another place that the step's code names: a server, an experiment?

The run stays where its tracker has it, and one line says what to configure. What the code then
looks up by that experiment's name, or by what the call returned, leads to where its runs are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.tracking import fluent
from mlflow.tracking._tracking_service import utils

from trackyard.contract import RetryLater, is_inside_hook, process_values, standing_in

logger = logging.getLogger("trackyard")

_get_experiment_by_name = MlflowClient.get_experiment_by_name


@contextmanager
def kept(tracking_uri: str, experiment_id: str) -> Iterator[None]:
    """Keep the runs of a block where they are, whatever its code says.

    Args:
        tracking_uri: The backend.
        experiment_id: MLflow's id of the experiment.
    """
    place = _Place(tracking_uri, experiment_id)
    attributes = [
        *standing_in(utils.set_tracking_uri, place.set_tracking_uri),
        *standing_in(fluent.set_experiment, place.set_experiment),
        (MlflowClient, "get_experiment_by_name", place.by_name()),
    ]
    with ExitStack() as held:
        with suppress(RetryLater):  # what a run that overlaps this one says, holds for both
            held.enter_context(process_values({}, attributes))
        yield


class _Place:
    """Where the runs of a block are, and the experiments that its code takes it for."""

    def __init__(self, tracking_uri: str, experiment_id: str) -> None:
        self._tracking_uri = tracking_uri
        self._experiment_id = experiment_id
        self._named: set[str] = set()
        self._said: set[str] = set()

    def set_tracking_uri(self, uri: Any) -> None:
        """Stand for `mlflow.set_tracking_uri`.

        Args:
            uri: The server, database or folder that the code names.
        """
        if uri and str(uri) != self._tracking_uri:
            self._say("tracking_uri", str(uri))

    def set_experiment(
        self, experiment_name: Any = None, experiment_id: Any = None, **_: Any
    ) -> Any:
        """Stand for `mlflow.set_experiment`; gives the experiment where the runs are.

        Args:
            experiment_name: As MLflow has it.
            experiment_id: Likewise.
        """
        own = mlflow.get_experiment(self._experiment_id)
        if experiment_name and experiment_name != own.name:
            self._named.add(experiment_name)
            self._say("experiment_name", experiment_name)
        elif experiment_id and str(experiment_id) != self._experiment_id:
            other = mlflow.get_experiment(str(experiment_id))
            self._say("experiment_name", other.name)
        return own

    def by_name(self) -> Any:
        """Give what stands for `MlflowClient.get_experiment_by_name`."""

        @wraps(_get_experiment_by_name)
        def get_experiment_by_name(client: Any, name: str) -> Any:
            if name in self._named and not is_inside_hook():
                return client.get_experiment(self._experiment_id)
            return _get_experiment_by_name(client, name)

        return get_experiment_by_name

    def _say(self, field: str, value: str) -> None:
        if field not in self._said:
            self._said.add(field)
            logger.warning(
                "the code names another place for MLflow's runs, and they stay in that of the "
                "experiment tracker; to have them there, give it %s = %r in trackyard.toml",
                field,
                value,
            )
