"""How does a training of CatBoost log to the run that is there?"""

from __future__ import annotations

from typing import Any

from trackyard_integrations.joining import contained, current_run_for, next_step
from trackyard_integrations.trees import best_scores, log_trees, newest_scores


class TrackyardCallback:
    """Log each iteration's scores: `model.fit(..., callbacks=[TrackyardCallback()])`, on CPUs."""

    def __init__(self) -> None:
        self._before = 0

    def after_iteration(self, info: Any) -> bool:
        """Log the newest scores, and let the training go on."""
        self._log(info)
        return True

    @contained
    def _log(self, info: Any) -> None:
        run = current_run_for("the callback of CatBoost")
        if run is None:
            return
        scores = newest_scores(info.metrics)
        if info.iteration == 1:  # also of a training that goes on from a model
            self._before = next_step(run, scores)
        run.log_metrics(scores, step=self._before + info.iteration - 1)


@contained
def log_summary(model: Any, *, log_model: bool = False) -> None:
    """Log a fitted model: all of its params, the best iteration and scores, importances.

    Args:
        model: The model.
        log_model: Also log it as the model `model`.
    """
    run = current_run_for("log_summary of CatBoost")
    if run is None:
        return
    run.log_params(model.get_all_params())
    best = {"best_iteration": model.get_best_iteration(), **best_scores(model.get_best_score())}
    importance = zip(model.feature_names_, model.get_feature_importance(), strict=True)
    log_trees(run, best, importance, model if log_model else None, "catboost")
