"""How is a group of commands kept quick, and what is answered to a command that is not there?"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, which keeps every other one quick.

    Args:
        commands_by_name: Each command's `module:attribute`, as an entry point names it, and its
            line in the help.
    """

    def __init__(
        self, *args: Any, commands_by_name: Mapping[str, tuple[str, str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.commands_by_name = commands_by_name

    def lines(self) -> Mapping[str, str]:
        """Give each command's line in the help, in their order."""
        return {name: line for name, (_, line) in self.commands_by_name.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the help."""
        return list(self.lines())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.commands_by_name:
            return None
        module, _, attribute = self.commands_by_name[cmd_name][0].partition(":")
        command: Any = getattr(importlib.import_module(module), attribute)
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            own = [(name, line) for name, (_, line) in self.commands_by_name.items()]
            formatter.write_dl(own)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands without importing any, and options."""
        lines = [(name, line) for name, line in self.lines().items() if name.startswith(incomplete)]
        items = [CompletionItem(name, help=line) for name, line in lines]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say what to type instead."""
        from trackyard.system.suggestions import did_you_mean

        name = args[0]
        is_word = not name.startswith("-") and not ctx.resilient_parsing
        if is_word and self.get_command(ctx, name) is None:
            hint = did_you_mean(name, self.lines())
            hint = hint or f"; type: {ctx.command_path} --help"
            raise click.UsageError(f"no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)
