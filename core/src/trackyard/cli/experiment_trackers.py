"""`trackyard experiment-tracker`: which commands are there for trackers and their flavors?"""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "flavor": ("experiment_trackers:flavor", "Flavors: the kinds of tracker."),
}
_FLAVOR_COMMANDS = {
    "list": ("flavors:list_flavors", "List the flavors, installed or known."),
    "check": ("flavor_check:check", "Check that a flavor keeps the contract."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def experiment_tracker() -> None:
    """Experiment trackers and their flavors."""


@click.group(cls=LazyGroup, commands_by_name=_FLAVOR_COMMANDS)
def flavor() -> None:
    """Flavors: the kinds of tracker that are installed."""
