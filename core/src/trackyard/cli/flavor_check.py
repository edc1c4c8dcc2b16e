"""`trackyard experiment-tracker flavor check`: does a flavor keep the contract?"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from trackyard.cli.completing import flavor_names
from trackyard.cli.output import json_option, show_table
from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.hooks.discovery import load_flavor
from trackyard.project.fields import fields_of, parse_text
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.testing.running import CheckResult

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
@json_option
def check(name: str, settings: Sequence[str], only: Sequence[str], as_json: bool) -> None:
    """Check that the flavor NAME keeps the contract, on a backend of its own.

    NAME is a flavor's name or a dotted path such as `mypkg.trackers:CsvTracker`. Its paths lie in
    folders for temporary files. Runs are read back by its `tracker_read_run`; where it has none,
    a test file with a fixture `read_back` checks more.
    """
    if importlib.util.find_spec("pytest") is None:
        raise TrackyardError(
            "checking a flavor needs pytest; type: pip install 'trackyard[testing]'"
        )
    from trackyard.testing.running import check_flavor, table_for

    sys.path.append(str(os.getcwd()))  # noqa: PTH109 - a dotted path may name a module that lies here
    flavor = load_flavor(name)
    table = table_for(flavor, name, _given(flavor, settings))
    progress = None if as_json or not sys.stderr.isatty() else _show_progress
    results = check_flavor(table, only, progress)
    if progress:
        click.echo("\r\x1b[K", err=True, nl=False)
    if not results:
        raise TrackyardError(f"no check is named {' or '.join(only)}")
    rows = [attrs.asdict(result) for result in results]
    show_table(rows, _COLUMNS, as_json=as_json, empty="")
    counts = Counter(result.outcome for result in results)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    click.echo(f"{name}: {summary}", err=True)
    sys.exit(1 if counts["failed"] else 0)


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


def _show_progress(result: CheckResult) -> None:
    click.echo(f"\r\x1b[K{result.outcome:10} {result.check}\r", err=True, nl=False)
