"""`trackyard sync`: how does what was logged reach a tracker that was away?"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import attrs
import click

from trackyard.catching_up import Owed
from trackyard.cli.output import json_option, show_json, show_table
from trackyard.config import Project, find_project
from trackyard.delivery.reports import TrackerReport
from trackyard.recovery import PendingRun, end_the_dead, sync_runs
from trackyard.uploading import find_kept_offline, upload_run

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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


@attrs.frozen(kw_only=True)
class SyncRow:
    """How a run stands on a tracker after a pass; the keys of a row in JSON.

    Attributes:
        run, id: The run's name and id.
        tracker: The tracker's name, or an empty text for a run that lives.
        state: `complete`, `incomplete`, `uploaded`, or `running`: the run lives.
        url: Its address, or None.
        delivered, pending, quarantined, lost: Numbers of records.
        problem: The last error as one line, or an empty text.
    """

    run: str
    id: str
    tracker: str = ""
    state: str
    url: str | None = None
    delivered: int = 0
    pending: int = 0
    quarantined: int = 0
    lost: int = 0
    problem: str = ""

    @classmethod
    def of(cls, pending: PendingRun, report: TrackerReport, state: str) -> SyncRow:
        """Make the row of a report."""
        return cls(
            run=pending.description.run.name,
            id=pending.folder.name,
            tracker=report.tracker,
            state=state if report.is_complete else "incomplete",
            url=report.url,
            delivered=report.delivered,
            pending=report.pending,
            quarantined=report.quarantined,
            lost=report.lost,
            problem=report.problem,
        )


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
@json_option
def sync(patience: float, timeout: float | None, watch: bool, every: float, as_json: bool) -> None:
    """Deliver what trackers do not have yet, end dead runs, upload what SDKs keep offline.

    Exit code 1 says that something is left. Runs that live are left to their own processes.
    """
    project = find_project()
    rows = _one_pass(project, patience, timeout)
    if not watch:
        show_table(rows, _COLUMNS, as_json=as_json, empty="every tracker has everything")
        sys.exit(any(row.state == "incomplete" for row in rows))
    shown: list[SyncRow] = []
    while True:
        if rows != shown:
            _show_pass(rows, as_json=as_json)
        shown = rows
        time.sleep(every)
        rows = _one_pass(project, patience, timeout)


def _show_pass(rows: list[SyncRow], *, as_json: bool) -> None:
    """Write what a pass of `--watch` came to, at once: a program may read it."""
    if as_json:
        show_json(rows, on_one_line=True)
    else:
        show_table(rows, _COLUMNS, as_json=False, empty="every tracker has everything")
    sys.stdout.flush()


def _one_pass(project: Project, patience: float, timeout: float | None) -> list[SyncRow]:
    pending = end_the_dead(project)
    rows = [
        SyncRow(run=run.description.run.name, id=run.folder.name, state="running")
        for run in pending
        if run.is_alive
    ]
    with closing(_Bars()) as bars:
        delivered = sync_runs(
            pending,
            project,
            patience=patience,
            timeout=timeout,
            isolates=True,
            progress=bars.show,
        )
    rows += [SyncRow.of(run, report, "complete") for run, report in delivered]
    hanging: set[str] = set()
    for kept in find_kept_offline(project):
        for report in upload_run(kept, project, timeout=timeout, leave_out=hanging):
            rows.append(SyncRow.of(kept, report, "uploaded"))
            if "has not returned" in report.problem:
                hanging.add(report.tracker)
    return rows


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
