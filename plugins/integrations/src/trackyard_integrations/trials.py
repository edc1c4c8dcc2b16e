"""What is logged of a trial of Optuna, and of the study above it?"""

from __future__ import annotations

import json
from typing import Any

import optuna

from trackyard import ActiveRun
from trackyard_integrations.joining import contained, numbers


def log_trial(run: ActiveRun, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Log how a trial has gone on the run that is made of it.

    Args:
        run: The run.
        study: The study.
        trial: The trial, which has ended.
    """
    run.set_tags({"optuna.study": study.study_name, "optuna.state": trial.state.name})
    log_values(run, study, trial, trial.values)
    if trial.duration is not None:
        run.log_metric("seconds", trial.duration.total_seconds())
    if trial.state is not optuna.trial.TrialState.COMPLETE:
        pruned = trial.state is optuna.trial.TrialState.PRUNED
        run.set_status("killed" if pruned else "failed")


def log_values(
    run: ActiveRun, study: optuna.Study, trial: optuna.trial.FrozenTrial, value: Any
) -> None:
    """Log what a trial has tried, reported and come to.

    Args:
        run: Its run.
        study: The study.
        trial: The trial.
        value: What it came to: a number, one for each objective, or None.
    """
    run.log_params(trial.params)
    run.set_tags({key: str(attribute) for key, attribute in trial.user_attrs.items()})
    for step, reached in sorted(trial.intermediate_values.items()):
        run.log_metric("intermediate_value", reached, step=step)
    if value is not None:
        given = list(value) if isinstance(value, list | tuple) else [value]
        several = [f"value_{index}" for index in range(len(given))]
        names = study.metric_names or (several if len(given) > 1 else ["value"])
        run.log_metrics(numbers(dict(zip(names, given, strict=False))))


@contained
def log_what_went(run: ActiveRun, trial: optuna.Trial, value: Any) -> None:
    """Log what a trial has tried and reported that ends now.

    Args:
        run: Its run.
        trial: The trial, which goes on by Optuna's count.
        value: What it came to, or None.
    """
    frozen = trial.study._storage.get_trial(trial._trial_id)  # noqa: SLF001 - has no public name
    log_values(run, trial.study, frozen, value)


def log_best(parent: ActiveRun, study: optuna.Study, number: int) -> None:
    """Say which trial is the best by now, by tags: params of a tracker are written once.

    Args:
        parent: The run above the trials.
        study: The study.
        number: Of the trial that has ended.
    """
    complete = (optuna.trial.TrialState.COMPLETE,)
    if len(study.directions) > 1 or not study.get_trials(deepcopy=False, states=complete):
        return
    best = study.best_trial
    parent.log_metric("best_value", best.value, step=number)
    parent.set_tags(
        {
            "optuna.study": study.study_name,
            "optuna.best_trial": str(best.number),
            "optuna.best_params": json.dumps(best.params, default=str),
        }
    )
