"""Which commands do installed plugins bring, and which of them are refused?

Nothing is imported to list them: a command is imported when it is typed, and a broken one breaks
no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trackyard.cli.commands import COMMANDS
from trackyard.contract.errors import PluginError

if TYPE_CHECKING:
    import click

    from trackyard.hooks.discovery import PluginInfo


def lines_of_plugins() -> Mapping[str, str]:
    """Give the line in the help of each command that plugins bring."""
    return {
        name: f"{infos[0].summary.rstrip('.') or 'No summary'} ({infos[0].origin})."
        for name, infos in plugin_commands().items()
        if not why_refused(name, infos)
    }


def refused_commands() -> list[str]:
    """Say of each command of a plugin that cannot be typed why not."""
    found = (why_refused(name, infos) for name, infos in plugin_commands().items())
    return [problem for problem in found if problem]


def load_plugins_command(name: str, *, is_completing: bool) -> click.Command | None:
    """Import a command of a plugin; None where no plugin has it.

    Args:
        name: What was typed.
        is_completing: A shell asks, which shows no errors.

    Raises:
        PluginError: It is broken, two distributions bring it, or one that is not installed.
    """
    if name not in plugin_commands():
        _refuse_missing(name, is_completing=is_completing)
        return None
    from trackyard.hooks.discovery import load_command

    try:
        command: click.Command = load_command(name)
    except PluginError:
        if is_completing:
            return None
        raise
    return command


def _refuse_missing(name: str, *, is_completing: bool) -> None:
    """Say what to type where a command is known that no installed package brings.

    Raises:
        PluginError: It is one of these.
    """
    from trackyard.hooks.discovery import COMMANDS as GROUP, find_plugins
    from trackyard.hooks.known import known_commands

    distribution = known_commands().get(name)
    if distribution is None or is_completing:
        return
    is_blocked = any(info.name == name for info in find_plugins(GROUP))
    if not is_blocked:
        raise PluginError(f"command {name!r} is not installed; type: pip install {distribution}")


def plugin_commands() -> dict[str, list[PluginInfo]]:
    """Find the commands that plugins bring, with who declares each; blocked ones are not there."""
    from trackyard.hooks import discovery  # 30 ms, for strangers' commands alone

    by_name: dict[str, list[PluginInfo]] = {}
    for info in discovery.find_plugins(discovery.COMMANDS):
        if not info.is_blocked:
            by_name.setdefault(info.name, []).append(info)
    return by_name


def why_refused(name: str, infos: Sequence[PluginInfo]) -> str:
    """Say why a command cannot be typed; an empty text where it can.

    Args:
        name: The command's name.
        infos: Who declares it.
    """
    owners = " and ".join(info.origin for info in infos)
    if name in COMMANDS:
        return f"command {name!r} of {owners} is refused: Trackyard has one of that name"
    if len(infos) > 1:
        return f"command {name!r} is declared by {owners}; type: pip uninstall one of them"
    return ""
