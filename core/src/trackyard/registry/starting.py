"""What does a new project's configuration say, by what is installed and in the environment?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError, PluginError
from trackyard.hooks.discovery import FLAVORS, KNOWN_FLAVORS, find_plugins, load_flavor
from trackyard.project.editing import edit_file
from trackyard.project.fields import Field, fields_of, parse_text
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
_NOTHING = """\

# No flavor is installed: runs are kept in .trackyard/ alone. Type: pip install trackyard-mlflow
# [experiment_trackers.local]
# flavor = "mlflow"   # sqlite in .trackyard/, no server
"""
# By flavor: variables of its SDK, and the field that says the same.
SIGNS: Mapping[str, Mapping[str, str]] = {
    "mlflow": {
        "MLFLOW_TRACKING_URI": "tracking_uri",
        "MLFLOW_TRACKING_USERNAME": "tracking_username",
        "MLFLOW_TRACKING_PASSWORD": "tracking_password",
        "MLFLOW_TRACKING_TOKEN": "tracking_token",
        "DATABRICKS_HOST": "databricks_host",
        "DATABRICKS_CLIENT_ID": "databricks_client_id",
        "DATABRICKS_CLIENT_SECRET": "databricks_client_secret",
    },
    "wandb": {
        "WANDB_API_KEY": "api_key",
        "WANDB_ENTITY": "entity",
        "WANDB_PROJECT": "project",
        "WANDB_BASE_URL": "base_url",
    },
    "comet": {
        "COMET_API_KEY": "api_key",
        "COMET_WORKSPACE": "workspace",
        "COMET_PROJECT_NAME": "project",
        "COMET_URL_OVERRIDE": "url",
    },
    "neptune": {"NEPTUNE_API_TOKEN": "api_token", "NEPTUNE_PROJECT": "project"},
    "trackio": {"TRACKIO_SPACE_ID": "space_id", "TRACKIO_SERVER_URL": "server_url"},
}


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


@attrs.frozen
class Start:
    """A configuration that was written.

    Attributes:
        file: Where.
        experiment_trackers: Names of the trackers.
        found: What spoke for each flavor.
    """

    file: Path
    experiment_trackers: tuple[str, ...]
    found: tuple[Found, ...]


def look_around() -> tuple[Found, ...]:
    """Look at what is installed and at the environment; nothing is imported for this."""
    installed = {info.name for info in find_plugins(FLAVORS) if not info.is_blocked}
    found = []
    for flavor in dict.fromkeys((*KNOWN_FLAVORS, *SIGNS, *sorted(installed))):
        variables = tuple(name for name in SIGNS.get(flavor, ()) if os.environ.get(name))
        if variables or flavor in installed:
            found.append(Found(flavor, flavor in installed, variables))
    return tuple(found)


def suggested_flavors(found: Sequence[Found]) -> tuple[str, ...]:
    """Choose flavors: those that the environment speaks for, else one that needs no account."""
    spoken_for = [f.flavor for f in found if f.is_installed and f.variables]
    installed = [f.flavor for f in found if f.is_installed]
    local = [name for name in ("mlflow", "tensorboard", "trackio") if name in installed]
    return tuple(spoken_for or local[:1])


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
        fields = {field.name: field for field in fields_of(loaded)}
    except PluginError as error:
        return f"\n# {flavor} cannot be used: {' '.join(str(error).split())}\n"
    description = (loaded.__doc__ or "").strip().partition("\n")[0]
    lines = ["", f"# {description}", f"[experiment_trackers.{name}]", f'flavor = "{flavor}"']
    for key, value in given.items():
        lines.append(f"{key} = {_toml(value)}")
    for variable in variables:
        field = fields.get(SIGNS[flavor][variable])
        if field is not None and field.name not in given:
            lines.append(_field_line(field, variable))
    secrets = [field for field in fields.values() if field.is_secret]
    if len(secrets) == 1 and not _is_set(secrets[0], variables, flavor):
        variable = _variable_of(secrets[0], flavor)
        lines.append(f'# {secrets[0].name} = "env:{variable}"   # {secrets[0].help}')
    return "\n".join(lines) + "\n"


def _field_line(field: Field, variable: str) -> str:
    if field.is_secret:
        return f'{field.name} = "env:{variable}"   # read when it is needed, never written down'
    text = without_credentials(os.environ[variable])
    try:
        value = parse_text(text, field.annotation)
    except ValueError:
        return f"# {field.name} = ...   # {variable} is set, to what this field does not take"
    return f"{field.name} = {_toml(value)}   # as {variable} says now"


def _is_set(field: Field, variables: Sequence[str], flavor: str) -> bool:
    return any(SIGNS[flavor].get(variable) == field.name for variable in variables)


def _variable_of(field: Field, flavor: str) -> str:
    known = {name: variable for variable, name in SIGNS.get(flavor, {}).items()}
    return known.get(field.name, f"{flavor}_{field.name}".upper().replace("-", "_"))


def _suggestion(found: Found) -> str:
    variables = ", ".join(found.variables)
    if found.is_installed:
        command = f"trackyard experiment-tracker register {found.flavor} -f {found.flavor} --help"
    else:
        command = f"pip install trackyard-{found.flavor}"
    return f"\n# {variables} speaks for {found.flavor}; to use it, type: {command}\n"
