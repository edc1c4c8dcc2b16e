"""How do trials of Ray Tune become runs, below the run that is there?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.logger import LoggerCallback
from ray.tune.utils.util import flatten_dict

from trackyard_integrations.checkpoints import send_from_ray
from trackyard_integrations.joining import contained, numbers
from trackyard_integrations.trial_runs import TrialRuns

_NO_RESULTS = ("config", "pid", "timestamp", "iterations_since_restore", "time_since_restore")


class TrackyardCallback(LoggerCallback):
    """Make each trial a child run: `tune.RunConfig(callbacks=[TrackyardCallback()])`.

    A search that is restored goes on in the same runs.

    Args:
        log_checkpoints: Also log each checkpoint of a trial as it is saved.
    """

    def __init__(self, *, log_checkpoints: bool = False) -> None:
        self.log_checkpoints = log_checkpoints
        self._runs = TrialRuns()

    @contained
    def log_trial_start(self, trial: Any) -> None:
        """Start a trial's run, and log its configuration; one that was paused has its run still."""
        self._runs.of(trial).log_params(trial.config)

    @contained
    def log_trial_result(self, iteration: int, trial: Any, result: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Log what a trial reports.

        Args:
            iteration: Not needed.
            trial: The trial.
            result: Its numbers by name.
        """
        kept = {key: value for key, value in result.items() if key not in _NO_RESULTS}
        step = result.get("timesteps_total") or result["training_iteration"]
        self._runs.of(trial).log_metrics(numbers(flatten_dict(kept)), step=step)

    @contained
    def log_trial_save(self, trial: Any) -> None:
        """Log a checkpoint, if they are wanted."""
        if self.log_checkpoints and trial.checkpoint is not None:
            send_from_ray(self._runs.of(trial), trial.checkpoint)

    @contained
    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End a trial's run.

        Args:
            trial: The trial.
            failed: Whether it has failed.
        """
        self._runs.end(trial.trial_id, "failed" if failed else "finished")

    @contained
    def on_experiment_end(self, trials: Any, **_: Any) -> None:  # noqa: ARG002
        """End what is left: trials that were cut off are killed.

        Args:
            trials: Not needed.
        """
        self._runs.end_all("killed")

    def get_state(self) -> dict[str, Any]:
        """Give what a search that is restored has to know: the ids of the runs."""
        return self._runs.state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what a search has left that goes on."""
        self._runs = TrialRuns(**state)
