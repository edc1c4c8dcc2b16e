"""How do trials of Ray Tune become runs, below the run that is there?"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context, copy_context
from typing import Any

from ray.tune.logger import LoggerCallback
from ray.tune.utils.util import flatten_dict

import trackyard
from trackyard import ActiveRun, TrackyardError
from trackyard_integrations.checkpoints import send_from_ray
from trackyard_integrations.joining import TrainingRun, contained, numbers

_NO_RESULTS = ("config", "pid", "timestamp", "iterations_since_restore", "time_since_restore")


class TrackyardCallback(LoggerCallback):
    """Make each trial a child run: `tune.RunConfig(callbacks=[TrackyardCallback()])`.

    A search that is restored goes on in the same runs.

    Args:
        log_checkpoints: Also log each checkpoint of a trial as it is saved.
    """

    def __init__(self, *, log_checkpoints: bool = False) -> None:
        self.log_checkpoints = log_checkpoints
        self._search = TrainingRun("ray_tune")
        self._known: dict[str, str] = {}  # ids of runs by those of trials
        self._open: dict[str, ActiveRun] = {}
        self._outside: Context | None = None

    @contained
    def log_trial_start(self, trial: Any) -> None:
        """Start a trial's run, and log its configuration; one that was paused has its run still."""
        run = self._run_of(trial)
        run.log_params(trial.config)

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
        self._run_of(trial).log_metrics(numbers(flatten_dict(kept)), step=step)

    @contained
    def log_trial_save(self, trial: Any) -> None:
        """Log a checkpoint, if they are wanted."""
        if self.log_checkpoints and trial.checkpoint is not None:
            send_from_ray(self._run_of(trial), trial.checkpoint)

    @contained
    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End a trial's run.

        Args:
            trial: The trial.
            failed: Whether it has failed.
        """
        self._end(trial.trial_id, "failed" if failed else "finished")

    @contained
    def on_experiment_end(self, trials: Any, **_: Any) -> None:  # noqa: ARG002
        """End what is left: trials that were cut off are killed.

        Args:
            trials: Not needed.
        """
        for trial_id in [*self._open]:
            self._end(trial_id, "killed")
        self._search.end()

    def get_state(self) -> dict[str, Any]:
        """Give what a search that is restored has to know: the ids of the runs."""
        return {"search": self._search.own_id, "known": dict(self._known)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what a search has left that goes on."""
        self._search = TrainingRun("ray_tune", state["search"])
        self._known = state["known"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_outside": None}

    def _run_of(self, trial: Any) -> ActiveRun:
        """Give a trial's open run.

        Trials go on side by side: each is started as if the others were not.
        """
        run = self._open.get(trial.trial_id)
        if run is None:
            if self._outside is None:
                self._search.begin()
                self._outside = copy_context()
            run = self._outside.copy().run(self._started, trial)
            self._open[trial.trial_id] = run
            self._known[trial.trial_id] = run.id
        return run

    def _started(self, trial: Any) -> ActiveRun:
        if (known := self._known.get(trial.trial_id)) is not None:
            try:
                return trackyard.resume_run(known)
            except TrackyardError:  # it was deleted, or still lives in another process
                pass
        tags = {"ray.trial_id": trial.trial_id, "ray.folder": str(trial.path or "")}
        return trackyard.start_run(str(trial), nested=True, tags=tags)

    def _end(self, trial_id: str, status: Any) -> None:
        run = self._open.pop(trial_id, None)
        if run is not None:
            run.set_status(status)
            run.end()
