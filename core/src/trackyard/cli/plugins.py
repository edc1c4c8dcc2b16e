"""`trackyard plugins`: which plugins are installed, and which hooks has each?"""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

import click

from trackyard.cli.output import is_terminal, json_option, remark, say, show_table
from trackyard.cli.plugin_commands import plugin_commands, why_refused
from trackyard.contract.errors import PluginError
from trackyard.hooks.discovery import COMMANDS, GROUPS, PluginInfo, find_plugins, inspect_plugin

_COLUMNS = {
    "name": "NAME",
    "group": "GROUP",
    "distribution": "DISTRIBUTION",
    "version": "VERSION",
    "file": "FILE",
    "hooks": "HOOKS",
    "problem": "PROBLEM",
}


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """List the installed plugins: name, distribution, version, file and hooks.

    The plugins are imported for this, each in its own guard; no SDK is.
    """
    rows = [_row(info) for group in GROUPS for info in find_plugins(group)]
    if as_json or not is_terminal():
        show_table(rows, _COLUMNS, as_json=as_json, empty="no plugin is installed")
        return
    for row in rows:
        _show(row)


def _show(row: dict[str, Any]) -> None:
    """Write a plugin for people: a path and a list of hooks fit no column."""
    own = f"{row['distribution']} {row['version']}".strip()
    group = row["group"].removeprefix("trackyard.")
    say(f"{row['name']}  {group}, {own}")
    hooks = ", ".join(hook.removeprefix("tracker_") for hook in row["hooks"])
    if row["file"]:
        say(f"  {row['file']}")
    for part in textwrap.wrap(hooks, shutil.get_terminal_size().columns - 2):
        say(f"  {part}")
    if row["problem"]:
        remark(f"  {row['problem']}")


def _row(info: PluginInfo) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": info.name,
        "group": info.group,
        "distribution": info.distribution,
        "version": info.version,
        "file": "",
        "hooks": [],
        "problem": "",
    }
    try:
        row["file"], row["hooks"] = inspect_plugin(info)
    except PluginError as error:
        row["problem"] = str(error)
    if info.group == COMMANDS and not row["problem"]:
        row["problem"] = why_refused(info.name, plugin_commands().get(info.name, [info]))
    return row
