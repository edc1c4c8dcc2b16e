"""`trackyard config`: what does the configuration say, and where does each value come from?"""

from __future__ import annotations

import click

from trackyard.cli.completing import stack_names
from trackyard.cli.groups import LazyGroup
from trackyard.cli.output import is_terminal, json_option, say, show_table
from trackyard.client import Client
from trackyard.registry.origins import ConfigValue
from trackyard.system.showing import in_a_cell

_COMMANDS = {"show": ("trackyard.cli.config:show", "Show what counts, and where it comes from.")}
_COLUMNS = {"key": "KEY", "value": "VALUE"}
_ORIGIN = {"origin": "ORIGIN", "place": "WHERE"}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def config() -> None:
    """The project's configuration."""


@click.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@click.option(
    "--stack", shell_complete=stack_names, help="Show it as for a command with this --stack."
)
@json_option
def show(origin: bool, stack: str | None, as_json: bool) -> None:
    """Show the values that count.

    A value comes from the command line, a variable TRACKYARD_..., the project's trackyard.toml or
    [tool.trackyard] of pyproject.toml, the user's own file, or is a default: the first that says
    something counts. Secrets are shown as references.
    """
    rows = Client().show_config(stack)
    if is_terminal() and not as_json:
        _show(rows, with_origin=origin)
        return
    columns = {**_COLUMNS, **_ORIGIN} if origin else _COLUMNS
    show_table(rows, columns, as_json=as_json, empty="nothing is configured")


def _show(rows: list[ConfigValue], *, with_origin: bool) -> None:
    """Write the values as the file has them."""
    last = ""
    for row in rows:
        path, _, key = row.key.rpartition(".")
        if path != last:
            say("")
            say(f"[{path}]")
            last = path
        where = f"   # {', '.join(filter(None, (row.origin, row.place)))}" if with_origin else ""
        say(f"{key} = {in_a_cell(row.value)}{where}")
