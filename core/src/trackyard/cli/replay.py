"""`trackyard replay`: how does a run move to another tracker, and what would be lost?"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import attrs
import click

from trackyard.cli.completing import run_names, tracker_names
from trackyard.cli.output import json_option, remark, show_json, show_table
from trackyard.project.configuration import Project, find_project
from trackyard.recovery.finishing import PendingRun
from trackyard.recovery.replay import plan_replay, replay_run
from trackyard.runs.fetching import runs_at_hand

_COLUMNS = {
    "run": "RUN",
    "tracker": "TRACKER",
    "state": "STATE",
    "delivered": "DELIVERED",
    "quarantined": "QUARANTINED",
    "url": "URL",
    "problem": "PROBLEM",
}
_PLAN_COLUMNS = {
    "run": "RUN",
    "state": "STATE",
    "metrics": "METRICS",
    "params": "PARAMS",
    "tags": "TAGS",
    "artifacts": "ARTIFACTS",
    "lost": "LOST",
    "changed": "CHANGED",
}


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=run_names)
@click.option(
    "--to",
    "tracker",
    required=True,
    shell_complete=tracker_names,
    help="Name of the experiment tracker.",
)
@click.option("--plan", is_flag=True, help="Send nothing; show what would be lost or changed.")
@json_option
def replay(runs: tuple[str, ...], tracker: str, plan: bool, as_json: bool) -> None:
    """Send RUNS to another tracker, with original times, steps, artifacts and status.

    RUNS are names, ids or prefixes of ids; a pipeline run stands for all of its steps' runs. Done
    twice it changes nothing. Runs of other machines of a team are read from the first of their
    trackers that gives them back.
    """
    project = find_project()
    with ExitStack() as stack:
        # All are looked for before one is sent; one that is named twice is sent once.
        every = [stack.enter_context(runs_at_hand(project, text)) for text in runs]
        found = {run.folder.name: run for of_text in every for run in of_text}
        if plan:
            _show_plan(list(found.values()), project, tracker, as_json)
            return
        rows: list[dict[str, Any]] = []
        for run in found.values():
            report = replay_run(run, project, tracker)
            state = "complete" if report.is_complete else "incomplete"
            name = run.description.run.name
            rows.append({"run": name, "state": state, **attrs.asdict(report)})
    show_table(rows, _COLUMNS, as_json=as_json, empty="no run was replayed")
    if any(row["state"] == "incomplete" for row in rows):
        sys.exit(1)


def _show_plan(runs: list[PendingRun], project: Project, tracker: str, as_json: bool) -> None:
    rows = [plan_replay(run, project, tracker) for run in runs]
    if as_json:
        show_json(rows)
        return
    show_table(rows, _PLAN_COLUMNS, as_json=False, empty="no run would be replayed")
    for row in rows:
        for what, count in row.losses.items():
            remark(f"{row.run}: lost: {what} ({count})")
        for what, count in row.changes.items():
            remark(f"{row.run}: changed: {what} ({count})")
