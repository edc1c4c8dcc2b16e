"""How does a training of LightGBM log to the run that is there?"""

from __future__ import annotations

from typing import Any

from trackyard_integrations.joining import contained, current_run_for, numbers
from trackyard_integrations.trees import best_scores, log_trees


class TrackyardCallback:
    """Log params and each iteration's scores; LightGBM tells no callback that it has ended."""

    order = 25
    before_iteration = False

    def __call__(self, env: Any) -> None:
        """Log the newest scores, with the params before the first of them."""
        self._log(env)

    @contained
    def _log(self, env: Any) -> None:
        run = current_run_for("the callback of LightGBM")
        if run is None:
            return
        if env.iteration == env.begin_iteration and env.params:
            run.log_params(dict(env.params))
        found: dict[str, Any] = {}
        for data, metric, value, _, *deviation in env.evaluation_result_list or ():
            found[f"{data}-{metric}-mean" if deviation else f"{data}-{metric}"] = value
            if deviation:
                found[f"{data}-{metric}-stdv"] = deviation[0]
        run.log_metrics(numbers(found), step=env.iteration)


@contained
def log_summary(model: Any, *, log_model: bool = False) -> None:
    """Log a trained booster or estimator: best iteration and scores, importances, the model.

    Args:
        model: What `lightgbm.train` gave, or a fitted estimator.
        log_model: Also log it as the model `model`.
    """
    run = current_run_for("log_summary of LightGBM")
    if run is None:
        return
    booster = getattr(model, "booster_", model)
    stopped = {"best_iteration": booster.best_iteration} if booster.best_iteration > 0 else {}
    best = {**stopped, **best_scores(booster.best_score)}
    gains = booster.feature_importance(importance_type="gain")
    importance = zip(booster.feature_name(), gains, strict=True)
    log_trees(run, best, importance, model if log_model else None, "lightgbm")
