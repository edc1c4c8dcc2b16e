"""Which commands are there, and how does a mistake look?"""

from __future__ import annotations

import sys

import click

from trackyard.cli.groups import LazyGroup
from trackyard.errors import TrackyardError

_COMMANDS = {
    "experiment-tracker": ("experiment_trackers:experiment_tracker", "Experiment trackers."),
    "runs": ("runs:runs", "Look at runs."),
    "plugins": ("plugins:plugins", "List the installed plugins."),
    "replay": ("replay:replay", "Send runs to another tracker."),
    "sync": ("sync:sync", "Deliver what trackers do not have yet."),
    "ui": ("ui:ui", "Serve a tracker's own page on this machine."),
}


@click.group(
    cls=LazyGroup,
    commands_by_name=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="trackyard", prog_name="trackyard")
def cli() -> None:
    """Track experiments in any tracker; every tracker is a plugin."""


def main() -> None:
    """Run the command line; a mistake of the user's is one line on stderr and exit code 1."""
    try:
        cli(prog_name="trackyard")
    except TrackyardError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
