"""What is logged of an estimator of scikit-learn, a search, and how good they are on data?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trackyard
from trackyard import ActiveRun
from trackyard_integrations.joining import numbers

_CURVES = ("loss_curve_", "validation_scores_", "train_score_", "validation_score_")
# Params that hold other estimators.
_COMPOSED = ("steps", "transformers", "transformer_list", "estimators")


def log_fitted(run: ActiveRun, estimator: Any, *, log_model: bool) -> None:
    """Log an estimator that is fitted.

    Args:
        run: The run.
        estimator: The estimator.
        log_model: Also log it as the model `model`.
    """
    run.set_tag("estimator", type(estimator).__name__)
    run.log_params(_plain(estimator.get_params(deep=True)))
    for name in _CURVES:
        curve = getattr(estimator, name, None)
        for step, value in enumerate(() if curve is None else curve):
            run.log_metrics(numbers({name.rstrip("_"): value}), step=step)
    if log_model:
        run.log_model(estimator, "model", framework="sklearn")


def report_on(run: ActiveRun, estimator: Any, X: Any, y: Any, prefix: str) -> None:  # noqa: N803
    """Log how good a fitted classifier or regressor is on data.

    Args:
        run: The run.
        estimator: The estimator.
        X: The data.
        y: What is right.
        prefix: Begins the names.
    """
    from sklearn import base, metrics

    predicted = estimator.predict(X)
    if base.is_classifier(estimator):
        report = metrics.classification_report(y, predicted, output_dict=True, zero_division=0)
        averages = {f"{key}_weighted": value for key, value in report["weighted avg"].items()}
        found = {"accuracy": metrics.accuracy_score(y, predicted), **averages}
        found.pop("support_weighted", None)
        matrix = metrics.confusion_matrix(y, predicted).tolist()
        run.log_dict({"classes": report, "confusion": matrix}, f"{prefix}_report.json")
    else:
        found = {
            "r2": metrics.r2_score(y, predicted),
            "mean_absolute_error": metrics.mean_absolute_error(y, predicted),
            "mean_squared_error": metrics.mean_squared_error(y, predicted),
        }
    run.log_metrics(numbers({f"{prefix}_{key}": value for key, value in found.items()}))


def log_searched(run: ActiveRun, search: Any, *, log_model: bool) -> None:
    """Log a search that is fitted, and a child run for each candidate.

    Args:
        run: The run.
        search: The search.
        log_model: Also log its best estimator as the model `model`.
    """
    run.set_tags({"estimator": type(search.estimator).__name__, "search": type(search).__name__})
    results = search.cv_results_
    for index, candidate in enumerate(results["params"]):
        with trackyard.start_run(f"candidate-{index}", nested=True) as child:
            child.log_params(_plain(candidate))
            row = {key: values[index] for key, values in results.items() if key[:6] != "param_"}
            child.log_metrics(numbers(row))
    if hasattr(search, "best_params_"):
        run.log_params({f"best_{key}": value for key, value in _plain(search.best_params_).items()})
    best = {key: getattr(search, f"{key}_", None) for key in ("best_score", "best_index")}
    run.log_metrics(numbers(best))
    if log_model and hasattr(search, "best_estimator_"):
        run.log_model(search.best_estimator_, "model", framework="sklearn")


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what holds estimators: their own params stand beside them."""
    return {
        key: value if isinstance(value, bool | int | float | str | None) else str(value)
        for key, value in params.items()
        if not hasattr(value, "get_params") and key.rpartition("__")[2] not in _COMPOSED
    }
