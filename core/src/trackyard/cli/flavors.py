"""`trackyard experiment-tracker flavor`: which flavors are there, and can they be used?"""

from __future__ import annotations

import click

from trackyard.cli.completing import flavor_names
from trackyard.cli.output import (
    is_terminal,
    json_option,
    remark,
    say,
    show_json,
    show_on_terminal,
    show_table,
    show_values,
)
from trackyard.registry.components import FlavorView, describe_flavor, list_flavors as find_flavors
from trackyard.system.showing import line

_COLUMNS = {
    "name": "FLAVOR",
    "status": "STATUS",
    "distribution": "DISTRIBUTION",
    "version": "VERSION",
    "sdk": "SDK",
    "sdk_version": "SDK VERSION",
    "summary": "SUMMARY",
    "problem": "PROBLEM",
}
_HEADS = ("FLAVOR", "STATUS", "DISTRIBUTION", "SDK", "SUMMARY")
_FIELD_COLUMNS = {
    "name": "FIELD",
    "type": "TYPE",
    "default": "DEFAULT",
    "env": "VARIABLE",
    "help": "WHAT IT SAYS",
}


@click.command("list")
@click.option("--load", is_flag=True, help="Import each flavor, to see whether it is broken.")
@json_option
def list_flavors(load: bool, as_json: bool) -> None:
    """List the flavors, installed or known. Without --load nothing is imported for this."""
    rows = find_flavors(load=load)
    if as_json or not is_terminal():
        show_table(rows, _COLUMNS, as_json=as_json, empty="no flavor is installed")
        return
    show_on_terminal(_HEADS, [_cells(row) for row in rows])
    for row in rows:
        if row.problem and row.status != "not installed":
            remark(f"{row.name}: {row.status}; {row.problem}")


def _cells(row: FlavorView) -> list[str]:
    is_missing = row.status == "not installed"
    own = row.problem.removeprefix("type: ") if is_missing else f"{row.distribution} {row.version}"
    cells = (row.name, row.status, own, f"{row.sdk} {row.sdk_version}", row.summary)
    return [line(cell) for cell in cells]


@click.command()
@click.argument("name", shell_complete=flavor_names)
@json_option
def describe(name: str, as_json: bool) -> None:
    """Show the flavor NAME, or module:Class, with the fields that its trackers take."""
    view = describe_flavor(name)
    if as_json:
        show_json(view)
        return
    show_values(view, as_json=False, leave_out=("fields", "options", "problem", "notice", "limits"))
    say("")
    has_variables = any(field.env for field in view.fields)
    columns = {key: head for key, head in _FIELD_COLUMNS.items() if key != "env" or has_variables}
    show_table(view.fields, columns, as_json=False, empty="it has no fields")
    if view.limits:
        say("")
        say("What its backend cannot hold:")
        for limit in view.limits:
            say(f"  {limit}")
    if view.notice:
        remark(f"Notice: {view.notice}")
    say("")
    say(f"type: trackyard experiment-tracker register NAME --flavor {name} --help")
