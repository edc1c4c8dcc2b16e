"""`trackyard runs verify`: does a tracker hold what was logged, or what was imported?"""

from __future__ import annotations

import sys
from collections import Counter

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
@click.argument("run", shell_complete=run_names, required=False)
@click.option(
    "--source",
    shell_complete=tracker_names,
    help="Compare with what this holds, as `import` calls it; all of its runs without RUN.",
)
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
def verify(
    run: str | None, source: str | None, tracker: str | None, timeout: float, as_json: bool
) -> None:
    """Read RUN back from its trackers and compare it with its journal.

    RUN is a name, an id or a prefix of an id; a pipeline run stands for all of its steps' runs.
    What is missing or different is listed, and the exit code is 1 then. Where the journal is not
    on this machine, what the store knows is compared, and points are not.

    With --source, which only is read, the runs that were imported from it are compared with it:
    their journals, and what their trackers hold.
    """
    if run is None and source is None:
        raise click.UsageError("name a run, or a source: trackyard runs verify --source SOURCE")
    rows = _rows(run, source, tracker, timeout)
    if as_json:
        show_json(rows)
    else:
        empty = "no run was found there" if source else "it is on no experiment tracker"
        show_table(rows, _COLUMNS, as_json=False, empty=empty)
        for row in rows:
            _show_differences(row)
        if source:
            _show_report(rows)
    if any(row.state != "same" for row in rows):
        sys.exit(1)


def _rows(
    run: str | None, source: str | None, tracker: str | None, timeout: float
) -> list[Verification]:
    if source is None:
        assert run is not None
        return verify_runs(find_project(), run, tracker, timeout=timeout)
    from trackyard.runs.verifying_sources import verify_import

    names = [run] if run else []
    return list(verify_import(find_project(), source, names, tracker, timeout=timeout))


def _show_report(rows: list[Verification]) -> None:
    """Say what of a source arrived, and what cannot, or comes as something else."""
    runs = {row.id: row for row in rows}
    for word in ("left", "changed"):
        noted = Counter[str]()
        for row in runs.values():
            noted.update(getattr(row, word))
        for what, count in noted.most_common(_MOST):
            remark(f"{word}: {what} ({count})")
        if len(noted) > _MOST:
            remark(f"{word}: and {len(noted) - _MOST} more; --json shows all")
    bad = {row.id for row in rows if row.state != "same"}
    if runs:
        remark(f"{len(runs) - len(bad)} of {len(runs)} runs are as in the source")


def _show_differences(row: Verification) -> None:
    where = f"{row.run} on {row.tracker}" if row.tracker else row.run
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
            own = " in the journal," if row.tracker else " in the source,"
            text += f"{own if difference.expected else ':'} {difference.found} there"
        remark(text)
    rest = len(row.differences) - _MOST
    if rest > 0:
        remark(f"{where}: and {rest} more; type: trackyard runs verify {row.id} --json")
    if row.pending:
        remark(f"{where}: {row.pending} record(s) are pending; type: trackyard sync")
