"""What is logged of every kind of boosted trees: the scores, and a summary of the model?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trackyard import ActiveRun
from trackyard_integrations.joining import numbers


def log_trees(
    run: ActiveRun,
    best: Mapping[str, Any],
    importance: Iterable[tuple[str, Any]],
    model: Any = None,
    framework: str | None = None,
) -> None:
    """Log what is known when trees are trained.

    Args:
        run: The run.
        best: The best iteration and scores, of which what is no number is left out.
        importance: How much each feature tells, by its name.
        model: The model, where it is to be logged as `model`.
        framework: What it is a model of.
    """
    run.log_metrics(numbers(best))
    plain = {
        feature: gain.tolist() if hasattr(gain, "tolist") else gain for feature, gain in importance
    }
    run.log_dict(plain, "feature_importance.json")
    if model is not None:
        run.log_model(model, "model", framework=framework)


def best_scores(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give names such as `best_valid-auc` to scores by data and metric."""
    return {
        f"best_{data}-{metric}": value
        for data, metrics in scores.items()
        for metric, value in metrics.items()
    }


def newest_scores(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Give the last score by data and metric; of a cross-validation each is mean and deviation.

    Args:
        scores: All scores by now.
    """
    found: dict[str, Any] = {}
    for data, metrics in scores.items():
        for metric, values in metrics.items():
            name, value = f"{data}-{metric}", values[-1]
            if isinstance(value, tuple):
                found[f"{name}-mean"], found[f"{name}-std"] = value
            else:
                found[name] = value
    return numbers(found)
