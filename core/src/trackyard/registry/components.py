"""What does one see of flavors, experiment trackers and stacks?

These are what `Client` returns and what the command line writes as JSON: keys may be added, never
renamed or removed, until the next major version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

import attrs

from trackyard.contract.errors import ConfigError, PluginError
from trackyard.contract.flavors import notice_of
from trackyard.hooks.discovery import (
    FLAVORS,
    PluginInfo,
    find_plugins,
    load_flavor,
    load_in_time,
    why_clashing,
)
from trackyard.hooks.known import KnownFlavor, known_flavors
from trackyard.project.configuration import Project
from trackyard.project.fields import fields_of
from trackyard.project.stacks import ExperimentTracker, Stack, TrackerOptions, load_stacks
from trackyard.project.trackers import Trackers
from trackyard.registry.limits import limits_in_words
from trackyard.system.distributions import requirements_of, version_of
from trackyard.system.showing import Shown, says
from trackyard.system.suggestions import did_you_mean, listed

_View = TypeVar("_View", "TrackerView", "StackView")

# `ready` is said of what was imported, `installed` of what was not.
FlavorStatus = Literal[
    "ready", "installed", "SDK missing", "blocked", "broken", "clash", "not installed"
]


@attrs.frozen(repr=False)
class FieldView(Shown):
    """A field that a flavor's trackers take."""

    name: str = attrs.field(metadata=says("Its key in the configuration"))
    type: str = attrs.field(metadata=says("What it takes, in words"))
    default: str = attrs.field(metadata=says("Its default, in words"))
    help: str = attrs.field(metadata=says("What it says"))
    is_required: bool = attrs.field(metadata=says("It has no default"))
    is_secret: bool = attrs.field(metadata=says("It takes a reference to a secret"))
    env: str = attrs.field(metadata=says("The variable of the SDK that says the same"))


@attrs.frozen(repr=False)
class FlavorView(Shown):
    """A flavor, installed or known."""

    name: str = attrs.field(metadata=says("What `--flavor` takes"))
    status: FlavorStatus = attrs.field(metadata=says("Whether it can be used"))
    distribution: str = attrs.field(metadata=says("The distribution that brings it"))
    version: str = attrs.field(metadata=says("The distribution's version, if installed"))
    sdk: str = attrs.field(metadata=says("The tracker's own distribution"))
    sdk_version: str = attrs.field(metadata=says("Its version, if installed"))
    summary: str = attrs.field(metadata=says("The distribution's summary"))
    problem: str = attrs.field(metadata=says("What is wrong, and what to type"))
    variables: tuple[str, ...] = attrs.field(
        metadata=says("Variables of its SDK that are set; of an installed one, if it was imported")
    )


@attrs.frozen(repr=False)
class FlavorDescription(FlavorView):
    """A flavor with what its class says: it was imported for this, its SDK was not."""

    description: str = attrs.field(metadata=says("The first paragraph about it"))
    notice: str = attrs.field(metadata=says("What one should know before using it"))
    fields: tuple[FieldView, ...] = attrs.field(metadata=says("What its trackers take"))
    options: tuple[FieldView, ...] = attrs.field(metadata=says("What every tracker takes"))
    limits: tuple[str, ...] = attrs.field(
        metadata=says("What is changed of what is logged, for what its backend cannot hold")
    )


@attrs.frozen(repr=False)
class TrackerView(Shown):
    """A configured experiment tracker; secrets are shown as references."""

    name: str = attrs.field(metadata=says("Its name"))
    flavor: str = attrs.field(metadata=says("Its flavor"))
    is_active: bool = attrs.field(metadata=says("It is in the active stack"))
    stacks: tuple[str, ...] = attrs.field(metadata=says("The stacks that name it"))
    labels: Mapping[str, str] = attrs.field(metadata=says("Its labels"))
    options: Mapping[str, Any] = attrs.field(metadata=says("What core takes, with defaults"))
    fields: Mapping[str, Any] = attrs.field(metadata=says("What its flavor takes, as written"))
    place: str = attrs.field(metadata=says("Where it is configured: file and key path"))


@attrs.frozen(repr=False)
class StackView(Shown):
    """A stack."""

    name: str = attrs.field(metadata=says("Its name"))
    is_active: bool = attrs.field(metadata=says("It is the active one"))
    experiment_trackers: tuple[str, ...] = attrs.field(metadata=says("Its experiment trackers"))
    capture: tuple[str, ...] = attrs.field(
        metadata=says("Flavors whose SDK's own calls reach them, or FLAVOR=FOLDER")
    )
    orchestrator: str = attrs.field(metadata=says("Its orchestrator"))
    artifact_store: str | None = attrs.field(metadata=says("Its artifact store, if it names one"))
    options: Mapping[str, Any] = attrs.field(metadata=says("What its orchestrator takes, as set"))
    labels: Mapping[str, str] = attrs.field(metadata=says("Its labels"))
    place: str = attrs.field(metadata=says("Where it is configured: file and key path"))


def list_flavors(*, load: bool = False) -> list[FlavorView]:
    """List the flavors that are installed, and known ones that are not.

    Args:
        load: Import each flavor to see whether it is broken; without it none is imported.
    """
    installed = [_flavor_view(info, load) for info in find_plugins(FLAVORS)]
    known = known_flavors()
    missing = sorted(known.keys() - {view.name for view in installed})
    return [*installed, *(_missing_flavor(known[name]) for name in missing)]


