"""How does a study of Optuna become runs: one for each trial, below the run that is there?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import optuna

import trackyard
from trackyard_integrations.joining import contained, current_run_for
from trackyard_integrations.trials import log_best, log_trial, log_what_went


class TrackyardCallback:
    """Make a child run of each trial that has ended: `study.optimize(..., callbacks=[...])`."""

    def __init__(self) -> None:
        # Trials of several threads end at once: while one has a run open, which run is the current
        # one of another thread is unknown.
        self._one_at_a_time = threading.Lock()

    @contained
    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Log a trial, and on the run above which trial is the best by now.

        Args:
            study: The study.
            trial: A trial that has ended.
        """
        with self._one_at_a_time:
            parent = current_run_for("the callback of Optuna")
            if parent is None:
                return
            with trackyard.start_run(f"trial-{trial.number}", nested=True) as run:
                log_trial(run, study, trial)
            log_best(parent, study, trial.number)


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
                log_what_went(run, trial, value)
            return value

    return tracked


def _current_id() -> str | None:
    try:
        return trackyard.current_run().id
    except trackyard.NoActiveRunError:
        return None
