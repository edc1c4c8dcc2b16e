"""How is the command line run, and how does a mistake look?"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from trackyard import __version__
from trackyard.cli.commands import COMMANDS
from trackyard.cli.groups import LazyGroup
from trackyard.cli.output import remark
from trackyard.cli.plugin_commands import (
    lines_of_plugins,
    load_plugins_command,
    refused_commands,
)
from trackyard.contract.errors import TrackyardError
from trackyard.project.choosing import choose_project
from trackyard.system.showing import line

_INTERRUPTED = 128 + signal.SIGINT


class _Root(LazyGroup):
    def lines(self) -> Mapping[str, str]:
        """Give the line of each command, with those of plugins."""
        return {**super().lines(), **lines_of_plugins()}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, which may be a plugin's."""
        if cmd_name in self.commands_by_name:
            return super().get_command(ctx, cmd_name)
        return load_plugins_command(cmd_name, is_completing=ctx.resilient_parsing)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands; importing none, it names the distribution of a plugin's."""
        super().format_commands(ctx, formatter)
        if lines := lines_of_plugins():
            with formatter.section("Commands of plugins"):
                formatter.write_dl(list(lines.items()))
        for problem in refused_commands():
            remark(f"Warning: {problem}")

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; a full disk below stdout is a line on stderr, too."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            click.echo(f"Error: {_shown(error.strerror or str(error))}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:  # while the command line itself is read
            sys.exit(_INTERRUPTED)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a mistake of the user's is a line on stderr and exit code 1.

        Ctrl-C ends it without a word, with the exit code that shells give it.
        """
        try:
            return super().invoke(ctx)
        except TrackyardError as error:
            raise click.ClickException(_shown(str(error))) from error
        except (KeyboardInterrupt, click.Abort):
            click.echo(err=True)  # the terminal has written ^C onto the line
            ctx.exit(_INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            raise click.ClickException(_shown(f"{error.filename}: {error.strerror}")) from error


@click.group(
    cls=_Root,
    commands_by_name=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="trackyard")
@click.option(
    "--project",
    type=click.Path(path_type=Path),
    help="The project's folder, instead of this one's; TRACKYARD_PROJECT says so, too.",
)
def cli(project: Path | None) -> None:
    """Track experiments in any tracker; every tracker is a plugin."""
    if project is not None:
        if not project.is_dir():
            raise click.BadParameter(f"there is no folder {str(project)!r}", param_hint="--project")
        choose_project(project)


def main() -> None:
    """Run the command line."""
    cli(prog_name="trackyard")


def _shown(text: str) -> str:
    return "\n".join(line(part) for part in text.splitlines())
