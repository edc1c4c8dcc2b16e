"""Which commands are there, and how does a mistake look?"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from trackyard.errors import TrackyardError

# Each command by name: the module and attribute that hold it, and its line in the help. A module
# is imported when its command is used, which keeps every other command quick.
_COMMANDS = {
    "experiment-tracker": ("experiment_trackers:experiment_tracker", "Experiment trackers."),
    "plugins": ("plugins:plugins", "List the installed plugins."),
    "replay": ("replay:replay", "Send runs to another tracker."),
    "sync": ("sync:sync", "Deliver what trackers do not have yet."),
    "ui": ("ui:ui", "Serve a tracker's own page on this machine."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: Any = getattr(importlib.import_module(f"trackyard.cli.{module}"), attribute)
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from trackyard.suggestions import did_you_mean

        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            hint = did_you_mean(name, _COMMANDS) or "; type: trackyard --help"
            raise click.UsageError(f"no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
