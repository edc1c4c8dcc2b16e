"""`trackyard experiment-tracker`: which commands are there for trackers and their flavors?"""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "register": ("trackyard.cli.tracker_commands:register", "Register a tracker."),
    "list": ("trackyard.cli.tracker_commands:list_trackers", "List the trackers."),
    "describe": (
        "trackyard.cli.tracker_commands:describe",
        "Show what a tracker's configuration says.",
    ),
    "update": ("trackyard.cli.tracker_commands:update", "Set fields of a tracker."),
    "rename": ("trackyard.cli.tracker_commands:rename", "Give a tracker another name."),
    "copy": ("trackyard.cli.tracker_commands:copy", "Register a copy of a tracker."),
    "remove-attribute": (
        "trackyard.cli.tracker_commands:remove_attribute",
        "Take fields out of a tracker.",
    ),
    "delete": ("trackyard.cli.tracker_commands:delete", "Take a tracker out of the configuration."),
    "check": ("trackyard.cli.tracker_check:check", "Try a tracker on its real backend."),
    "flavor": ("trackyard.cli.experiment_trackers:flavor", "Flavors: the kinds of tracker."),
}
_FLAVOR_COMMANDS = {
    "list": ("trackyard.cli.flavors:list_flavors", "List the flavors, installed or known."),
    "describe": ("trackyard.cli.flavors:describe", "Show a flavor and the fields of its trackers."),
    "new": ("trackyard.cli.flavor_new:new", "Write the package of a new flavor."),
    "check": ("trackyard.cli.flavor_check:check", "Check that a flavor keeps the contract."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def experiment_tracker() -> None:
    """Experiment trackers and their flavors."""


@click.group(cls=LazyGroup, commands_by_name=_FLAVOR_COMMANDS)
def flavor() -> None:
    """Flavors: the kinds of tracker that are installed."""
