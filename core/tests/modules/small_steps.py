"""Which steps do tests of pipelines run, and what do they see of them?"""

from __future__ import annotations

from trackyard import (
    Client,
    log_metric,
    step,
)


@step
def load(rows: int = 3) -> list:
    return list(range(rows))


@step
def total(data: list) -> int:
    return sum(data)


@step(experiment_tracker="local")
def tracked(value=None):
    log_metric("m", 1.5, step=2)
    return value


@step(experiment_tracker="local")
def failing(value=None):
    raise ValueError("odd")


def run_of(name=None):
    """Give the latest run, as it was recorded."""
    client = Client()
    return client.get_pipeline_run(name or client.list_pipeline_runs()[0].name)


def statuses():
    return {name: found.status for name, found in run_of().steps.items()}
