"""`trackyard runs verify`: does a tracker hold what was logged?"""

from __future__ import annotations

import sys

import click

from trackyard.cli.completing import run_names, tracker_names
from trackyard.cli.output import json_option, remark, show_json, show_table
from trackyard.project.configuration import find_project
from trackyard.runs.reading_back import TIMEOUT
from trackyard.runs.verifying import Verification, verify_runs

_COLUMNS = {
    "run": "RUN",
    "tracker": "TRACKER",
    "state": "STATE",
    "records": "RECORDS",
    "pending": "PENDING",
    "quarantined": "QUARANTINED",
}
_MOST = 20


@click.command()
@click.argument("run", shell_complete=run_names)
@click.option(
    "--experiment-tracker",
    "--tracker",
    "tracker",
    shell_complete=tracker_names,
    help="Name of one of its experiment trackers; all by default.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT,
    show_default=True,
    help="Seconds that a tracker may take for each run.",
)
@json_option
def verify(run: str, tracker: str | None, timeout: float, as_json: bool) -> None:
    """Read RUN back from its trackers and compare it with its journal.

    RUN is a name, an id or a prefix of an id; a pipeline run stands for all of its steps' runs.
    What is missing or different is listed, and the exit code is 1 then. Where the journal is not
    on this machine, what the store knows is compared, and points are not.
    """
    rows = verify_runs(find_project(), run, tracker, timeout=timeout)
    if as_json:
        show_json(rows)
    else:
        show_table(rows, _COLUMNS, as_json=False, empty="it is on no experiment tracker")
        for row in rows:
            _show_differences(row)
    if any(row.state != "same" for row in rows):
        sys.exit(1)


def _show_differences(row: Verification) -> None:
    where = f"{row.run} on {row.tracker}"
    if not row.has_journal and not row.problem:
        remark(f"{where}: its journal is not here; the store was compared, and points were not")
    if row.problem:
        remark(f"{where}: {row.problem}")
    for difference in row.differences[:_MOST]:
        count = f" ({difference.count} points)" if difference.count > 1 else ""
        text = f"{where}: {difference.kind} {difference.key!r} {difference.problem}{count}"
        if difference.expected:
            text += f": {difference.expected}"
        if difference.found:
            text += f"{' in the journal,' if difference.expected else ':'} {difference.found} there"
        remark(text)
    rest = len(row.differences) - _MOST
    if rest > 0:
        remark(f"{where}: and {rest} more; type: trackyard runs verify {row.id} --json")
    if row.pending:
        remark(f"{where}: {row.pending} record(s) are pending; type: trackyard sync")
