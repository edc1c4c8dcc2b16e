"""Which variables of the environment stand in for values of the configuration?

`TRACKYARD_TRACKER__TEAM__TRACKING_URI` is the field `tracking_uri` of the experiment tracker
`team`, `TRACKYARD_STACK__TEAM__ORCHESTRATOR` likewise a stack's, and `TRACKYARD_ACTIVE_STACK` the
name of the active stack. Names are compared in capitals, with `_` for anything odd.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.project.fields import Field, parse_text
from trackyard.system.suggestions import did_you_mean, listed

_KINDS = {"TRACKER": "experiment tracker", "STACK": "stack"}


@attrs.frozen
class Override:
    """A variable of the environment that stands in for a field.

    Attributes:
        variable: Its whole name.
        field: The part that names the field, in capitals.
        text: Its value.
    """

    variable: str
    field: str
    text: str


def active_stack_override() -> str | None:
    """Give the name in `TRACKYARD_ACTIVE_STACK`, or None."""
    return os.environ.get("TRACKYARD_ACTIVE_STACK") or None


def find_overrides(
    kind: Literal["TRACKER", "STACK"], names: Iterable[str]
) -> dict[str, list[Override]]:
    """Find the overrides of things of one kind, by the name of the thing.

    Args:
        kind: `TRACKER` or `STACK`, as it stands in the variables.
        names: Names of things that may have some.

    Raises:
        ConfigError: A variable names none of them.
    """
    prefix = f"TRACKYARD_{kind}__"
    by_capitals = {_capitals(name): name for name in names}
    found: dict[str, list[Override]] = {}
    for variable in sorted(name for name in os.environ if name.startswith(prefix)):
        name, separator, field = variable.removeprefix(prefix).rpartition("__")
        if not separator or name not in by_capitals:
            hint = did_you_mean(name or field, by_capitals)
            hint = hint or f"; names are {listed(by_capitals)}, then __ and the field"
            raise ConfigError(f"{variable}: names no configured {_KINDS[kind]}{hint}")
        override = Override(variable, field, os.environ[variable])
        found.setdefault(by_capitals[name], []).append(override)
    return found


def overriding_values(
    overrides: Iterable[Override], fields: Iterable[Field]
) -> Mapping[str, tuple[Any, str]]:
    """Give the values that overrides stand for: for each field its value and its variable.

    Args:
        overrides: The variables.
        fields: The fields that there are.

    Raises:
        ConfigError: A variable names no field, or its text is no value of it.
    """
    by_capitals = {field.name.upper(): field for field in fields}
    values = {}
    for override in overrides:
        field = by_capitals.get(override.field)
        if field is None:
            hint = (
                did_you_mean(override.field, by_capitals) or f"; fields are {listed(by_capitals)}"
            )
            raise ConfigError(f"{override.variable}: {override.field!r} is no field{hint}")
        try:
            values[field.name] = (parse_text(override.text, field.annotation), override.variable)
        except ValueError as error:
            raise ConfigError(f"{override.variable}: {error}") from error
    return values


def _capitals(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
