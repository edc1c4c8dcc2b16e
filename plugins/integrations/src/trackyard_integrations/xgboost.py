"""How does a training of XGBoost become a run?"""

from __future__ import annotations

import json
from typing import Any

import xgboost

from trackyard_integrations.joining import TrainingRun, contained
from trackyard_integrations.trees import log_trees, newest_scores


class TrackyardCallback(xgboost.callback.TrainingCallback):
    """Log each iteration's scores, and at the end importances, the best iteration and the model.

    For `xgboost.train`, `xgboost.cv` and the estimators, which take it as `callbacks=[...]`.
    """

    def __init__(self, *, log_model: bool = False, importance_type: str = "gain") -> None:
        super().__init__()
        self.log_model = log_model
        self.importance_type = importance_type
        self._training = TrainingRun("xgboost")
        self._rounds_before = 0

    def before_training(self, model: Any) -> Any:
        """Log the configuration, where XGBoost has one: `cv` has several boosters."""
        self._rounds_before = model.num_boosted_rounds()  # XGBoost counts from 0 again
        self._log_params(model)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        """Log the newest scores.

        Args:
            model: The model.
            epoch: The epoch.
            evals_log: All scores by now.
        """
        self._log_scores(self._rounds_before + epoch, evals_log)
        return False

    def after_training(self, model: Any) -> Any:
        """Log what is known at the end; end the run if it is the training's own."""
        self._finish(model)
        return model

    @contained
    def _log_params(self, model: Any) -> None:
        if xgboost.collective.get_rank() == 0:
            run = self._training.begin()
            if hasattr(model, "save_config"):
                run.log_params(json.loads(model.save_config())["learner"])

    @contained
    def _log_scores(self, epoch: int, evals_log: Any) -> None:
        if xgboost.collective.get_rank() == 0:
            self._training.begin().log_metrics(newest_scores(evals_log), step=epoch)

    @contained
    def _finish(self, model: Any) -> None:
        if xgboost.collective.get_rank() == 0:
            try:
                self._log_summary(model)
            finally:
                self._training.end()

    def _log_summary(self, model: Any) -> None:
        if hasattr(model, "get_score"):  # a booster alone, not the several of `cv`
            run = self._training.begin()
            texts = {key: model.attr(key) for key in ("best_score", "best_iteration")}
            best = {key: float(text) for key, text in texts.items() if text is not None}
            gains = model.get_score(importance_type=self.importance_type)
            log_trees(run, best, gains.items(), model if self.log_model else None, "xgboost")
