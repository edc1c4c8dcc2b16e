"""What do `mlflow.start_run()` and `mlflow.end_run()` do in a step, whose run is active already?

MLflow's own `start_run()` refuses while a run is active, and its `end_run()` would end the step's
run before the step. Code that was written without Trackyard calls both, and works in a step as it
is: it gets the step's run, which ends with the step. This file is imported after MLflow only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow.tracking import fluent
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

_start_run = fluent.start_run
_end_run = fluent.end_run


class StepRun(mlflow.ActiveRun):  # type: ignore[misc]
    """MLflow's object for a step's own run."""


def start_run(run_id: str | None = None, *others: Any, **keywords: Any) -> mlflow.ActiveRun:
    """Give the step's own run; start another one where its id or `nested=True` asks for it.

    Args:
        run_id: MLflow's id of a run to continue, or None.
        *others: As `mlflow.start_run` has them.
        **keywords: Likewise.
    """
    current = _current()
    if current is None or keywords.get("nested") or others:
        return _start_run(run_id, *others, **keywords)
    if run_id not in (None, current.info.run_id):
        return _continue(run_id, **keywords)
    tags: Mapping[str, Any] = keywords.get("tags") or {}
    note = keywords.get("description")
    for key, value in {**tags, **({MLFLOW_RUN_NOTE: note} if note else {})}.items():
        mlflow.set_tag(key, value)
    return current


def _continue(run_id: str | None, **keywords: Any) -> mlflow.ActiveRun:
    # Its experiment may be another one than the step's, which MLflow takes for a mistake.
    state: Any = vars(fluent)
    experiment, state["_active_experiment_id"] = state["_active_experiment_id"], None
    try:
        return _start_run(run_id, nested=True, **keywords)
    finally:
        state["_active_experiment_id"] = experiment


def end_run(status: str = "FINISHED") -> None:
    """End the active run, unless it is the step's own: what follows still belongs there."""
    if _current() is None:
        _end_run(status)


def _current() -> StepRun | None:
    stack = fluent._active_run_stack.get()  # noqa: SLF001 - there is no public way
    return stack[-1] if stack and isinstance(stack[-1], StepRun) else None


# What is lent to MLflow's modules while a run is active.
ATTRIBUTES = [
    (module, function.__name__, function)
    for module in (mlflow, fluent)
    for function in (start_run, end_run)
]
