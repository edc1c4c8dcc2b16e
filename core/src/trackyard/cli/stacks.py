"""`trackyard stack`: which commands are there for stacks?"""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "register": ("trackyard.cli.stack_commands:register", "Register a stack."),
    "list": ("trackyard.cli.stack_commands:list_stacks", "List the stacks."),
    "describe": ("trackyard.cli.stack_commands:describe", "Show a stack, or the active one."),
    "set": ("trackyard.cli.stack_commands:set_stack", "Make a stack the active one."),
    "update": ("trackyard.cli.stack_commands:update", "Change a stack."),
    "rename": ("trackyard.cli.stack_commands:rename", "Give a stack another name."),
    "copy": ("trackyard.cli.stack_commands:copy", "Register a copy of a stack."),
    "remove-attribute": (
        "trackyard.cli.stack_commands:remove_attribute",
        "Take values out of a stack.",
    ),
    "delete": ("trackyard.cli.stack_commands:delete", "Take a stack out of the configuration."),
    "export": ("trackyard.cli.stack_commands:export", "Write a stack and its trackers as TOML."),
    "import": (
        "trackyard.cli.stack_commands:import_stack",
        "Register what another project exported.",
    ),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def stack() -> None:
    """Stacks: which experiment trackers, orchestrator and artifact store belong together."""
