"""`trackyard plugins`: which plugins are installed, and which hooks has each?"""

from __future__ import annotations

from typing import Any

import click

from trackyard.cli.output import json_option, show_table
from trackyard.errors import PluginError
from trackyard.plugins import GROUPS, PluginInfo, find_plugins, inspect_plugin

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
    columns = _COLUMNS if any(row["problem"] for row in rows) else dict(list(_COLUMNS.items())[:-1])
    show_table(rows, columns, as_json=as_json, empty="no plugin is installed")


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
    return row
