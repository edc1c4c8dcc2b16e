"""`trackyard sync`: how does what was logged reach a tracker that was away?"""

from __future__ import annotations

import sys
from typing import Any

import attrs
import click

from trackyard.cli.output import json_option, show_table
from trackyard.config import find_project
from trackyard.recovery import end_the_dead, sync_run
from trackyard.uploading import find_kept_offline, upload_run

_COLUMNS = {
    "run": "RUN",
    "tracker": "TRACKER",
    "state": "STATE",
    "delivered": "DELIVERED",
    "pending": "PENDING",
    "quarantined": "QUARANTINED",
    "problem": "PROBLEM",
}


@click.command()
@click.option(
    "--patience",
    default=10.0,
    show_default=True,
    help="Seconds to go on after a tracker has failed.",
)
@json_option
def sync(patience: float, as_json: bool) -> None:
    """Deliver what trackers do not have yet, end dead runs, upload what SDKs keep offline."""
    project = find_project()
    rows: list[dict[str, Any]] = []
    for pending in end_the_dead(project):
        name = pending.description.run.name
        if pending.is_alive:
            row = {"run": name, "id": pending.folder.name, "state": "running"}
            rows.append({**dict.fromkeys(_COLUMNS, ""), **row})
            continue
        for report in sync_run(pending, project, patience=patience):
            state = "complete" if report.is_complete else "incomplete"
            values = attrs.asdict(report)
            rows.append({"run": name, "id": pending.folder.name, "state": state, **values})
    for kept in find_kept_offline(project):
        for report in upload_run(kept, project):
            state = "uploaded" if report.is_complete else "incomplete"
            values = attrs.asdict(report)
            name = kept.description.run.name
            rows.append({"run": name, "id": kept.folder.name, "state": state, **values})
    show_table(rows, _COLUMNS, as_json=as_json, empty="every tracker has everything")
    if any(row["state"] == "incomplete" for row in rows):
        sys.exit(1)
