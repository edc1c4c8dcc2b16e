"""`trackyard init`: how does a project get its configuration?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from trackyard.cli.output import is_terminal, json_option, remark, say, show_json
from trackyard.contract.errors import ConfigError, PluginError
from trackyard.hooks.frameworks import framework_lines
from trackyard.project.choosing import starting_folder
from trackyard.project.configuration import find_project
from trackyard.project.trackers import DEFAULT_DISTRIBUTION
from trackyard.redaction.redactor import without_credentials
from trackyard.registry.starting import (
    Found,
    Start,
    look_around,
    place_field,
    start_project,
    suggested_flavors,
)
from trackyard.system.suggestions import did_you_mean, listed


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Ask nothing; take what was found.")
@click.option(
    "--framework", metavar="NAME", help="Print the lines that log what this framework trains."
)
@json_option
def init(yes: bool, framework: str | None, as_json: bool) -> None:
    """Write a commented trackyard.toml into this folder.

    It looks at the installed flavors and at the variables of their SDKs, such as those that name
    a server or hold a key. Secrets become references to those variables. On a terminal it asks two
    questions at most.

    With --framework it also prints what to add to a training, such as of lightning; where there is
    a configuration already it prints that alone.
    """
    lines = framework_lines(framework) if framework else ()
    there = find_project().config_file
    if lines and there is not None:
        _show_lines(Start(there, (), (), lines), as_json)
        return
    folder = starting_folder(lambda _: True)
    _check_that_there_is_none(folder)
    found = look_around()
    flavors = suggested_flavors(found)
    given: dict[str, Any] = {}
    if not yes and not as_json and is_terminal() and sys.stdin.isatty():
        flavors = _ask_for_flavors(found, flavors)
        given = _ask_for_place(found, flavors)
    start = attrs.evolve(start_project(folder, flavors, found, given), lines=lines)
    if as_json:
        show_json(start)
        return
    say(f"wrote {start.file}")
    for one in found:
        if one.variables and not one.is_installed:
            names = ", ".join(one.variables)
            remark(f"Note: {names} is set; to use it, type: pip install {one.distribution}")
    if start.experiment_trackers:
        for name in start.experiment_trackers:
            say(f"try it, type: trackyard experiment-tracker check {name}")
    else:
        remark(f"Note: no flavor is installed; type: pip install {DEFAULT_DISTRIBUTION}")
    _show_lines(start, as_json)


def _show_lines(start: Start, as_json: bool) -> None:
    if as_json:
        show_json(start)
        return
    for line in start.lines:
        say(line)


def _check_that_there_is_none(folder: Path) -> None:
    """Say what there is already: of two files one would be ignored."""
    project = find_project()
    if project.config_file is None:
        return
    if project.root == folder:
        raise ConfigError(f"{project.config_file} is there already; type: trackyard config show")
    remark(f"Note: {project.config_file} holds no longer in this folder and below.")


def _ask_for_flavors(found: Sequence[Found], suggested: Sequence[str]) -> tuple[str, ...]:
    installed = [one.flavor for one in found if one.is_installed]
    if len(installed) < 2:
        return tuple(suggested)

    def read(text: str) -> tuple[str, ...]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in installed:
                hint = did_you_mean(name, installed) or f"; there are {listed(installed)}"
                raise click.BadParameter(f"no flavor {name!r} is installed{hint}")
        return tuple(dict.fromkeys(names))

    question = f"Experiment trackers, of {', '.join(installed)}"
    default = ", ".join(suggested)
    chosen: tuple[str, ...] = click.prompt(question, default=default, value_proc=read)
    return chosen


def _ask_for_place(found: Sequence[Found], flavors: Sequence[str]) -> dict[str, Any]:
    """Ask where the first tracker's runs go, where nothing in the environment says it."""
    has_signs = {one.flavor for one in found if one.variables}
    if not flavors or flavors[0] in has_signs:
        return {}
    try:
        field = place_field(flavors[0])
    except PluginError:
        return {}  # the file says why
    if field is None:
        return {}
    question = f"{field.name} of {flavors[0]}: {field.help} (empty: {field.default or 'none'})"
    answer = click.prompt(question, default="", show_default=False).strip()
    address = without_credentials(answer)
    if address != answer:
        advice = f"trackyard experiment-tracker flavor describe {flavors[0]}"
        remark(f"Note: user and password are left out; for their fields type: {advice}")
    return {field.name: address} if answer else {}
