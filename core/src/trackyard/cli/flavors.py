"""`trackyard experiment-tracker flavor`: which flavors are there?"""

from __future__ import annotations

from typing import Any

import click

from trackyard.cli.output import json_option, show_table
from trackyard.plugins import FLAVORS, KNOWN_FLAVORS, find_plugins

_COLUMNS = {
    "flavor": "FLAVOR",
    "status": "STATUS",
    "distribution": "DISTRIBUTION",
    "version": "VERSION",
    "summary": "SUMMARY",
}


@click.command("list")
@json_option
def list_flavors(as_json: bool) -> None:
    """List the flavors, installed or known. Nothing is imported for this."""
    rows: list[dict[str, Any]] = [
        {
            "flavor": info.name,
            "status": "blocked" if info.is_blocked else "installed",
            "distribution": info.distribution,
            "version": info.version,
            "summary": info.summary,
        }
        for info in find_plugins(FLAVORS)
    ]
    missing = sorted(set(KNOWN_FLAVORS) - {row["flavor"] for row in rows})
    rows += [
        {
            "flavor": name,
            "status": "not installed",
            "distribution": f"trackyard-{name}",
            "version": "",
            "summary": f"pip install trackyard-{name}",
        }
        for name in missing
    ]
    show_table(rows, _COLUMNS, as_json=as_json, empty="no flavor is installed")
