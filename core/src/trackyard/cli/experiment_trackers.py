"""`trackyard experiment-tracker`: which commands are there for trackers and their flavors?"""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "register": ("tracker_commands:register", "Register a tracker."),
    "list": ("tracker_commands:list_trackers", "List the trackers."),
    "describe": ("tracker_commands:describe", "Show what a tracker's configuration says."),
    "update": ("tracker_commands:update", "Set fields of a tracker."),
    "rename": ("tracker_commands:rename", "Give a tracker another name."),
    "copy": ("tracker_commands:copy", "Register a copy of a tracker."),
    "remove-attribute": ("tracker_commands:remove_attribute", "Take fields out of a tracker."),
    "delete": ("tracker_commands:delete", "Take a tracker out of the configuration."),
    "check": ("tracker_check:check", "Try a tracker on its real backend."),
    "flavor": ("experiment_trackers:flavor", "Flavors: the kinds of tracker."),
}
_FLAVOR_COMMANDS = {
    "list": ("flavors:list_flavors", "List the flavors, installed or known."),
    "describe": ("flavors:describe", "Show a flavor and the fields of its trackers."),
    "new": ("flavor_new:new", "Write the package of a new flavor."),
    "check": ("flavor_check:check", "Check that a flavor keeps the contract."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def experiment_tracker() -> None:
    """Experiment trackers and their flavors."""


@click.group(cls=LazyGroup, commands_by_name=_FLAVOR_COMMANDS)
def flavor() -> None:
    """Flavors: the kinds of tracker that are installed."""
