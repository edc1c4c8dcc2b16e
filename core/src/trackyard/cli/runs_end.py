"""`trackyard runs end`: how is a run ended whose machine is gone?"""

from __future__ import annotations

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import json_option, show_table
from trackyard.client import Client
from trackyard.contract.records import Status

_COLUMNS = {"run": "RUN", "tracker": "TRACKER", "state": "STATE", "problem": "PROBLEM"}


@click.command()
@click.argument("run", shell_complete=run_names)
@click.option(
    "--status",
    type=click.Choice(["crashed", "failed", "killed", "finished"]),
    default="crashed",
    show_default=True,
    help="How it ended.",
)
@click.option("--force", is_flag=True, help="Also where it gave a sign of life a moment ago.")
@json_option
def end(run: str, status: Status, force: bool, as_json: bool) -> None:
    """End RUN, whose process is gone, in the store and on its trackers.

    RUN may have been made on another machine of a team that has a store, where it shows as
    unreachable. Where that machine comes back, the run is open again.
    """
    rows = Client().end_run(run, status, is_forced=force)
    show_table(rows, _COLUMNS, as_json=as_json, empty="ended; it is on no experiment tracker")
