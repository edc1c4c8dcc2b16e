"""`trackyard experiment-tracker flavor check`: does a flavor keep the contract?"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence, Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from trackyard.cli.completing import flavor_names
from trackyard.cli.output import json_option, show_table
from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.hooks.discovery import load_flavor
from trackyard.project.fields import fields_of, parse_text
from trackyard.registry.limits import limits_in_words
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.testing.remembered import Remembered
    from trackyard.testing.running import CheckResult

# Beyond these, importing the SDK once more takes longer than it saves.
_MOST = 4
_PATIENCE = 2.0  # seconds for threads that are about to end
_COLUMNS = {"check": "CHECK", "outcome": "OUTCOME", "reason": "REASON"}


@click.command()
@click.argument("name", shell_complete=flavor_names)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A field of the flavor; {folder} in it is a folder of each check's own.",
)
@click.option("--only", multiple=True, metavar="TEXT", help="Checks whose name holds this.")
@click.option(
    "--last-failed", is_flag=True, help="Checks that failed the last time, in this folder."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="How many run checks side by side; one for each core, or one for a part of the checks.",
)
@json_option
def check(
    name: str,
    *,
    settings: Sequence[str],
    only: Sequence[str],
    last_failed: bool,
    processes: int | None,
    as_json: bool,
) -> None:
    """Check that the flavor NAME keeps the contract, on a backend of its own.

    NAME is a flavor's name or a dotted path such as `mypkg.trackers:CsvTracker`. Its paths lie in
    folders for temporary files. Runs are read back by its `tracker_read_run`; where it has none,
    a test file with a fixture `read_back` checks more.
    """
    if importlib.util.find_spec("pytest") is None:
        raise TrackyardError(
            "checking a flavor needs pytest; type: pip install 'trackyard[testing]'"
        )
    from trackyard.testing.remembered import remembered_of
    from trackyard.testing.running import check_flavor, table_for

    sys.path.append(str(os.getcwd()))  # noqa: PTH109 - a dotted path may name a module that lies here
    flavor = load_flavor(name)
    table = table_for(flavor, name, _given(flavor, settings))
    remembered, before = remembered_of(name, Path.cwd()), set(threading.enumerate())
    if last_failed and not remembered.failed:
        click.echo(f"{name}: no check failed the last time; all of them run", err=True)
    named = remembered.failed if last_failed else ()
    has_progress = sys.stderr.isatty() and not as_json
    # Each process imports the SDK: for a few checks that takes longer than they do.
    count = processes or (1 if only or named else min(_cores(), _MOST))
    progress = partial(_show_progress, remembered, count) if has_progress else None
    results = check_flavor(table, only, progress, named, count)
    if progress:
        click.echo("\r\x1b[K", err=True, nl=False)
    if not results:
        raise TrackyardError(f"no check is named {' or '.join(only or sorted(named))}")
    remembered.keep(results)
    rows = [attrs.asdict(result) for result in results]
    show_table(rows, _COLUMNS, as_json=as_json, empty="")
    for limit in limits_in_words(flavor):
        click.echo(f"{name} declares: {limit}", err=True)
    _conclude(name, settings, results)
    _end(name, before, int(any(result.outcome == "failed" for result in results)))


def _conclude(name: str, settings: Sequence[str], results: Sequence[CheckResult]) -> None:
    """Say what came of all checks, what to mend first, and what to type next."""
    counts = Counter(result.outcome for result in results)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    click.echo(f"{name}: {summary}", err=True)
    failed = [result for result in results if result.outcome == "failed"]
    if not failed:
        return
    first, given = failed[0], [word for setting in settings for word in ("--set", setting)]
    command = ["trackyard", "experiment-tracker", "flavor", "check", name, *given]
    click.echo(f"mend {first.check} first: others may have the same cause", err=True)
    if first.sentence:
        click.echo(f'  the contract says: "{first.sentence}"', err=True)
    click.echo(f"  the suite saw: {first.reason}", err=True)
    if first.page:
        click.echo(f"  read: {first.page}", err=True)
    click.echo(f"then type: {shlex.join([*command, '--last-failed'])}", err=True)


def _end(name: str, before: AbstractSet[threading.Thread], code: int) -> None:
    """End the command, also where the flavor has left threads that Python would wait for."""
    due = time.monotonic() + _PATIENCE
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        if not thread.daemon:
            thread.join(max(0.0, due - time.monotonic()))
    left = [thread.name for thread in new if not thread.daemon and thread.is_alive()]
    if left:
        text = f"{name}: threads of it still run, and are not waited for: {', '.join(left)}"
        click.echo(text, err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code:
        sys.exit(code)


def _given(flavor: type, settings: Sequence[str]) -> dict[str, Any]:
    known = {field.name: field for field in fields_of(flavor)}
    given = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in known:
            hint = did_you_mean(name, known) or f"; fields are {listed(known)}"
            raise ConfigError(f"--set {setting}: must be FIELD=VALUE{hint}")
        try:
            parsed = parse_text(text, known[name].annotation)
        except ValueError as error:
            raise ConfigError(f"--set {setting}: {error}") from error
        given[name] = parsed if isinstance(parsed, bool | int | float | list | dict) else text
    return given


def _cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _show_progress(
    remembered: Remembered, processes: int, result: CheckResult, left: Sequence[str]
) -> None:
    seconds = remembered.seconds_left(left)
    time = "" if seconds is None else f", about {seconds / processes:.0f} s"
    line = f"{len(left)} left{time}: {result.outcome} {result.check}"
    click.echo(f"\r\x1b[K{line}\r", err=True, nl=False)
