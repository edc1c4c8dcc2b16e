"""What does a new project's configuration say, by what is installed and in the environment?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError, PluginError
from trackyard.hooks.discovery import FLAVORS, find_plugins, load_flavor
from trackyard.hooks.known import known_flavors
from trackyard.project.editing import edit_file
from trackyard.project.fields import Field, fields_of, parse_text
from trackyard.project.trackers import DEFAULT_DISTRIBUTION, DEFAULT_FLAVOR
from trackyard.redaction.redactor import without_credentials

_PROJECT = """\
# Trackyard: where this project's runs are tracked.
# What a flavor takes: trackyard experiment-tracker flavor describe FLAVOR
# Where a value comes from: trackyard config show --origin
"""
_STACK = """\

# A stack is what belongs together; a step takes its trackers by @step(experiment_tracker=True).
[stacks.default]
experiment_trackers = {trackers}
# orchestrator = "local"
# artifact_store = ".trackyard/artifacts"   # outputs of steps: a folder, or a URL such as s3://...
"""
_NOTHING = f"""\

# No flavor is installed: runs are kept in .trackyard/ alone.
# Type: pip install {DEFAULT_DISTRIBUTION}
# [experiment_trackers.local]
# flavor = "{DEFAULT_FLAVOR}"   # in .trackyard/, no server
"""


@attrs.frozen
class Found:
    """What speaks for a flavor.

    Attributes:
        flavor: Its name.
        is_installed: It can be used.
        variables: The variables of its SDK that are set.
    """

    flavor: str
    is_installed: bool
    variables: tuple[str, ...]

    @property
    def distribution(self) -> str:
        """What to install, where it is not."""
        return known_flavors()[self.flavor].distribution


@attrs.frozen
class Start:
    """A configuration that was written.

    Attributes:
        file: Where.
        experiment_trackers: Names of the trackers.
        found: What spoke for each flavor.
        lines: What to add to a training, for `--framework`.
    """

    file: Path
    experiment_trackers: tuple[str, ...]
    found: tuple[Found, ...]
    lines: tuple[str, ...] = ()


def look_around() -> tuple[Found, ...]:
    """Look at what is installed and at the environment; flavors are imported, their SDKs not."""
    plugins = find_plugins(FLAVORS)
    blocked = {info.name for info in plugins if info.is_blocked}
    installed = {info.name for info in plugins} - blocked
    found = []
    for flavor in sorted({*known_flavors(), *installed} - blocked):
        names = _variables(flavor, is_installed=flavor in installed)
        variables = tuple(name for name in names if os.environ.get(name))
        if variables or flavor in installed:
            found.append(Found(flavor, flavor in installed, variables))
    return tuple(found)


def _variables(flavor: str, *, is_installed: bool) -> tuple[str, ...]:
    """Name the variables of a flavor's SDK: as its fields say, or what is known of it."""
    if is_installed:
        with suppress(PluginError):  # said where it is used
            return tuple(field.env for field in fields_of(load_flavor(flavor)) if field.env)
    known = known_flavors().get(flavor)
    return known.variables if known else ()


def suggested_flavors(found: Sequence[Found]) -> tuple[str, ...]:
    """Choose flavors: those that the environment speaks for, else one that needs no account."""
    installed = {one.flavor: one for one in found if one.is_installed}
    spoken_for = [name for name, one in installed.items() if one.variables]
    known = known_flavors().values()
    local = [one.name for one in known if one.name in installed and not one.needs_account]
    return tuple(spoken_for or local[:1])


def place_field(flavor: str) -> Field | None:
    """Give the field of a flavor that says where runs go: the first that a variable stands for.

    Raises:
        PluginError: The flavor is broken.
    """
    fields = fields_of(load_flavor(flavor))
    return next((field for field in fields if field.env and not field.is_secret), None)


def start_project(
    folder: Path, flavors: Sequence[str], found: Sequence[Found], given: Mapping[str, Any]
) -> Start:
    """Write a project's `trackyard.toml`.

    Args:
        folder: The project's folder.
        flavors: The flavors of its trackers.
        found: What `look_around` found.
        given: Fields that the user gave for the first one.

    Raises:
        ConfigError: There is a configuration already, or the file cannot be written.
    """
    file = folder / "trackyard.toml"
    names = _names(flavors, found)
    by_flavor = {f.flavor: f for f in found}
    parts = [_PROJECT]
    for index, flavor in enumerate(flavors):
        variables = by_flavor[flavor].variables if flavor in by_flavor else ()
        parts.append(_tracker_text(names[flavor], flavor, variables, {} if index else given))
    parts += [_suggestion(f) for f in found if f.flavor not in flavors and f.variables]
    parts += [] if flavors else [_NOTHING]
    parts.append(_STACK.format(trackers=_toml(list(names.values()))))

    def write(text: str) -> str:
        if text.strip():
            raise ConfigError(f"{file} is there already; type: trackyard config show")
        return "".join(parts)

    edit_file(file, write)
    return Start(file, tuple(names.values()), tuple(found))


def _names(flavors: Sequence[str], found: Sequence[Found]) -> dict[str, str]:
    """Name each flavor's tracker: by the flavor, but the first that needs no account `local`."""
    with_signs = {f.flavor for f in found if f.variables}
    names: dict[str, str] = {}
    for flavor in flavors:
        is_local = flavor not in with_signs and "local" not in names.values()
        names[flavor] = "local" if is_local else flavor
    return names


def _toml(value: Any) -> str:
    import tomlkit

    return str(tomlkit.item(value).as_string())


def _tracker_text(
    name: str, flavor: str, variables: Sequence[str], given: Mapping[str, Any]
) -> str:
    try:
        loaded = load_flavor(flavor)
        fields = fields_of(loaded)
    except PluginError as error:
        return f"\n# {flavor} cannot be used: {' '.join(str(error).split())}\n"
    description = (loaded.__doc__ or "").strip().partition("\n")[0]
    lines = ["", f"# {description}", f"[experiment_trackers.{name}]", f'flavor = "{flavor}"']
    for key, value in given.items():
        lines.append(f"{key} = {_toml(value)}")
    found = [field for field in fields if field.env in variables and field.name not in given]
    lines += map(_field_line, found)
    secrets = [field for field in fields if field.is_secret]
    if len(secrets) == 1 and secrets[0].env not in variables:
        variable = secrets[0].env or f"{flavor}_{secrets[0].name}".upper().replace("-", "_")
        lines.append(f'# {secrets[0].name} = "env:{variable}"   # {secrets[0].help}')
    return "\n".join(lines) + "\n"


def _field_line(field: Field) -> str:
    if field.is_secret:
        return f'{field.name} = "env:{field.env}"   # read when it is needed, never written down'
    text = without_credentials(os.environ[field.env])
    try:
        value = parse_text(text, field.annotation)
    except ValueError:
        return f"# {field.name} = ...   # {field.env} is set, to what this field does not take"
    return f"{field.name} = {_toml(value)}   # as {field.env} says now"


def _suggestion(found: Found) -> str:
    variables = ", ".join(found.variables)
    if found.is_installed:
        command = f"trackyard experiment-tracker register {found.flavor} -f {found.flavor} --help"
    else:
        command = f"pip install {found.distribution}"
    return f"\n# {variables} speaks for {found.flavor}; to use it, type: {command}\n"
