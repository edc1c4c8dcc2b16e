"""`trackyard runs`: which commands look at runs? Each stands in a module of its own."""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "list": ("runs_list:list_runs", "List pipeline runs."),
    "verify": ("runs_verify:verify", "Compare a run on its trackers with its journal."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def runs() -> None:
    """Pipeline runs: what came of them, and what is kept of them."""
