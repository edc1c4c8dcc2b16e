"""How does a study of Optuna become runs: one for each trial, below the run that is there?"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import optuna

import trackyard
from trackyard_integrations.joining import contained, current_run_for, numbers


class TrackyardCallback:
    """Make a child run of each trial that has ended: `study.optimize(..., callbacks=[...])`."""

    def __init__(self) -> None:
        # Trials of several threads end at once: while one has a run open, which run is the current
        # one of another thread is unknown.
        self._one_at_a_time = threading.Lock()

    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Log a trial, and on the run above which trial is the best by now.

        Args:
            study: The study.
            trial: A trial that has ended.
        """
        with self._one_at_a_time:
            self._log(study, trial)

    @contained
    def _log(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        parent = current_run_for("the callback of Optuna")
        if parent is None:
            return
        with trackyard.start_run(f"trial-{trial.number}", nested=True) as run:
            _log_trial(run, study, trial)
        _log_best(parent, study)


def tracked_trial(objective: Callable[[optuna.Trial], Any]) -> Callable[[optuna.Trial], Any]:
    """Give an objective each of whose trials is a run while it goes: its log calls land there.

    Args:
        objective: The objective; a trial that it prunes is killed, not failed.
    """
    starting, going = threading.Lock(), set[str]()

    @wraps(objective)
    def tracked(trial: optuna.Trial) -> Any:
        with starting:  # no trial is below one of another thread, which may be the only run there
            run = trackyard.start_run(
                f"trial-{trial.number}",
                trial.study.study_name,
                nested=_current_id() not in going,
                tags={"optuna.study": trial.study.study_name},
            )
            going.add(run.id)
        with run:
            value = None
            try:
                value = objective(trial)
            except optuna.TrialPruned:
                run.set_status("killed")
                raise
            finally:
                going.discard(run.id)
                _log_what_went(run, trial, value)
            return value

    return tracked


def _current_id() -> str | None:
    try:
        return trackyard.current_run().id
    except trackyard.NoActiveRunError:
        return None


@contained
def _log_what_went(run: trackyard.ActiveRun, trial: optuna.Trial, value: Any) -> None:
    frozen = trial.study._storage.get_trial(trial._trial_id)  # noqa: SLF001 - has no public name
    _log_values(run, trial.study, frozen, value)


def _log_trial(
    run: trackyard.ActiveRun, study: optuna.Study, trial: optuna.trial.FrozenTrial
) -> None:
    run.set_tags({"optuna.study": study.study_name, "optuna.state": trial.state.name})
    _log_values(run, study, trial, trial.values)
    if trial.duration is not None:
        run.log_metric("seconds", trial.duration.total_seconds())
    if trial.state is not optuna.trial.TrialState.COMPLETE:
        pruned = trial.state is optuna.trial.TrialState.PRUNED
        run.set_status("killed" if pruned else "failed")


def _log_values(
    run: trackyard.ActiveRun, study: optuna.Study, trial: optuna.trial.FrozenTrial, value: Any
) -> None:
    run.log_params(trial.params)
    for step, reached in sorted(trial.intermediate_values.items()):
        run.log_metric("intermediate_value", reached, step=step)
    if value is not None:
        given = list(value) if isinstance(value, list | tuple) else [value]
        names = study.metric_names or ["value", *(f"value_{i}" for i in range(1, len(given)))]
        run.log_metrics(numbers(dict(zip(names, given, strict=False))))


def _log_best(parent: trackyard.ActiveRun, study: optuna.Study) -> None:
    """Say which trial is the best by now, by tags: params of a tracker are written once."""
    complete = (optuna.trial.TrialState.COMPLETE,)
    if len(study.directions) > 1 or not study.get_trials(deepcopy=False, states=complete):
        return
    best = study.best_trial
    parent.log_metric("best_value", best.value, step=best.number)
    parent.set_tags(
        {
            "optuna.study": study.study_name,
            "optuna.best_trial": str(best.number),
            "optuna.best_params": json.dumps(best.params, default=str),
        }
    )
