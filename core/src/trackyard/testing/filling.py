"""Which runs stand in the project that a command shows in its checks?

    python -m trackyard.testing.filling

It runs in a project, and ends in the middle of a block, as a killed process does.
"""

from __future__ import annotations

import os
from contextlib import suppress

from trackyard import log_metric, pipeline, start_run, step

# What a name may hold that must not reach a terminal; click strips colours alone.
CONTROL = "\x1b[31m\x1b]0;title\x07"


@step
def load() -> list[float]:
    """Give an output, and log a metric."""
    log_metric("loss", 0.5, step=0)
    return [0.25, float("nan")]


@step
def train(numbers: list[float]) -> None:
    """Fail."""
    raise ValueError(f"no good: {numbers}{CONTROL}")


@pipeline
def training() -> None:
    """Fail in the second step."""
    train(load())


def main() -> None:
    """Leave runs that have finished, failed and crashed, of blocks and of a pipeline."""
    with start_run(f"Zoë {CONTROL}", experiment="filled", experiment_tracker=None) as run:
        run.log_params({"rate": 0.1, "name": f"a\tb\n{CONTROL}"})
        run.set_tag("stage", "baseline")
        run.log_text("all is well", "notes/report.txt")
        for number, loss in enumerate((0.5, float("inf"), 0.25)):
            run.log_metric("loss", loss, step=number)
        run.log_metric("odd", float("nan"))
    with suppress(ValueError):
        training()
    with (
        suppress(ValueError),
        start_run("failed", experiment="filled", experiment_tracker=None) as run,
    ):
        run.log_metric("loss", 1)
        raise ValueError("no good")
    with start_run("crashed", experiment="filled", experiment_tracker=None) as run:
        run.log_metric("loss", 2)
        os._exit(0)


if __name__ == "__main__":
    main()
