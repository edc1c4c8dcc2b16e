"""How do estimators and searches of scikit-learn become runs?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trackyard import ActiveRun
from trackyard_integrations.estimators import log_fitted, log_searched, report_on
from trackyard_integrations.joining import TrainingRun, contained, current_run_for


@contained
def log_estimator(estimator: Any, *, log_model: bool = False) -> None:
    """Log an estimator that is fitted: its class, params and the curves of its fit.

    Args:
        estimator: The estimator.
        log_model: Also log it as the model `model`.
    """
    run = current_run_for("log_estimator")
    if run is not None:
        log_fitted(run, estimator, log_model=log_model)


@contained
def log_search(search: Any, *, log_model: bool = False) -> None:
    """Log a search that is fitted, such as `GridSearchCV`: a child run for each candidate.

    Args:
        search: The search.
        log_model: Also log its best estimator as the model `model`.
    """
    run = current_run_for("log_search")
    if run is not None:
        log_searched(run, search, log_model=log_model)


@contained
def log_report(estimator: Any, X: Any, y: Any, prefix: str = "test") -> None:  # noqa: N803 - sklearn's
    """Log how good a fitted classifier or regressor is on data.

    Args:
        estimator: The estimator.
        X: The data.
        y: What is right.
        prefix: Begins the names, as in `test_accuracy`.
    """
    run = current_run_for("log_report")
    if run is None:
        return
    report_on(run, estimator, X, y, prefix)


@contextmanager
def tracked_fit(estimator: Any, *, log_model: bool = False) -> Iterator[ActiveRun]:
    """Track the `fit` of an estimator or search in the block, in a run that is there or its own.

    Args:
        estimator: What is fitted in the block.
        log_model: Also log it, or a search's best estimator, as the model `model`.
    """
    training = TrainingRun(type(estimator).__name__)
    run, started = training.begin(), time.perf_counter()
    try:
        yield run
        run.log_metric("fit_seconds", time.perf_counter() - started)
        log = log_searched if hasattr(estimator, "cv_results_") else log_fitted
        contained(log)(run, estimator, log_model=log_model)
    except BaseException:
        training.end("failed")
        raise
    training.end()
