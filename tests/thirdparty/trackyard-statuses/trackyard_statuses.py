"""`trackyard statuses`: how did the runs of each pipeline end?"""

from __future__ import annotations

from collections import Counter

import click

from trackyard import Client, TrackyardError
from trackyard.contract import find_project, json_option, remark, show_table, show_values


@click.group()
def statuses() -> None:
    """Count runs by how they ended."""


@statuses.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Count the runs of all pipelines."""
    counts = Counter((run.pipeline, run.status) for run in Client().list_runs(most=10_000))
    rows = [
        {"pipeline": pipeline, "status": status, "runs": number}
        for (pipeline, status), number in sorted(counts.items())
    ]
    columns = {"pipeline": "PIPELINE", "status": "STATUS", "runs": "RUNS"}
    show_table(rows, columns, as_json=as_json, empty="there are no runs")
    if not as_json:
        remark(f"in {find_project().home}")


@statuses.command()
@click.argument("pipeline")
@json_option
def show(pipeline: str, as_json: bool) -> None:
    """Count the runs of PIPELINE."""
    runs = Client().list_runs(pipeline, most=10_000)
    if not runs:
        raise TrackyardError(f"no run of {pipeline!r}; type: trackyard statuses list")
    show_values(dict(Counter(run.status for run in runs)), as_json=as_json)
