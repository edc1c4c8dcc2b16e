"""How are experiment trackers and stacks registered, changed and removed in their files?

Each change is checked first, and made under a lock in the file that configures the thing; new
things go to the project's own file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.hooks.discovery import ORCHESTRATORS, find_plugins
from trackyard.project.configuration import Layer, Project, find_project
from trackyard.project.editing import edit_file
from trackyard.project.sources import select_sources
from trackyard.project.stacks import (
    DEFAULT_TRACKER,
    StackTable,
    active_stack_name,
    load_stacks,
    split_stack_table,
)
from trackyard.project.structuring import structure
from trackyard.project.toml_text import (
    parsed,
    remove_table,
    remove_values,
    rename_table,
    set_values,
)
from trackyard.project.trackers import Trackers, build_orchestrator
from trackyard.system.suggestions import did_you_mean, listed

Section = Literal["experiment_trackers", "stacks"]
NAME_RULE = "a name is a text without spaces at its ends, control characters or a dash at its start"
_KINDS: dict[str, str] = {"experiment_trackers": "experiment tracker", "stacks": "stack"}
_COMMANDS = {"experiment_trackers": "experiment-tracker", "stacks": "stack"}


@attrs.frozen
class Registry:
    """The configured things of a project, for changes.

    Args:
        start: A folder of the project.
    """

    start: Path

    @property
    def project(self) -> Project:
        """The project as its files say it now."""
        return find_project(self.start)

    def register(
        self,
        section: Section,
        name: str,
        table: Mapping[str, Any],
        *,
        is_own: bool = True,
    ) -> None:
        """Add a thing.

        Args:
            section: `experiment_trackers` or `stacks`.
            name: The new table's name.
            table: Its keys and values, secrets as references.
            is_own: Somebody typed it; a `module:Class` from elsewhere is not imported to check it.

        Raises:
            ConfigError: It is wrong, or there is one of that name.
        """
        project = self.project
        _check_name(name, section)
        if is_own or not _names_class(table):
            _check(project, section, name, table)

        def change(text: str, path: tuple[str, ...]) -> str:
            if name in _section(text, path):
                raise ConfigError(
                    f"{_KINDS[section]} {name!r} is registered already; "
                    f"type: trackyard {_COMMANDS[section]} update {name} ..."
                )
            is_first = section == "stacks" and not project.table.get("stacks")
            text = set_values(text, (*path, name), table)
            # With stacks configured, one of them is active: the first.
            return set_values(text, path[:-1], {"active_stack": name}) if is_first else text

        self._edit(project.own_layer, section, change)

    def update(self, section: Section, name: str, values: Mapping[str, Any]) -> None:
        """Set some values of a thing; tables and lists are replaced.

        Args:
            section: `experiment_trackers` or `stacks`.
            name: The table's name.
            values: What to set in it.

        Raises:
            ConfigError: One is wrong, or there is nothing of that name.
        """
        project = self.project
        layer, table = self._find(project, section, name)
        _check(project, section, name, {**table, **values})
        self._edit(layer, section, lambda text, path: set_values(text, (*path, name), values))

    def remove_attributes(self, section: Section, name: str, keys: Iterable[str]) -> None:
        """Take keys out of a thing, so that their defaults count again.

        Args:
            section: `experiment_trackers` or `stacks`.
            name: The table's name.
            keys: What to take out of it.

        Raises:
            ConfigError: One is not set, or is needed, or there is nothing of that name.
        """
        project, keys = self.project, tuple(dict.fromkeys(keys))
        layer, table = self._find(project, section, name)
        for key in keys:
            if key not in table:
                hint = did_you_mean(key, table) or f"; set are {listed(table)}"
                raise ConfigError(f"{project.place(section, name)}: {key!r} is not set{hint}")
        left = {key: value for key, value in table.items() if key not in keys}
        _check(project, section, name, left)
        self._edit(layer, section, lambda text, path: remove_values(text, (*path, name), keys))

    def copy(self, section: Section, name: str, new_name: str) -> None:
        """Add a thing that says what another one says.

        Args:
            section: `experiment_trackers` or `stacks`.
            name: The table's name.
            new_name: The copy's name.

        Raises:
            ConfigError: There is nothing of that name, or something of the new one.
        """
        _, table = self._find(self.project, section, name)
        self.register(section, new_name, table)

    def rename(self, section: Section, name: str, new_name: str) -> None:
        """Give a thing another name, also where stacks, or `active_stack`, name it.

        Args:
            section: `experiment_trackers` or `stacks`.
            name: The table's name.
            new_name: Its name from now on.

        Raises:
            ConfigError: There is nothing of that name, or something of the new one.
        """
        project = self.project
        _check_name(new_name, section)
        layer, _ = self._find(project, section, name)

        def change(text: str, path: tuple[str, ...]) -> str:
            if new_name in _section(text, path):
                raise ConfigError(f"{_KINDS[section]} {new_name!r} is registered already")
            text = rename_table(text, (*path, name), new_name)
            return _renamed_where_named(text, path[:-1], section, name, new_name)

        self._edit(layer, section, change)
        for other in project.layers:
            if other is not layer:
                self._edit(
                    other,
                    section,
                    lambda text, path: _renamed_where_named(
                        text, path[:-1], section, name, new_name
                    ),
                )

    def delete(self, section: Section, name: str) -> None:
        """Remove a thing.

        Args:
            section: `experiment_trackers` or `stacks`.
            name: The table's name.

        Raises:
            ConfigError: There is nothing of that name, or it is in use.
        """
        project = self.project
        layer, _ = self._find(project, section, name)
        stacks = load_stacks(project)
        if section == "experiment_trackers":
            users = [stack.name for stack in stacks.values() if name in stack.experiment_trackers]
            if users:
                raise ConfigError(
                    f"experiment tracker {name!r} is in {_listed('stack', users)}; type: "
                    f"trackyard stack update {users[0]} --remove-experiment-tracker {name}"
                )
        elif name == active_stack_name(project)[0] and len(stacks) > 1:
            other = next(stack for stack in stacks if stack != name)
            raise ConfigError(f"stack {name!r} is active; type: trackyard stack set {other}")

        def change(text: str, path: tuple[str, ...]) -> str:
            text = remove_table(text, (*path, name))
            names_it = section == "stacks" and _section(text, path[:-1]).get("active_stack") == name
            return remove_values(text, path[:-1], ("active_stack",)) if names_it else text

        self._edit(layer, section, change)

    def set_active_stack(self, name: str) -> None:
        """Make a stack the active one.

        Raises:
            ConfigError: There is none of that name.
        """
        project = self.project
        self._find(project, "stacks", name)
        values = {"active_stack": name}
        self._edit(
            project.own_layer, "stacks", lambda text, path: set_values(text, path[:-1], values)
        )

    def export_stack(self, name: str) -> str:
        """Write a stack and its trackers as TOML.

        Raises:
            ConfigError: There is none of that name.
        """
        project = self.project
        default = Trackers(project).stack
        is_default = not project.table.get("stacks") and name == default.name
        table: dict[str, Any] = {"experiment_trackers": list(default.experiment_trackers)}
        if not is_default:
            _, table = self._find(project, "stacks", name)
        configured = Trackers(project).configured
        text = ""
        for tracker in table.get("experiment_trackers", []):
            written = project.table.get("experiment_trackers", {}).get(tracker)
            own = written or {"flavor": configured[tracker].options.flavor}
            text = set_values(text, ("experiment_trackers", tracker), own)
        return set_values(text, ("stacks", name), table)

    def import_stack(self, text: str, new_name: str | None = None) -> str:
        """Register the one stack in a text of `export_stack`, and its trackers; give its name.

        Args:
            text: What `export_stack` gave, as TOML.
            new_name: Another name for the stack.

        Raises:
            ConfigError: A name is taken by something else, or a value is wrong.
        """
        try:
            given = tomllib.loads(text)
            ((name, stack),) = given["stacks"].items()
            trackers = dict(given.get("experiment_trackers", {}))
        except (tomllib.TOMLDecodeError, KeyError, ValueError, AttributeError, TypeError):
            raise ConfigError(
                "it is not what `trackyard stack export` writes: TOML with one [stacks.NAME]"
            ) from None
        name = new_name or name
        there = self.project.table.get("experiment_trackers", {})
        new = {key: table for key, table in trackers.items() if there.get(key) != table}
        taken = [key for key in new if key in there]
        if taken:
            raise ConfigError(
                f"experiment tracker {taken[0]!r} is registered already, with other fields; "
                f"type: trackyard experiment-tracker rename {taken[0]} NEW_NAME"
            )
        if name in self.project.table.get("stacks", {}):
            raise ConfigError(f"stack {name!r} is registered already; give it another --name")
        for key, table in new.items():
            _check_name(key, "experiment_trackers")
            if not _names_class(table):
                _check(self.project, "experiment_trackers", key, table)
        for key, table in new.items():
            self.register("experiment_trackers", key, table, is_own=False)
        self.register("stacks", name, stack, is_own=False)
        return name

    def _find(self, project: Project, section: Section, name: str) -> tuple[Layer, dict[str, Any]]:
        for layer in project.layers:
            if layer.holds((section, name)):
                return layer, dict(layer.table[section][name])
        kind = _KINDS[section]
        configured = project.table.get(section, {})
        if not configured and name in (DEFAULT_TRACKER, "default"):
            raise ConfigError(
                f"{kind} {name!r} is Trackyard's default and stands in no file; "
                f"type: trackyard {_COMMANDS[section]} register {name} ..."
            )
        hint = did_you_mean(name, configured) or f"; configured are {listed(configured)}"
        raise ConfigError(f"no {kind} {name!r} is configured{hint}")

    def _edit(
        self, layer: Layer | None, section: str, change: Callable[[str, tuple[str, ...]], str]
    ) -> None:
        file = layer.file if layer else self.project.root / "trackyard.toml"
        prefix = tuple(part for part in (layer.prefix if layer else "").split(".") if part)
        edit_file(file, lambda text: change(text, (*prefix, section)))


def is_name(text: str) -> bool:
    """Tell whether something may have this name."""
    return text == text.strip() != "" and text.isprintable() and not text.startswith("-")


def _check_name(name: str, section: str) -> None:
    if not is_name(name):
        raise ConfigError(f"{_KINDS[section]} {name!r}: {NAME_RULE}")


def _check(project: Project, section: Section, name: str, table: Mapping[str, Any]) -> None:
    place = f"{section}.{name}"
    if section == "experiment_trackers":
        Trackers(project).check(name, table, place)
        return
    keys, options = split_stack_table(table)
    stack = structure(keys, StackTable, place)
    known = Trackers(project).configured
    for tracker in stack.experiment_trackers:
        if tracker not in known:
            hint = did_you_mean(tracker, known) or f"; configured are {listed(known)}"
            raise ConfigError(f"{place}: no experiment tracker {tracker!r} is configured{hint}")
    select_sources(Trackers(project), stack.capture, f"{place}.capture")
    orchestrators = {info.name for info in find_plugins(ORCHESTRATORS)}
    if ":" not in stack.orchestrator and stack.orchestrator not in orchestrators:
        hint = did_you_mean(stack.orchestrator, orchestrators)
        hint = hint or f"; installed are {listed(orchestrators)}"
        raise ConfigError(f"{place}: no orchestrator {stack.orchestrator!r} is installed{hint}")
    if options:
        build_orchestrator(stack.orchestrator, options, place)


def _names_class(table: Mapping[str, Any]) -> bool:
    return any(":" in str(table.get(key, "")) for key in ("flavor", "orchestrator", "capture"))


def _section(text: str, path: tuple[str, ...]) -> Mapping[str, Any]:
    table: Any = parsed(text)
    for key in path:
        table = table.get(key, {}) if isinstance(table, Mapping) else {}
    return table if isinstance(table, Mapping) else {}


def _renamed_where_named(
    text: str, path: tuple[str, ...], section: str, name: str, new_name: str
) -> str:
    """Follow a new name in what refers to the old one."""
    root = _section(text, path)
    if section == "stacks":
        is_named = root.get("active_stack") == name
        return set_values(text, path, {"active_stack": new_name}) if is_named else text
    for stack, table in root.get("stacks", {}).items():
        names = table.get("experiment_trackers", [])
        if name in names:
            renamed = [new_name if other == name else other for other in names]
            values = {"experiment_trackers": renamed}
            text = set_values(text, (*path, "stacks", stack), values)
    return text


def _listed(kind: str, names: list[str]) -> str:
    return f"{kind} {listed(names)}" if len(names) == 1 else f"{kind}s {listed(names)}"
