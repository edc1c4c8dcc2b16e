"""How is a user's callback called so that it can change nothing?"""

from __future__ import annotations

import logging
from collections.abc import Callable

from trackyard.runs.pipeline_views import StepRun
from trackyard.system.waiting import result_within

logger = logging.getLogger("trackyard")

# Seconds that the pipeline waits for a callback; one that hangs is left alone.
PATIENCE = 10.0


def call_back(callback: Callable[[StepRun], object], step_run: StepRun) -> None:
    """Call a function with a step run; what it raises is said in the log and goes no further.

    Args:
        callback: The step's `on_success` or `on_failure`.
        step_run: How the step ended.
    """

    def call() -> None:
        try:
            callback(step_run)
        except BaseException:  # sys.exit() in there must not end the pipeline
            logger.exception("callback %s of step %r failed", _name_of(callback), step_run.name)

    try:
        result_within(PATIENCE, call, name=f"callback-{step_run.name}")
    except TimeoutError:
        logger.warning(
            "callback %s of step %r takes more than %g s and is left alone",
            _name_of(callback),
            step_run.name,
            PATIENCE,
        )


def _name_of(callback: Callable[..., object]) -> str:
    return str(getattr(callback, "__qualname__", type(callback).__name__))
