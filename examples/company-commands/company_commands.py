# company_commands.py
"""`trackyard slowest`: which runs of a project took longest?"""

from __future__ import annotations

import click

from trackyard import Client, ConfigError
from trackyard.contract import find_project, json_option, show_table

COLUMNS = {"name": "RUN", "status": "STATUS", "seconds": "SECONDS"}


@click.command()
@click.argument("count", type=click.IntRange(1), default=5)
@json_option
def slowest(count: int, as_json: bool) -> None:
    """Show the COUNT runs of this project that took longest."""
    project = find_project()
    if project.config_file is None:
        raise ConfigError(f"{project.root} is no project; type: trackyard init")
    runs = Client(project.root).list_runs(sort="duration", most=count)
    show_table(runs, COLUMNS, as_json=as_json, empty="no run has ended yet")