def describe_flavor(name: str) -> FlavorDescription:
    """Import a flavor, by its name or dotted path, and describe it.

    Raises:
        PluginError: It is not installed, blocked or broken.
    """
    flavor = load_flavor(name)
    found = [info for info in find_plugins(FLAVORS) if info.name == name]
    found.sort(key=lambda info: info.is_blocked)
    info = found[0] if found else PluginInfo(name, FLAVORS, name)
    view = _flavor_view(info, load=True)
    text = (flavor.__doc__ or "").strip().split("\n\n")[0]
    return FlavorDescription(
        **{field.name: getattr(view, field.name) for field in attrs.fields(FlavorView)},
        description=" ".join(text.split()),
        notice=notice_of(flavor),
        fields=field_views(flavor),
        options=tuple(view for view in field_views(TrackerOptions) if view.name != "flavor"),
        limits=limits_in_words(flavor),
    )


def field_views(cls: type) -> tuple[FieldView, ...]:
    """Describe the fields of a class of configuration."""
    names = [field.name for field in attrs.fields(FieldView)]
    return tuple(
        FieldView(**{name: getattr(field, name) for name in names}) for field in fields_of(cls)
    )


def list_trackers(project: Project, label: Mapping[str, str] | None = None) -> list[TrackerView]:
    """List the configured experiment trackers, those with all of some labels.

    Args:
        project: The project.
        label: Labels that each must have; all trackers by default.
    """
    trackers = Trackers(project)
    active, stacks = trackers.stack, load_stacks(project).values()
    return [
        _tracker_view(tracker, active, [s.name for s in stacks if name in s.experiment_trackers])
        for name, tracker in trackers.configured.items()
        if (label or {}).items() <= tracker.options.labels.items()
    ]


def list_stacks(project: Project, label: Mapping[str, str] | None = None) -> list[StackView]:
    """List the stacks, those with all of some labels; without any there is the default one.

    Args:
        project: The project.
        label: Labels that each must have; all stacks by default.
    """
    active = Trackers(project).stack
    stacks = load_stacks(project) or {active.name: active}
    return [
        _stack_view(stack, is_active=stack.name == active.name)
        for stack in stacks.values()
        if (label or {}).items() <= stack.labels.items()
    ]


def find_tracker(project: Project, name: str) -> TrackerView:
    """Give one experiment tracker.

    Args:
        project: The project.
        name: The tracker's name.

    Raises:
        ConfigError: There is none of that name.
    """
    return _named(list_trackers(project), name, "experiment tracker")


def find_stack(project: Project, name: str) -> StackView:
    """Give one stack.

    Args:
        project: The project.
        name: The stack's name.

    Raises:
        ConfigError: There is none of that name.
    """
    return _named(list_stacks(project), name, "stack")


def _named(views: list[_View], name: str, kind: str) -> _View:
    by_name = {view.name: view for view in views}
    if name not in by_name:
        hint = did_you_mean(name, by_name) or f"; configured are {listed(by_name)}"
        raise ConfigError(f"no {kind} {name!r} is configured{hint}")
    return by_name[name]


def _tracker_view(tracker: ExperimentTracker, active: Stack, stacks: list[str]) -> TrackerView:
    options = attrs.asdict(tracker.options)
    return TrackerView(
        name=tracker.name,
        flavor=options.pop("flavor"),
        is_active=tracker.name in active.experiment_trackers,
        stacks=tuple(stacks),
        labels=options.pop("labels"),
        options=options,
        fields=dict(tracker.fields),
        place=tracker.place,
    )


def _stack_view(stack: Stack, *, is_active: bool) -> StackView:
    names = [field.name for field in attrs.fields(StackView) if field.name != "is_active"]
    return StackView(**{name: getattr(stack, name) for name in names}, is_active=is_active)


def _flavor_view(info: PluginInfo, load: bool) -> FlavorView:
    sdk, sdk_version = _sdk_of(info)
    status: FlavorStatus = "ready" if load else "installed"
    problem = ""
    if info.is_blocked:
        status, problem = "blocked", "take it out of TRACKYARD_DISABLE_PLUGINS to use it"
    elif sdk and not sdk_version:
        status, problem = "SDK missing", f"type: pip install {sdk}"
    variables: tuple[str, ...] = ()
    if clash := why_clashing(info):
        status, problem = "clash", clash
    elif load and not info.is_blocked:
        try:
            fields = fields_of(load_in_time(info))
            variables = _set_variables(field.env for field in fields)
        except PluginError as error:
            status, problem = "broken", str(error)
    return FlavorView(
        name=info.name,
        status=status,
        distribution=info.distribution,
        version=info.version,
        sdk=sdk,
        sdk_version=sdk_version,
        summary=info.summary,
        problem=problem,
        variables=variables,
    )


def _missing_flavor(known: KnownFlavor) -> FlavorView:
    return FlavorView(
        name=known.name,
        status="not installed",
        distribution=known.distribution,
        version="",
        sdk="",
        sdk_version="",
        summary="",
        problem=f"type: pip install {known.distribution}",
        variables=_set_variables(known.variables),
    )


def _set_variables(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name and os.environ.get(name))


def _sdk_of(info: PluginInfo) -> tuple[str, str]:
    """Give the distribution of a flavor's SDK and its version, from metadata alone.

    Of what the flavor's distribution requires it is what bears the flavor's name, or else the
    first that is not for Trackyard itself.
    """
    requires = requirements_of(info.distribution) if info.distribution else ()
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires if ";" not in line]
    names = [name for name in names if name.lower() not in ("attrs", "trackyard")]
    names.sort(key=lambda name: (name.lower() != info.name, not name.lower().startswith(info.name)))
    return (names[0], version_of(names[0])) if names else ("", "")
