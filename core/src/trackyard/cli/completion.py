"""`trackyard completion`: how does a shell complete commands and options?"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from trackyard.cli.groups import LazyGroup
from trackyard.cli.output import json_option, say, show_json
from trackyard.contract.errors import TrackyardError
from trackyard.project.configuration import users_file
from trackyard.project.editing import edit_file

_COMMANDS = {
    "install": (
        "trackyard.cli.completion:install",
        "Have your shell complete commands and options.",
    ),
    "show": ("trackyard.cli.completion:show", "Write the script for a shell."),
}
_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_TRACKYARD_COMPLETE"
_MARK = "# Trackyard's completion"
# A zsh whose .zshrc is empty has no completion at all before this.
_BEFORE = {"zsh": "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u; }\n"}

_shell = click.option(
    "--shell", type=click.Choice(_SHELLS), help="The shell; that of SHELL by default."
)


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def completion() -> None:
    """Completion of commands and options by your shell."""


@click.command()
@_shell
@json_option
def install(shell: str | None, as_json: bool) -> None:
    """Have your shell complete commands and options from the next start on.

    It writes a script, which a line in ~/.bashrc or ~/.zshrc then reads; fish finds it by itself.
    Done twice it changes nothing.
    """
    shell = shell or _own_shell()
    script, file = _script_file(shell), _start_file(shell)
    text = _script(shell)
    edit_file(script, lambda _: text)
    if file is not None:
        edit_file(file, lambda text: _with_line(text, script))
    if as_json:
        show_json({"shell": shell, "script": str(script), "file": file and str(file)})
        return
    say(f"{shell} completes trackyard from its next start on, by {file or script}")


@click.command()
@_shell
@json_option
def show(shell: str | None, as_json: bool) -> None:
    """Write the script for a shell to stdout, to be sourced."""
    shell = shell or _own_shell()
    if as_json:
        show_json({"shell": shell, "script": _script(shell)})
    else:
        click.echo(_script(shell))


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        known = ", ".join(_SHELLS)
        raise TrackyardError(f"SHELL names none of {known}; type: --shell {_SHELLS[0]}")
    return name


def _script_file(shell: str) -> Path:
    if shell == "fish":
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(config) / "fish" / "completions" / "trackyard.fish"
    return users_file().with_name(f"completion.{shell}")


def _start_file(shell: str) -> Path | None:
    if shell == "fish":
        return None
    folder = os.environ.get("ZDOTDIR") if shell == "zsh" else None
    return Path(folder or Path.home()) / f".{shell}rc"


def _with_line(text: str, script: Path) -> str:
    if _MARK in text:
        return text
    gap = "" if not text or text.endswith("\n") else "\n"
    quoted = shlex.quote(str(script))
    return f"{text}{gap}{_MARK}\n[ -f {quoted} ] && . {quoted}\n"


def _script(shell: str) -> str:
    from trackyard.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None, shell
    return _BEFORE.get(shell, "") + str(found(cli, {}, "trackyard", _VARIABLE).source())
