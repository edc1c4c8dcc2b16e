"""Which experiment trackers and stacks does a project configure?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from trackyard.config import Project, structure
from trackyard.errors import ConfigError
from trackyard.suggestions import did_you_mean, listed

_SECTIONS = ("active_stack", "experiment_trackers", "stacks")


def _positive(_: Any, __: Any, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"must be 0 or more seconds, not {value!r}")


@attrs.frozen(kw_only=True)
class TrackerOptions:
    """What every tracker takes besides its flavor's own fields; these belong to core.

    Attributes:
        flavor: Name of the flavor, or a dotted path to a flavor class.
        required: A tracker that cannot be started or flushed fails the step; never by default.
        isolation: Where its hooks run: `thread`, `process`, or `auto` by the flavor's limits.
        start_timeout, flush_timeout: Seconds that a pipeline run waits at most for its starts
            and for its deliveries on this tracker.
        rank: `zero` tracks rank 0 of a distributed step alone, `all` tracks every rank.
    """

    flavor: str
    required: bool = False
    isolation: Literal["auto", "thread", "process"] = "auto"
    start_timeout: float = attrs.field(default=10.0, validator=_positive)
    flush_timeout: float = attrs.field(default=10.0, validator=_positive)
    rank: Literal["zero", "all"] = "zero"


@attrs.frozen(kw_only=True)
class ExperimentTracker:
    """A configured experiment tracker: its name, core's options, the flavor's fields as written.

    Attributes:
        place: File and key path, for messages.
    """

    name: str
    options: TrackerOptions
    fields: Mapping[str, Any]
    place: str


@attrs.frozen(kw_only=True)
class Stack:
    """A named choice of experiment trackers, orchestrator and artifact store."""

    name: str = "default"
    experiment_trackers: tuple[str, ...] = ()
    orchestrator: str = "local"
    artifact_store: str | None = None


@attrs.frozen
class _StackTable:
    experiment_trackers: list[str] = attrs.field(factory=list)
    orchestrator: str = "local"
    artifact_store: str | None = None


def load_trackers(project: Project) -> dict[str, ExperimentTracker]:
    """Read every `[experiment_trackers.NAME]` of a project.

    Raises:
        ConfigError: One of core's own options is wrong.
    """
    _check_sections(project)
    tables = _tables(project, "experiment_trackers")
    return {name: _read_tracker(project, name, table) for name, table in tables.items()}


def load_stacks(project: Project) -> dict[str, Stack]:
    """Read every `[stacks.NAME]` of a project.

    Raises:
        ConfigError: A stack has an unknown key or names a tracker that is not configured.
    """
    _check_sections(project)
    trackers = _tables(project, "experiment_trackers")
    stacks = {}
    for name, table in _tables(project, "stacks").items():
        place = project.place("stacks", name)
        read = structure(table, _StackTable, place)
        for tracker in read.experiment_trackers:
            if tracker not in trackers:
                raise ConfigError(
                    f"{place}.experiment_trackers: no experiment tracker {tracker!r} is configured"
                    f"{did_you_mean(tracker, trackers) or f'; configured are {listed(trackers)}'}"
                )
        stacks[name] = Stack(
            name=name,
            experiment_trackers=tuple(read.experiment_trackers),
            orchestrator=read.orchestrator,
            artifact_store=read.artifact_store,
        )
    return stacks


def active_stack(project: Project) -> Stack:
    """Give the stack that `active_stack` names; without stacks, one with every tracker."""
    stacks = load_stacks(project)
    name = project.table.get("active_stack", "default")
    if not isinstance(name, str):
        raise ConfigError(f"{project.place('active_stack')}: must be a text, not {name!r}")
    if name in stacks:
        return stacks[name]
    if "active_stack" in project.table or stacks:
        hint = did_you_mean(name, stacks) or f"; configured are {listed(stacks)}"
        raise ConfigError(f"{project.place('active_stack')}: no stack {name!r} is configured{hint}")
    return Stack(experiment_trackers=tuple(_tables(project, "experiment_trackers")))


def artifact_store_url(project: Project, stack: Stack) -> str:
    """Give the URL of a stack's artifact store; paths are relative to the project's folder."""
    if stack.artifact_store is None:
        return str(project.home / "artifacts")
    if "://" in stack.artifact_store:
        return stack.artifact_store
    return str(project.root / stack.artifact_store)


def split_options(table: Mapping[str, Any], place: str) -> tuple[TrackerOptions, dict[str, Any]]:
    """Part a tracker's table into core's own options and the flavor's fields.

    Raises:
        ConfigError: One of core's options is wrong.
    """
    own = {field.name for field in attrs.fields(TrackerOptions)}
    options = {key: value for key, value in table.items() if key in own}
    fields = {key: value for key, value in table.items() if key not in own}
    return structure(options, TrackerOptions, place), fields


def _check_sections(project: Project) -> None:
    for key in project.table:
        if key not in _SECTIONS:
            raise ConfigError(
                f"{project.place(key)}: unknown key"
                f"{did_you_mean(key, _SECTIONS) or f'; known are {listed(_SECTIONS)}'}"
            )


def _tables(project: Project, section: str) -> Mapping[str, Mapping[str, Any]]:
    tables = project.table.get(section, {})
    if not isinstance(tables, Mapping):
        raise ConfigError(f"{project.place(section)}: must be a table, not {tables!r}")
    for name, table in tables.items():
        if not name:
            raise ConfigError(f"{project.place(section)}: a name must not be empty")
        if not isinstance(table, Mapping):
            raise ConfigError(f"{project.place(section, name)}: must be a table, not {table!r}")
    return tables


def _read_tracker(project: Project, name: str, table: Mapping[str, Any]) -> ExperimentTracker:
    place = project.place("experiment_trackers", name)
    options, fields = split_options(table, place)
    return ExperimentTracker(name=name, options=options, fields=fields, place=place)
