"""`trackyard import`: how do the runs of a tracker, or of an export, become runs of the project?"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from trackyard.cli.completing import tracker_names
from trackyard.cli.options import moment_option
from trackyard.cli.output import json_option, remark, show_json, show_table
from trackyard.contract.errors import ConfigError
from trackyard.project.configuration import find_project
from trackyard.recovery.importing import (
    ImportedRun,
    ImportProgress,
    Told,
    Wanted,
    import_runs,
)
from trackyard.runs.lists import nanoseconds

_COLUMNS = {
    "run": "RUN",
    "experiment": "EXPERIMENT",
    "status": "STATUS",
    "state": "STATE",
    "metrics": "METRICS",
    "artifacts": "ARTIFACTS",
    "left": "LEFT",
    "changed": "CHANGED",
}
_EVERY = 0.5  # seconds between two lines of progress
_MOST = 20  # so many remarks are shown; the JSON has all


@click.command("import")
@click.argument("source", shell_complete=tracker_names)
@click.option(
    "--to",
    "to",
    shell_complete=tracker_names,
    help="Send them on to this experiment tracker, too.",
)
@click.option("--experiment", help="Only runs of this experiment, or project.")
@click.option("--filter", "filter_", default="", metavar="TEXT", help="Such as metrics.loss < 0.1.")
@moment_option("--since", help="Only runs that started then or later: 2026-01-31, or 7d ago.")
@click.option("--run", "runs", multiple=True, help="Only the run of this name or id; several.")
@click.option("-n", "--limit", type=click.IntRange(1), help="So many runs at most.")
@click.option("--plan", is_flag=True, help="Write nothing; show what would become of them.")
@json_option
def import_(
    *,
    source: str,
    to: str | None,
    experiment: str | None,
    filter_: str,
    since: datetime | None,
    runs: tuple[str, ...],
    limit: int | None,
    plan: bool,
    as_json: bool,
) -> None:
    """Make the runs of SOURCE runs of this project.

    SOURCE is a configured experiment tracker, or FLAVOR:PLACE, a folder, file or address that the
    flavor reads; archive:FILE is what `trackyard archive` wrote, csv:PLACE a plain table. It is
    only read. Done twice it changes nothing; what has grown gets the rest.
    """
    wanted = Wanted(
        experiment=experiment,
        since=nanoseconds(since),
        limit=limit,
        runs=runs,
        filter=filter_,
        to=to,
        is_plan=plan,
    )
    # An SDK that only serves to read reports it to nobody; several heed this.
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with _progress() as told:
        rows = list(import_runs(find_project(), source, wanted, told))
    if not rows and not (experiment or filter_ or since or runs):
        _check_place(source)
    if as_json:
        show_json(rows)
    else:
        show_table(rows, _COLUMNS, as_json=False, empty="no run was found there")
        _show_remarks(rows)
    if any(row.is_lacking for row in rows):
        sys.exit(1)


def _check_place(source: str) -> None:
    """Refuse a folder or file without a run: it was meant to be another one.

    Raises:
        ConfigError: It is one.
    """
    flavor, _, place = source.partition(":")
    if place and Path(place).expanduser().exists():
        raise ConfigError(
            f"{source}: no run of {flavor} was found there; type the folder that {flavor} wrote: "
            f"trackyard import {flavor}:FOLDER"
        )


def _show_remarks(rows: list[ImportedRun]) -> None:
    """Say what did not arrive, or not as it was: once, with how often."""
    for row in rows:
        if row.problem:
            remark(f"{row.run}: {row.problem}")
        elif row.delivered is False:
            remark(f"{row.run}: {row.tracker} lacks some of it; type: trackyard sync")
    left, changed = Counter[str](), Counter[str]()
    for row in rows:
        left.update(row.losses)
        changed.update(row.changes)
    noted = [("left", what, n) for what, n in left.items()]
    noted += [("changed", what, n) for what, n in changed.items()]
    for state, what, count in noted[:_MOST]:
        remark(f"{state}: {what} ({count})")
    if len(noted) > _MOST:
        remark(f"and {len(noted) - _MOST} more; --json shows all")
    states = Counter(row.state for row in rows)
    if rows:
        remark(", ".join(f"{count} {state}" for state, count in states.items()))


@contextmanager
def _progress() -> Iterator[Told | None]:
    """Show on a terminal how far it is, with the rate and the time that is left."""
    if not sys.stderr.isatty():
        yield None
        return
    began = time.monotonic()
    last = [began]

    def told(progress: ImportProgress) -> None:
        now = time.monotonic()
        if now - last[0] >= _EVERY:
            last[0] = now
            click.echo(f"\r\x1b[K{progress_line(progress, now - began)}", nl=False, err=True)

    try:
        yield told
    finally:
        click.echo("\r\x1b[K", nl=False, err=True)


def progress_line(progress: ImportProgress, seconds: float) -> str:
    """Write how far an import is.

    Args:
        progress: How far.
        seconds: Since it began.
    """
    if not progress.of:
        return f"{progress.listed} runs found"
    rate = progress.records / seconds if seconds > 0 else 0.0
    text = f"{progress.runs} of {progress.of} runs, {progress.records} records, {rate:.0f} a second"
    by_bytes = (progress.bytes, progress.of_bytes)
    done, whole = by_bytes if progress.of_bytes else (progress.runs, progress.of)
    if done:
        text += f", {_duration(seconds * (whole - done) / done)} left"
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
