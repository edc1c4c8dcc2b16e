"""`trackyard gc`: which journals are deleted, and which are kept?"""

from __future__ import annotations

import click

from trackyard.cli.options import Duration
from trackyard.cli.output import json_option, remark, show_json, show_table
from trackyard.project.configuration import find_project
from trackyard.runs.garbage import collect_garbage

_COLUMNS = {"run": "RUN", "state": "STATE", "size": "BYTES", "reason": "REASON"}


@click.command()
@click.option(
    "--older-than",
    type=Duration(),
    default="30d",
    show_default=True,
    metavar="TIME",
    help="Only runs that ended so long ago, such as 12h, 30d or 4w.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@json_option
def gc(older_than: float, dry_run: bool, as_json: bool) -> None:
    """Delete the journals of runs that every tracker has acknowledged.

    What some tracker does not have, refused or keeps offline is kept, and listed; what no tracker
    got, and what is too young, is kept and counted. A run whose journal is gone stays on its
    trackers, and in `runs list`; it cannot be replayed any more, and is verified by what the store
    knows of it.
    """
    collected = collect_garbage(find_project(), older_than=older_than, is_dry_run=dry_run)
    if as_json:
        show_json(collected.runs)
        return
    if collected.runs or not collected.kept:
        show_table(collected.runs, _COLUMNS, as_json=False, empty="there is no journal")
    gone = [row for row in collected.runs if row.state != "kept"]
    done = "would be deleted" if dry_run else "deleted"
    size = sum(row.size for row in gone) / 1e6
    kept = len(collected.runs) - len(gone) + sum(collected.kept.values())
    why = ", ".join(f"{count}: {reason}" for reason, count in collected.kept.items())
    remark(f"{done}: {len(gone)} run(s), {size:.1f} MB; kept: {kept}{f' ({why})' if why else ''}")
