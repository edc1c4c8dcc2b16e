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

    What some tracker does not have, refused or keeps offline is kept, and so is what no tracker
    got. A run whose journal is gone stays on its trackers, and one of a pipeline stays in `runs
    list`, without curves; it cannot be replayed or verified any more.
    """
    rows = collect_garbage(find_project(), older_than=older_than, is_dry_run=dry_run)
    if as_json:
        show_json(rows)
        return
    show_table(rows, _COLUMNS, as_json=False, empty="there is no journal")
    gone = [row for row in rows if row.state != "kept"]
    done = "would be deleted" if dry_run else "deleted"
    size = sum(row.size for row in gone) / 1e6
    remark(f"{done}: {len(gone)} run(s), {size:.1f} MB; kept: {len(rows) - len(gone)}")
