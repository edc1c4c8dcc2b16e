"""`trackyard sync`: how does what was logged reach a tracker that was away?"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import json_option, remark, show_json, show_table, until_interrupted
from trackyard.project.configuration import Project, find_project
from trackyard.recovery.catching_up import Owed
from trackyard.recovery.declaring import declare_dead
from trackyard.recovery.finishing import PendingRun
from trackyard.recovery.syncing import SyncRow, accept, synchronise
from trackyard.runs.accepting import accept_by_name
from trackyard.runs.ending import end_silent_runs
from trackyard.runs.folders import find_runs

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_ALL = "*"  # no run's name, id or prefix
_COLUMNS = {
    "run": "RUN",
    "tracker": "TRACKER",
    "state": "STATE",
    "delivered": "DELIVERED",
    "pending": "PENDING",
    "quarantined": "QUARANTINED",
    "lost": "LOST",
    "problem": "PROBLEM",
}


class _How(TypedDict):
    """What a pass is told by options."""

    patience: float
    timeout: float | None
    refused: bool


@click.command()
@click.option(
    "--patience",
    default=10.0,
    show_default=True,
    help="Seconds to go on with a tracker that fails.",
)
@click.option(
    "--timeout", type=float, help="Seconds for each tracker at most; the rest is left for later."
)
@click.option("--watch", is_flag=True, help="Do so again and again, until Ctrl-C.")
@click.option(
    "--every", default=10.0, show_default=True, help="Seconds between two passes of --watch."
)
@click.option("--refused", is_flag=True, help="Send again what trackers have refused, too.")
@click.option(
    "--accept",
    "accepted",
    metavar="[RUN]",
    is_flag=False,
    flag_value=_ALL,
    shell_complete=run_names,
    help="Accept what trackers lack of RUN, or of all runs: it is counted no more.",
)
@click.option(
    "--dead",
    "died",
    metavar="RUN",
    shell_complete=run_names,
    help="Take RUN for dead, whose process cannot be seen from here, and end it.",
)
@json_option
def sync(
    accepted: str | None,
    died: str | None,
    every: float,
    *,
    watch: bool,
    as_json: bool,
    **how: Unpack[_How],
) -> None:
    """Deliver what trackers do not have yet, end dead runs, upload what SDKs keep offline.

    Exit code 1 says that a tracker does not have everything: something is pending, was refused or
    is lost. What nobody can mend is accepted by name with --accept, which delivers nothing.

    Runs that live are left to their own processes. Runs that you did not make in this project are
    listed first: they are delivered by this command alone, and to trackers as they are configured
    here.
    """
    project = find_project()
    if accepted is not None:
        rows = accept(project) if accepted == _ALL else accept_by_name(project, accepted)
        show_table(rows, _COLUMNS, as_json=as_json, empty="nothing is lacking")
        return
    if died is not None:
        declare_dead(project, find_runs(project, died))
    rows = _one_pass(project, how)
    if not watch:
        show_table(rows, _COLUMNS, as_json=as_json, empty="every tracker has everything")
        _advise(rows)
        sys.exit(any(row.is_lacking for row in rows))
    how["refused"] = False  # once is enough
    shown: list[SyncRow] | None = None
    with until_interrupted():
        while True:
            if rows != shown:
                _show_pass(rows, as_json=as_json)
            shown = rows
            time.sleep(every)
            rows = _one_pass(project, how)


def _list_foreign(foreign: list[PendingRun]) -> None:
    """Name what nothing delivers by itself, before it is delivered."""
    remark("not known to be yours, and sent to trackers as they are configured here:")
    for run in foreign:
        trackers = ", ".join(tracker.name for tracker in run.description.trackers)
        remark(f"  {run.description.run.name} {run.folder.name} to {trackers}")


def _show_pass(rows: list[SyncRow], *, as_json: bool) -> None:
    """Write what a pass of `--watch` came to, at once: a program may read it."""
    if as_json:
        show_json(rows, on_one_line=True)
    else:
        show_table(rows, _COLUMNS, as_json=False, empty="every tracker has everything")
    sys.stdout.flush()


def _advise(rows: list[SyncRow]) -> None:
    """Say what helps where a tracker does not have everything."""
    if any(row.state == "refused" or row.quarantined for row in rows if row.is_lacking):
        remark("some records were refused; to send them again type: trackyard sync --refused")
    if any(row.is_lacking for row in rows):
        remark("what cannot be mended is accepted by: trackyard sync --accept RUN")


def _one_pass(project: Project, how: _How) -> list[SyncRow]:
    with closing(_Bars()) as bars:
        rows = synchronise(project, **how, announce=_list_foreign, progress=bars.show)
        return [*rows, *end_silent_runs(project, patience=how["patience"])]


class _Bars:
    """A bar for each tracker, on a terminal, from the moment when there is something to deliver."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, owed: list[Owed]) -> None:
        """Show how far each tracker has come."""
        if not owed or not sys.stderr.isatty():
            return
        if self._bars is None:
            self._bars = _new_bars()
            self._bars.start()
        for name in dict.fromkeys(one.tracker.name for one in owed):
            reports = [one.now() for one in owed if one.tracker.name == name]
            done = sum(report.delivered for report in reports)
            total = done + sum(report.pending for report in reports)
            problem = next((report.problem for report in reports if report.problem), "")
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, problem="")
            self._bars.update(self._tasks[name], completed=done, total=total, problem=problem)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()


def _new_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[problem]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
