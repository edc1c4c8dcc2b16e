"""Which experiment trackers and stacks does a project configure?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.project.configuration import Project
from trackyard.project.fields import fields_of
from trackyard.project.overrides import (
    active_stack_override,
    find_overrides,
    overriding_values,
)
from trackyard.project.structuring import structure
from trackyard.system.showing import Shown, says
from trackyard.system.suggestions import did_you_mean, listed

DEFAULT_TRACKER = "local"
_SECTIONS = (
    *("active_stack", "console", "context", "experiment_trackers", "journal", "params"),
    *("stacks", "store"),
)


def _positive(_: Any, __: Any, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"must be 0 or more seconds, not {value!r}")


def _some_time(_: Any, __: Any, value: float) -> None:
    if not value > 0:
        raise ValueError(f"must be more than 0 seconds, not {value!r}")


@attrs.frozen(kw_only=True)
class TrackerOptions:
    """What every tracker takes besides its flavor's own fields; these belong to core.

    Attributes:
        flavor: Name of the flavor, or a dotted path to a flavor class.
        required: A tracker that cannot be started or flushed fails the step; never by default.
        isolation: Where its hooks run: `thread`, `process`, or `auto` by the flavor's limits.
        start_timeout, flush_timeout: Seconds that a pipeline run waits at most for its starts
            and for its deliveries on this tracker.
        hook_timeout: Seconds that one call of a hook may take; one that takes twice as long is
            taken to hang. Batches with files get a second more for each megabyte.
        rank: `zero` tracks rank 0 of a distributed step alone, `all` tracks every rank.
        capture: What its SDK's own calls log reaches the journal and the run's other trackers.
        labels: What a team sorts its trackers by; backends do not get them.
        context, console: It gets where runs come from, and what they print. None: where its page
            is not public.
    """

    flavor: str = attrs.field(metadata=says("Name of the flavor, or module:Class"))
    required: bool = attrs.field(
        default=False, metadata=says("A failure of this tracker fails the step")
    )
    isolation: Literal["auto", "thread", "process"] = attrs.field(
        default="auto", metadata=says("Where its hooks run")
    )
    start_timeout: float = attrs.field(
        default=10.0,
        validator=_positive,
        metadata=says("Seconds to wait for starts at most"),
    )
    flush_timeout: float = attrs.field(
        default=10.0,
        validator=_positive,
        metadata=says("Seconds to wait for deliveries at most"),
    )
    hook_timeout: float = attrs.field(
        default=30.0, validator=_some_time, metadata=says("Seconds that one hook may take")
    )
    rank: Literal["zero", "all"] = attrs.field(
        default="zero", metadata=says("Which ranks of a distributed step are tracked")
    )
    capture: bool = attrs.field(
        default=True, metadata=says("Its SDK's own calls reach the run's other trackers, too")
    )
    labels: dict[str, str] = attrs.field(factory=dict, metadata=says("Labels, for lists"))
    context: bool | None = attrs.field(
        default=None,
        metadata=says("Gets where runs come from; by default unless its page is public"),
    )
    console: bool | None = attrs.field(
        default=None, metadata=says("Gets what runs print; by default unless its page is public")
    )


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


@attrs.frozen(kw_only=True, repr=False)
class Stack(Shown):
    """A named choice of experiment trackers, orchestrator and artifact store.

    Attributes:
        artifact_store_is_trusted: Pickles are loaded from it; by default, from a folder, those
            that this user has stored.
        capture: Flavors whose SDK's own calls are captured, though they track nothing.
        options: The orchestrator's own, as written.
    """

    name: str = "default"
    experiment_trackers: tuple[str, ...] = ()
    capture: tuple[str, ...] = ()
    orchestrator: str = "local"
    artifact_store: str | None = None
    artifact_store_is_trusted: bool | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    place: str = attrs.field(default="default configuration: stacks.default", eq=False, repr=False)

    @property
    def trusts_pickles(self) -> bool | None:
        """Pickles, which run code, are loaded from its artifact store; None: those of this user."""
        if self.artifact_store_is_trusted is None and "://" in (self.artifact_store or ""):
            return False
        return self.artifact_store_is_trusted


@attrs.frozen
class StackTable:
    """What `[stacks.NAME]` may say."""

    experiment_trackers: list[str] = attrs.field(
        factory=list,
        metadata=says("Names of experiment trackers; the first one's URL is a run's"),
    )
    orchestrator: str = attrs.field(default="local", metadata=says("Name of the orchestrator"))
    artifact_store: str | None = attrs.field(
        default=None, metadata=says("Folder or URL for outputs of steps")
    )
    artifact_store_is_trusted: bool | None = attrs.field(
        default=None,
        metadata=says("Load pickles from it, which run code; by default your own in a folder"),
    )
    capture: list[str] = attrs.field(
        factory=list,
        metadata=says("Flavors whose SDK's own calls reach the trackers, or FLAVOR=FOLDER"),
    )
    labels: dict[str, str] = attrs.field(factory=dict, metadata=says("Labels, for lists"))


def stack_keys() -> tuple[str, ...]:
    """Name what every stack takes, whatever its orchestrator."""
    return tuple(field.name for field in attrs.fields(StackTable))


def split_stack_table(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell a stack's own keys from the options of its orchestrator, which checks them itself.

    The orchestrator `local` has none.
    """
    known = stack_keys()
    if table.get("orchestrator", "local") == "local":
        return dict(table), {}
    own = {key: value for key, value in table.items() if key in known}
    return own, {key: value for key, value in table.items() if key not in known}


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
    tables = _tables(project, "stacks")
    overrides = find_overrides("STACK", tables)
    fields = fields_of(StackTable) if overrides else ()
    stacks = {}
    for name, table in tables.items():
        place = project.place("stacks", name)
        values = overriding_values(overrides.get(name, ()), fields)
        own = {key: value for key, (value, _) in values.items()}
        keys, options = split_stack_table({**table, **own})
        read = structure(keys, StackTable, place)
        for tracker in read.experiment_trackers:
            if tracker not in (trackers or (DEFAULT_TRACKER,)):
                raise ConfigError(
                    f"{place}.experiment_trackers: no experiment tracker {tracker!r} is configured"
                    f"{did_you_mean(tracker, trackers) or f'; configured are {listed(trackers)}'}"
                )
        values = attrs.asdict(read, recurse=False)
        for key in ("experiment_trackers", "capture"):
            values[key] = tuple(dict.fromkeys(getattr(read, key)))
        stacks[name] = Stack(name=name, place=place, options=options, **values)
    return stacks


