"""How does a training of CatBoost log to the run that is there?"""

from __future__ import annotations

from typing import Any

from trackyard_integrations.joining import contained, current_run_for, numbers


class TrackyardCallback:
    """Log each iteration's scores: `model.fit(..., callbacks=[TrackyardCallback()])`, on CPUs."""

    def after_iteration(self, info: Any) -> bool:
        """Log the newest scores, and let the training go on."""
        self._log(info)
        return True

    @contained
    def _log(self, info: Any) -> None:
        run = current_run_for("the callback of CatBoost")
        if run is not None:
            newest = {
                f"{data}-{metric}": values[-1]
                for data, metrics in info.metrics.items()
                for metric, values in metrics.items()
            }
            run.log_metrics(numbers(newest), step=info.iteration - 1)


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
    scores = {
        f"best_{data}-{metric}": value
        for data, metrics in model.get_best_score().items()
        for metric, value in metrics.items()
    }
    run.log_metrics(numbers({"best_iteration": model.get_best_iteration(), **scores}))
    gains = map(float, model.get_feature_importance())
    importance = dict(zip(model.feature_names_, gains, strict=True))
    run.log_dict(importance, "feature_importance.json")
    if log_model:
        run.log_model(model, "model", framework="catboost")
