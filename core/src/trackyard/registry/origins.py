"""Where does each value of a project's configuration come from?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError, PluginError
from trackyard.hooks.discovery import is_safe_to_load, load_flavor
from trackyard.journal.durability import JournalOptions
from trackyard.project.configuration import Project
from trackyard.project.fields import Field, fields_of
from trackyard.project.overrides import find_overrides, overriding_values
from trackyard.project.stacks import (
    StackTable,
    TrackerOptions,
    active_stack_name,
    load_stacks,
)
from trackyard.project.storing import StoreOptions
from trackyard.project.trackers import Trackers
from trackyard.redaction.redactor import Redactor
from trackyard.system.showing import Shown, says
from trackyard.system.suggestions import did_you_mean, listed
from trackyard.tracking.context import ContextOptions
from trackyard.tracking.params import ParamOptions

Origin = Literal["command line", "variable", "project file", "pyproject", "user file", "default"]


@attrs.frozen(repr=False)
class ConfigValue(Shown):
    """A value of the configuration, and where it comes from."""

    key: str = attrs.field(metadata=says("Its key path, as in the file"))
    value: Any = attrs.field(metadata=says("The value; secrets are references"))
    origin: Origin = attrs.field(metadata=says("Where it comes from"))
    place: str = attrs.field(metadata=says("The file or the variable; empty for a default"))


def config_values(project: Project, stack: str | None = None) -> list[ConfigValue]:
    """List the values that count, in the order of the file's sections.

    Args:
        project: The project.
        stack: The stack that a command line names.

    Raises:
        ConfigError: The configuration is wrong, or there is no such stack.
    """
    values = [
        _active_stack(project, stack),
        _home(project),
        *_store(project),
        *_trackers(project),
        *_stacks(project),
        *_table(project, "context", fields_of(ContextOptions)),
        *_table(project, "journal", fields_of(JournalOptions)),
        *_table(project, "params", fields_of(ParamOptions)),
    ]
    redact = Redactor().redact_value
    return [
        attrs.evolve(v, value=redact(v.value)) if isinstance(v.value, str) else v for v in values
    ]


def _active_stack(project: Project, stack: str | None) -> ConfigValue:
    stacks = load_stacks(project)
    if stack is not None:
        if stack not in (stacks or ("default",)):
            hint = did_you_mean(stack, stacks) or f"; configured are {listed(stacks)}"
            raise ConfigError(f"no stack {stack!r} is configured{hint}")
        return ConfigValue("active_stack", stack, "command line", "--stack")
    name = Trackers(project).stack.name  # it says what is wrong with it
    written, place = active_stack_name(project)
    if place == "TRACKYARD_ACTIVE_STACK":
        return ConfigValue("active_stack", name, "variable", place)
    is_written = written is not None and "active_stack" in project.table
    return _written(project, name, ("active_stack",), is_written=is_written)


def _home(project: Project) -> ConfigValue:
    is_moved = bool(os.environ.get("TRACKYARD_HOME"))
    origin: tuple[Origin, str] = ("variable", "TRACKYARD_HOME") if is_moved else ("default", "")
    return ConfigValue("home", str(project.home), *origin)


def _trackers(project: Project) -> Iterator[ConfigValue]:
    configured = Trackers(project).configured
    overrides = find_overrides("TRACKER", configured)
    for name, tracker in configured.items():
        flavor = tracker.options.flavor
        own: tuple[Field, ...] = ()
        of_flavor = overrides.get(name, [])
        with suppress(PluginError):  # it is shown as far as it can be read
            if is_safe_to_load(flavor):
                own = fields_of(load_flavor(flavor))
        fields = (*fields_of(TrackerOptions), *own)
        if not own:
            of_core = {field.name.upper() for field in fields}
            of_flavor = [override for override in of_flavor if override.field in of_core]
        variables = overriding_values(of_flavor, fields)
        table = project.table.get("experiment_trackers", {}).get(name, {})
        below = {"flavor": tracker.options.flavor}
        path = ("experiment_trackers", name)
        yield from _fields(project, path, fields, table, variables=variables, defaults=below)


def _stacks(project: Project) -> Iterator[ConfigValue]:
    tables: Mapping[str, Any] = project.table.get("stacks", {})
    overrides = find_overrides("STACK", tables)
    fields = fields_of(StackTable)
    for name, table in tables.items():
        variables = overriding_values(overrides.get(name, ()), fields)
        yield from _fields(project, ("stacks", name), fields, table, variables=variables)


def _table(project: Project, section: str, fields: tuple[Field, ...]) -> Iterator[ConfigValue]:
    yield from _fields(project, (section,), fields, project.table.get(section, {}))


def _store(project: Project) -> Iterator[ConfigValue]:
    own = f"sqlite:///{project.home / 'store.db'}"
    value = project.table.get("store", own)
    if isinstance(value, Mapping):
        fields = fields_of(StoreOptions)
        yield from _fields(project, ("store",), fields, value, defaults={"url": own})
    else:
        yield _written(project, value, ("store",), is_written="store" in project.table)


def _fields(
    project: Project,
    path: tuple[str, ...],
    fields: tuple[Field, ...],
    table: Mapping[str, Any],
    *,
    variables: Mapping[str, tuple[Any, str]] = MappingProxyType({}),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[ConfigValue]:
    """Give a table's values: of its variables, as written, and the defaults that say something."""
    known = {field.name: field for field in fields}
    for key in dict.fromkeys((*known, *table)):
        if key in variables:
            value, variable = variables[key]
            yield ConfigValue(".".join((*path, key)), value, "variable", variable)
        elif key in table:
            yield _written(project, table[key], (*path, key), is_written=True)
        else:
            default = defaults.get(key, known[key].default)
            if default:
                yield _written(project, default, (*path, key), is_written=False)


def _written(
    project: Project, value: Any, path: tuple[str, ...], *, is_written: bool
) -> ConfigValue:
    layer = project.layer(*path) if is_written else None
    key = ".".join(path)
    if layer is None:
        return ConfigValue(key, value, "default", "")
    return ConfigValue(key, value, layer.kind, str(layer.file))
