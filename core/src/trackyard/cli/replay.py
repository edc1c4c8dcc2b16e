"""`trackyard replay`: how does a run move to another tracker?"""

from __future__ import annotations

import sys
from typing import Any

import attrs
import click

from trackyard.cli.output import json_option, show_table
from trackyard.config import find_project
from trackyard.replay import replay_run
from trackyard.run_folders import find_runs

_COLUMNS = {
    "run": "RUN",
    "tracker": "TRACKER",
    "state": "STATE",
    "delivered": "DELIVERED",
    "quarantined": "QUARANTINED",
    "url": "URL",
    "problem": "PROBLEM",
}


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--to", "tracker", required=True, help="Name of the experiment tracker.")
@json_option
def replay(runs: tuple[str, ...], tracker: str, as_json: bool) -> None:
    """Send RUNS to another tracker, with original times, steps, artifacts and status.

    RUNS are names, ids or prefixes of ids; a pipeline run stands for all of its steps' runs. Done
    twice it changes nothing.
    """
    project = find_project()
    rows: list[dict[str, Any]] = []
    for text in runs:
        for run in find_runs(project, text):
            report = replay_run(run, project, tracker)
            state = "complete" if report.is_complete else "incomplete"
            name = run.description.run.name
            rows.append({"run": name, "state": state, **attrs.asdict(report)})
    show_table(rows, _COLUMNS, as_json=as_json, empty="no run was replayed")
    if any(row["state"] == "incomplete" for row in rows):
        sys.exit(1)
