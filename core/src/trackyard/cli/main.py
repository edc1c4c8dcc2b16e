"""Which commands are there, and how does a mistake look?"""

from __future__ import annotations

import errno
import signal
import sys
from typing import Any

import click

from trackyard import __version__
from trackyard.cli.groups import LazyGroup
from trackyard.contract.errors import TrackyardError
from trackyard.system.showing import line

_COMMANDS = {
    "init": ("init:init", "Write a project's configuration."),
    "experiment-tracker": ("experiment_trackers:experiment_tracker", "Experiment trackers."),
    "stack": ("stacks:stack", "Stacks of trackers, orchestrator and artifact store."),
    "run": ("run_command:run", "Run a pipeline."),
    "runs": ("runs:runs", "Look at runs."),
    "exec": ("exec_command:exec_", "Run a command as a tracked run."),
    "log": ("log_command:log", "Log into the run of `trackyard exec` from a script."),
    "plugins": ("plugins:plugins", "List the installed plugins."),
    "replay": ("replay:replay", "Send runs to another tracker."),
    "doctor": ("doctor:doctor", "Look for what is wrong, and say what helps."),
    "gc": ("gc:gc", "Delete journals that every tracker has acknowledged."),
    "config": ("config:config", "What the configuration says, and from where."),
    "completion": ("completion:completion", "Completion by your shell."),
    "sync": ("sync:sync", "Deliver what trackers do not have yet."),
    "ui": ("ui:ui", "Serve a tracker's own page on this machine."),
}


_INTERRUPTED = 128 + signal.SIGINT


class _Root(LazyGroup):
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
    commands_by_name=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="trackyard")
def cli() -> None:
    """Track experiments in any tracker; every tracker is a plugin."""


def main() -> None:
    """Run the command line."""
    cli(prog_name="trackyard")


def _shown(text: str) -> str:
    return "\n".join(line(part) for part in text.splitlines())
