"""Which trackers does a step use, and how is an instance of each made?"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import attrs

from trackyard.contract.errors import ConfigError, PluginError
from trackyard.contract.flavors import Secret, capabilities_of, is_secret, secrets_of
from trackyard.hooks.discovery import (
    FLAVORS,
    check_blocked_names,
    find_plugins,
    load_flavor,
    load_orchestrator,
)
from trackyard.project.configuration import Project, expanded, in_project
from trackyard.project.fields import fields_of
from trackyard.project.overrides import Override, find_overrides, overriding_values
from trackyard.project.stacks import (
    DEFAULT_TRACKER,
    ExperimentTracker,
    Stack,
    TrackerOptions,
    active_stack,
    load_trackers,
    split_options,
    stack_keys,
)
from trackyard.project.structuring import resolve_types, structure
from trackyard.redaction.redactor import Redactor
from trackyard.redaction.secret_shapes import without_secrets
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.contract.records import Capabilities

logger = logging.getLogger("trackyard")

Settings = Mapping[str, Mapping[str, Any]]
Selection = bool | str | Sequence[str] | None

# What a project without configuration uses, where it is installed.
DEFAULT_FLAVOR = "mlflow"
DEFAULT_DISTRIBUTION = f"trackyard-{DEFAULT_FLAVOR}"
_ISOLATIONS = ("auto", "process", "thread")
# Options that the flavor decides where nothing is written of them; 0.1 does not know them.
_UNASKED = ("context", "console")


@attrs.frozen
class Tracker:
    """A configured tracker with a step's settings laid over it, ready to make instances.

    Attributes:
        project: Where its defaults lead to.
        name: Its name in the stack.
        options: Core's options.
        flavor: The flavor class.
        fields: The flavor's fields, merged, still as written (secrets as references).
        table: Core's options and the flavor's fields together.
        place: File and key path, for messages.
        capabilities: The limits that an instance declares.
        redactor: Knows the secrets that the fields refer to.
        is_source: It tracks nothing: what its SDK's own calls log reaches the other trackers.
        files: Of a source the file or folder that is read in place of calls, or None.
    """

    project: Project
    name: str
    options: TrackerOptions
    flavor: type
    fields: Mapping[str, Any]
    table: Mapping[str, Any]
    place: str
    capabilities: Capabilities
    redactor: Redactor
    is_source: bool = False
    files: Path | None = None

    def new_instance(self) -> Any:
        """Make the instance that serves one run.

        Raises:
            ConfigError: A field is unknown, missing or of the wrong type.
        """
        with in_project(self.project):
            return structure(self.fields, self.flavor, self.place)


class Trackers:
    """The experiment trackers of a project, by name."""

    def __init__(self, project: Project) -> None:
        check_blocked_names()
        self._project = project
        self._flavors: dict[str, type] = {}
        self._prepared: dict[str, Tracker] = {}
        self._is_said = False

    @property
    def project(self) -> Project:
        """The project."""
        return self._project

    @cached_property
    def configured(self) -> dict[str, ExperimentTracker]:
        """All configured trackers; with no configuration one of the default flavor."""
        configured = load_trackers(self._project)
        return configured or self._default_trackers()

    @cached_property
    def stack(self) -> Stack:
        """The active stack; with no configuration it holds the default tracker."""
        stack = active_stack(self._project)
        if not stack.experiment_trackers and not self._project.table.get("stacks"):
            return attrs.evolve(stack, experiment_trackers=tuple(self.configured))
        return stack

    def select(self, selection: Selection, settings: Settings | None = None) -> list[Tracker]:
        """Choose trackers by `True` (the active stack's), a name or names, and check them.

        Args:
            selection: As in `@step(experiment_tracker=...)`; None and False choose none.
            settings: Fields to lay over the configuration, by tracker name or flavor name.

        Raises:
            ConfigError: A tracker or a key in `settings` is unknown, a field is wrong, or a
                secret cannot be read.
        """
        names = self._names(selection)
        self._check_settings({} if settings is None else settings)
        return [self._prepare(name, settings or {}) for name in names]

    def _names(self, selection: Selection) -> list[str]:
        if selection is True:
            if not self.stack.experiment_trackers:
                self._say_that_there_is_none()
            return list(self.stack.experiment_trackers)
        if not selection:
            return []
        names = [selection] if isinstance(selection, str) else selection
        if not isinstance(names, list | tuple | set | frozenset):
            raise ConfigError(
                f"experiment_tracker: must be a name, a list of names or True, not {selection!r}"
            )
        for name in names:
            if not isinstance(name, str):
                raise ConfigError(f"experiment_tracker: must be a name, not {name!r}")
            if name not in self.configured:
                raise ConfigError(self._unknown(name))
        return list(dict.fromkeys(names))

    def _say_that_there_is_none(self) -> None:
        if self._is_said:
            return
        self._is_said = True
        if self.configured:
            hint = f"name some of {listed(self.configured)} there"
        else:
            hint = f"type: pip install {DEFAULT_DISTRIBUTION}"
        logger.warning(
            "stack %r has no experiment tracker: what is logged stays in the journal; %s",
            self.stack.name,
            hint,
        )

    def _unknown(self, name: str) -> str:
        text = f"no experiment tracker {name!r} is configured"
        if not self.configured and name == DEFAULT_TRACKER:
            return f"{text}; type: pip install {DEFAULT_DISTRIBUTION}"
        hint = did_you_mean(name, self.configured)
        return text + (hint or f"; configured are {listed(self.configured)}")

    def _prepare(self, name: str, settings: Settings) -> Tracker:
        configured = self.configured[name]
        overlay = _merged(settings.get(configured.options.flavor, {}), settings.get(name, {}))
        if not overlay and name in self._prepared:
            return self._prepared[name]
        place = configured.place + (" with the step's settings" if overlay else "")
        below = {**attrs.asdict(configured.options), **configured.fields}
        table = _merged({**below, **self._overriding(name)}, overlay)
        tracker = self.build(name, table, place)
        if not overlay:
            self._prepared[name] = tracker
        return tracker

    def _overriding(self, name: str) -> dict[str, Any]:
        overrides = self._overrides.get(name)
        if not overrides:
            return {}
        configured = self.configured[name]
        flavor = self.flavor(configured.options.flavor, configured.place)
        fields = (*fields_of(TrackerOptions), *fields_of(flavor))
        return {key: value for key, (value, _) in overriding_values(overrides, fields).items()}

    @cached_property
    def _overrides(self) -> dict[str, list[Override]]:
        return find_overrides("TRACKER", self.configured)

    def build(self, name: str, table: Mapping[str, Any], place: str) -> Tracker:
        """Make a tracker from its options and fields.

        Args:
            name: Its name.
            table: Core's options and the flavor's fields together, as written.
            place: File and key path, for messages.

        Raises:
            ConfigError: The flavor is unknown, a field is wrong, or a secret cannot be read.
        """
        own = self._own_texts(name)
        revealed = {key: _revealed(value, own.get(key)) for key, value in table.items()}
        options, flavor, fields, instance = self._structured(name, revealed, place)
        check_isolation()
        capabilities = capabilities_of(instance)
        return Tracker(
            project=self._project,
            name=name,
            options=_for_its_page(options, capabilities),
            flavor=flavor,
            fields=fields,
            table={
                key: without_secrets(value) if own.get(key) == value else value
                for key, value in {**revealed, **fields}.items()
                if not (key in _UNASKED and value is None)
            },
            place=place,
            capabilities=capabilities,
            redactor=Redactor(_read_secrets(instance, place)),
        )

    def _own_texts(self, name: str) -> dict[str, str]:
        """Give the texts among a tracker's fields as they stand in the project's file."""
        own: Any = self._project.table
        for key in ("experiment_trackers", name):  # what is no table is told where it is asked for
            own = own.get(key) if isinstance(own, Mapping) else None
        found = own if isinstance(own, Mapping) else {}
        return {key: value for key, value in found.items() if isinstance(value, str)}

    def differing(self, tracker: Tracker, table: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields in which what a run says of a tracker differs from its configuration.

        Secrets and paths are left out: those of the configuration count, wherever that stands.

        Args:
            tracker: As it is configured.
            table: Core's options and the flavor's fields, as they stood at the run's start.
        """
        if table.get("flavor") != tracker.options.flavor:
            return {"flavor": table.get("flavor")}
        options = [field.name for field in attrs.fields(TrackerOptions)]
        fields = {key: value for key, value in table.items() if key not in options}
        fields = _with_absolute_paths(fields, tracker.flavor, self._folder(tracker.name))
        with in_project(self._project):
            here: Any = structure(tracker.fields, tracker.flavor, tracker.place)
            try:
                there: Any = structure(fields, tracker.flavor, tracker.place)
            except ConfigError:
                return {
                    key: value for key, value in fields.items() if value != tracker.fields.get(key)
                }
        compared = [
            field
            for field in attrs.fields(tracker.flavor)
            if field.init
            and not is_secret(field)
            and Path not in (field.type, *get_args(field.type))
        ]
        return {
            field.name: getattr(there, field.name)
            for field in compared
            if _shown(getattr(there, field.name)) != _shown(getattr(here, field.name))
        }

    def check(self, name: str, table: Mapping[str, Any], place: str) -> None:
        """Check a tracker's options and fields; secrets need not be there yet.

        Args:
            name: The tracker's name.
            table: Core's options and the flavor's fields together, as written.
            place: File and key path, for messages.

        Raises:
            ConfigError: The flavor is unknown, or a field is wrong.
        """
        self._structured(name, table, place)

    def _structured(
        self, name: str, table: Mapping[str, Any], place: str
    ) -> tuple[TrackerOptions, type, dict[str, Any], Any]:
        options, fields = split_options(table, place)
        flavor = self.flavor(options.flavor, place)
        fields = _with_absolute_paths(fields, flavor, self._folder(name))
        options_of_core = [field.name for field in attrs.fields(TrackerOptions)]
        with in_project(self._project):
            instance: Any = structure(fields, flavor, place, also_known=options_of_core)
        return options, flavor, fields, instance

    def flavor(self, reference: str, place: str) -> type:
        """Import a flavor by its name or dotted path.

        Args:
            reference: A flavor's name, or `module:Class`.
            place: File and key path, for messages.

        Raises:
            ConfigError: It is unknown, blocked or broken.
        """
        if reference not in self._flavors:
            try:
                self._flavors[reference] = load_flavor(reference, self._project.root)
            except PluginError as error:
                raise ConfigError(f"{place}.flavor: {error}") from error
        return self._flavors[reference]

    def orchestrator(self) -> Any:
        """Make the active stack's orchestrator.

        Raises:
            ConfigError: It is unknown, blocked or broken.
        """
        stack = self.stack
        root = self._project.root
        return build_orchestrator(stack.orchestrator, stack.options, stack.place, root)

    def _folder(self, name: str) -> Path:
        return self._project.folder("experiment_trackers", name)

    def _check_settings(self, settings: Settings) -> None:
        if not isinstance(settings, Mapping):
            raise ConfigError(f"settings: must be a dict, not {settings!r}")
        known = {*self.configured, *(t.options.flavor for t in self.configured.values())}
        for key, value in settings.items():
            if key not in known:
                hint = did_you_mean(str(key), known) or f"; known are {listed(known)}"
                raise ConfigError(f"settings: {key!r} is no experiment tracker or flavor{hint}")
            if not isinstance(value, Mapping):
                raise ConfigError(f"settings[{key!r}]: must be a dict, not {value!r}")

    def _default_trackers(self) -> dict[str, ExperimentTracker]:
        installed = {info.name for info in find_plugins(FLAVORS) if not info.is_blocked}
        if DEFAULT_FLAVOR not in installed:
            return {}
        place = self._project.place("experiment_trackers", DEFAULT_TRACKER)
        options = TrackerOptions(flavor=DEFAULT_FLAVOR)
        tracker = ExperimentTracker(name=DEFAULT_TRACKER, options=options, fields={}, place=place)
        return {DEFAULT_TRACKER: tracker}


def build_orchestrator(
    name: str, options: Mapping[str, Any], place: str, project: Path | None = None
) -> Any:
    """Make an orchestrator from the keys of a stack's table that are its own.

    Args:
        name: Its name.
        options: The keys of the stack's table that are its own.
        place: File and key path, for messages.
        project: Folder of the project that names it; the working directory by default.

    Raises:
        ConfigError: It is unknown, blocked or broken, or an option is wrong.
    """
    try:
        cls = load_orchestrator(name, project)
    except PluginError as error:
        raise ConfigError(f"{place}.orchestrator: {error}") from error
    return structure(options, cls, place, also_known=stack_keys()) if attrs.has(cls) else cls()


def check_isolation() -> None:
    """Check the variable that stands in for `isolation = "auto"`.

    Raises:
        ConfigError: It says something else than it may.
    """
    value = os.environ.get("TRACKYARD_ISOLATION", "")
    if value not in ("", *_ISOLATIONS):
        hint = did_you_mean(value, _ISOLATIONS)
        raise ConfigError(
            f"TRACKYARD_ISOLATION: must be one of {listed(_ISOLATIONS)}, not {value!r}{hint}"
        )


def _with_absolute_paths(fields: Mapping[str, Any], flavor: type, folder: Path) -> dict[str, Any]:
    """Let relative paths, and those of `file:` secrets, begin at the configuration's folder.

    A step may change the working directory, and another process has one of its own.
    """
    resolve_types(flavor)
    absolute = dict(fields)
    for field in attrs.fields(flavor):
        value = absolute.get(field.name, field.default)
        if is_secret(field) and isinstance(value, Secret | str):
            absolute[field.name] = _from_folder(value, folder)
        elif _is_path(field) and isinstance(value, str | Path):
            absolute[field.name] = str(folder / expanded(value))
    return absolute


def _is_path(field: Any) -> bool:
    return Path in (field.type, *get_args(field.type))


def _from_folder(secret: Secret | str, folder: Path) -> str:
    reference = secret.reference if isinstance(secret, Secret) else secret
    scheme, _, rest = reference.partition(":")
    return f"file:{folder / expanded(rest)}" if scheme == "file" and rest else reference


def _read_secrets(instance: Any, place: str) -> tuple[str, ...]:
    """Read the secrets that a tracker refers to, so that a missing one is known at once."""
    values = []
    for field, secret in secrets_of(instance).items():
        try:
            values.append(secret.reveal())
        except ConfigError as error:
            raise ConfigError(f"{place}.{field}: {error}") from error
    return tuple(values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay fields over others: tables and lists (tags above all) are joined, the rest replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = {**old, **value}
        elif isinstance(old, list) and isinstance(value, list):
            merged[key] = [*old, *(item for item in value if item not in old)]
        else:
            merged[key] = value
    return merged


def _for_its_page(options: TrackerOptions, capabilities: Capabilities) -> TrackerOptions:
    """Give what a tracker takes where its configuration does not say it."""
    is_public = capabilities.is_public
    unasked = {name: not is_public for name in _UNASKED if getattr(options, name) is None}
    return attrs.evolve(options, **unasked)  # type: ignore[arg-type]


def _shown(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


def _revealed(value: Any, own: str | None) -> Any:
    """Put a password back that was hidden in what is written of a run.

    It stands in the project's file, where its owner has put it, and need be nowhere else.
    """
    is_hidden = isinstance(value, str) and "***" in value
    return own if is_hidden and own is not None and without_secrets(own) == value else value