def active_stack(project: Project) -> Stack:
    """Give the stack that `active_stack` names.

    Without stacks it is one with every tracker that the project configures, or else the user.
    """
    stacks = load_stacks(project)
    name, place = active_stack_name(project)
    if name in stacks:
        return stacks[name]
    if name is not None or stacks:
        hint = did_you_mean(name or "default", stacks) or f"; configured are {listed(stacks)}"
        unknown = f"no stack {name or 'default'!r} is configured"
        raise ConfigError(f"{place}: {unknown}{hint}")
    trackers = _tables(project, "experiment_trackers")
    own = project.own_layer.table.get("experiment_trackers") if project.own_layer else None
    return Stack(experiment_trackers=tuple(own or trackers))


def active_stack_name(project: Project) -> tuple[str | None, str]:
    """Give the active stack's name, `default` where stacks are configured, and where that stands.

    Raises:
        ConfigError: It is no text.
    """
    override = active_stack_override()
    if override is not None:
        return override, "TRACKYARD_ACTIVE_STACK"
    name, place = project.table.get("active_stack"), project.place("active_stack")
    if name is None and project.table.get("stacks"):
        name = "default"
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"{place}: must be a text, not {name!r}")
    return name, place


def artifact_store_url(project: Project, stack: Stack) -> str:
    """Give the URL of a stack's artifact store; paths are relative to the project's folder.

    Args:
        project: The project, from which a relative path counts.
        stack: The stack.

    Raises:
        ConfigError: It is neither a folder nor a whole URL.
    """
    store = stack.artifact_store
    if store is None:
        return str(project.home / "artifacts")
    if store == "memory://":
        return "memory://artifacts"
    is_url = "://" in store
    protocol, colon, rest = store.partition(":")
    is_like_one = bool(colon) and len(protocol) > 1 and protocol.isalnum() and rest[:1] != ":"
    is_whole = is_url and bool(store.partition("://")[2].strip("/"))
    if not store.strip() or ((is_url or is_like_one) and not is_whole):
        raise ConfigError(
            f"{stack.place}.artifact_store: {store!r} is no folder and no whole URL; "
            "write such as .trackyard/artifacts or s3://bucket/outputs"
        )
    return store if is_url else str(project.root / Path(store).expanduser())


def split_options(table: Mapping[str, Any], place: str) -> tuple[TrackerOptions, dict[str, Any]]:
    """Part a tracker's table into core's own options and the flavor's fields.

    Args:
        table: The table, as written.
        place: File and key path, for messages.

    Raises:
        ConfigError: One of core's options is wrong.
    """
    own = [field.name for field in attrs.fields(TrackerOptions)]
    if "flavor" not in table:
        from difflib import get_close_matches

        nearest = get_close_matches("flavor", [key for key in table if key not in own], n=1)
        typo = f"; {nearest[0]!r} is written instead" if nearest else ""
        raise ConfigError(f"{place}.flavor: required, but not set{typo}")
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
