"""`trackyard runs list`: which pipeline runs are there?"""

from __future__ import annotations

from typing import Any

import click

from trackyard.cli.output import json_option, show_table

_COLUMNS = {"name": "NAME", "pipeline": "PIPELINE", "status": "STATUS", "seconds": "SECONDS"}


@click.command("list")
@json_option
def list_runs(as_json: bool) -> None:
    """List pipeline runs, the latest first."""
    from trackyard.client import Client

    rows: list[dict[str, Any]] = [
        {
            "name": run.name,
            "id": run.id,
            "pipeline": run.pipeline,
            "status": run.status,
            "seconds": run.duration,
        }
        for run in Client().list_pipeline_runs()
    ]
    show_table(rows, _COLUMNS, as_json=as_json, empty="no pipeline run is stored")
