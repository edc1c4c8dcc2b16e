"""How does a program register experiment trackers and stacks, and look at them?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trackyard.project.configuration import Project
from trackyard.project.stacks import Stack
from trackyard.project.trackers import Trackers
from trackyard.system.showing import ShownList

if TYPE_CHECKING:
    from trackyard.registry.components import (
        FlavorDescription,
        FlavorView,
        StackView,
        TrackerView,
    )
    from trackyard.registry.origins import ConfigValue
    from trackyard.registry.probing import StageView, TrackerCheck
    from trackyard.registry.registering import Registry, Section

_TRACKERS: Section = "experiment_trackers"
_STACKS: Section = "stacks"


class Configuring:
    """The part of a client that configures its project."""

    _registry: Registry

    # Configuration

    def show_config(self, stack: str | None = None) -> list[ConfigValue]:
        """List the values of the configuration that count, and where each comes from.

        Args:
            stack: The stack that counts as the active one.

        Raises:
            ConfigError: The configuration is wrong, or there is no such stack.
        """
        from trackyard.registry.origins import config_values

        return ShownList(config_values(self._project, stack))

    # Flavors

    def list_flavors(self, *, load: bool = False) -> list[FlavorView]:
        """List the flavors that are installed, and known ones that are not.

        Args:
            load: Import each one to see whether it is broken; without it none is imported.
        """
        from trackyard.registry.components import list_flavors

        return ShownList(list_flavors(load=load))

    def get_flavor(self, name: str) -> FlavorDescription:
        """Import a flavor, by its name or dotted path, and describe it with its fields.

        Raises:
            PluginError: It is not installed, blocked or broken.
        """
        from trackyard.registry.components import describe_flavor

        return describe_flavor(name)

    # Experiment trackers

    def list_experiment_trackers(
        self, labels: Mapping[str, str] | None = None
    ) -> list[TrackerView]:
        """List the configured experiment trackers, those with all of some labels."""
        from trackyard.registry.components import list_trackers

        return ShownList(list_trackers(self._project, labels))

    def get_experiment_tracker(self, name: str) -> TrackerView:
        """Give an experiment tracker.

        Raises:
            ConfigError: There is none of that name.
        """
        from trackyard.registry.components import find_tracker

        return find_tracker(self._project, name)

    def register_experiment_tracker(self, name: str, flavor: str, **fields: Any) -> TrackerView:
        """Add an experiment tracker to the project's configuration.

        Args:
            name: Its name.
            flavor: Name of its flavor, or `module:Class`.
            fields: The flavor's fields and core's options; secrets as references.

        Raises:
            ConfigError: A field is wrong, or there is a tracker of that name.
        """
        self._registry.register(_TRACKERS, name, {"flavor": flavor, **fields})
        return self.get_experiment_tracker(name)

    def update_experiment_tracker(self, name: str, **fields: Any) -> TrackerView:
        """Set fields of an experiment tracker; tables and lists are replaced.

        Args:
            name: Its name.
            fields: The flavor's fields and core's options; secrets as references.

        Raises:
            ConfigError: A field is wrong, or there is no tracker of that name.
        """
        self._registry.update(_TRACKERS, name, fields)
        return self.get_experiment_tracker(name)

    def remove_experiment_tracker_attributes(self, name: str, *fields: str) -> TrackerView:
        """Take fields out of an experiment tracker's configuration.

        Args:
            name: Its name.
            fields: Names of what to take out.

        Raises:
            ConfigError: One is not set or is needed, or there is no tracker of that name.
        """
        self._registry.remove_attributes(_TRACKERS, name, fields)
        return self.get_experiment_tracker(name)

    def rename_experiment_tracker(self, name: str, new_name: str) -> TrackerView:
        """Give an experiment tracker another name, in its stacks, too.

        Args:
            name: Its name.
            new_name: Its name from now on.

        Raises:
            ConfigError: There is no tracker of that name, or one of the new name.
        """
        self._registry.rename(_TRACKERS, name, new_name)
        return self.get_experiment_tracker(new_name)

    def copy_experiment_tracker(self, name: str, new_name: str) -> TrackerView:
        """Add an experiment tracker that is configured as another one.

        Args:
            name: The name of the one that there is.
            new_name: The copy's name.

        Raises:
            ConfigError: There is no tracker of that name, or one of the new name.
        """
        self._registry.copy(_TRACKERS, name, new_name)
        return self.get_experiment_tracker(new_name)

    def delete_experiment_tracker(self, name: str) -> None:
        """Take an experiment tracker out of the configuration; its runs stay where they are.

        Raises:
            ConfigError: There is no tracker of that name, or a stack names it.
        """
        self._registry.delete(_TRACKERS, name)

    def check_experiment_tracker(
        self,
        name: str,
        *,
        patience: float = 15.0,
        progress: Callable[[StageView], None] | None = None,
    ) -> TrackerCheck:
        """Start, log to, end and, where the backend can, delete a run: does the tracker work?

        Args:
            name: Its name.
            patience: Seconds that it may take in all.
            progress: Called after each thing that was tried.

        Raises:
            ConfigError: There is no tracker of that name.
        """
        from trackyard.registry.probing import check_tracker

        return check_tracker(self._project, name, patience=patience, progress=progress)

    # Stacks

    @property
    def active_stack(self) -> Stack:
        """The active stack."""
        return Trackers(self._project).stack

    def list_stacks(self, labels: Mapping[str, str] | None = None) -> list[StackView]:
        """List the stacks, those with all of some labels."""
        from trackyard.registry.components import list_stacks

        return ShownList(list_stacks(self._project, labels))

    def get_stack(self, name: str | None = None) -> StackView:
        """Give a stack, the active one by default.

        Raises:
            ConfigError: There is none of that name.
        """
        from trackyard.registry.components import find_stack

        return find_stack(self._project, name or self.active_stack.name)

    def register_stack(
        self, name: str, experiment_trackers: Iterable[str] = (), **values: Any
    ) -> StackView:
        """Add a stack; the first one becomes active.

        Args:
            name: Its name.
            experiment_trackers: Names of its experiment trackers, in order.
            values: `capture`, `orchestrator`, `artifact_store` and `labels`.

        Raises:
            ConfigError: A value is wrong, or there is a stack of that name.
        """
        table = {"experiment_trackers": list(experiment_trackers), **values}
        self._registry.register(_STACKS, name, table)
        return self.get_stack(name)

    def update_stack(self, name: str, **values: Any) -> StackView:
        """Set values of a stack; lists and tables are replaced.

        Args:
            name: Its name.
            values: `experiment_trackers`, `capture`, `orchestrator`, `artifact_store` and `labels`.

        Raises:
            ConfigError: A value is wrong, or there is no stack of that name.
        """
        self._registry.update(_STACKS, name, values)
        return self.get_stack(name)

    def remove_stack_attributes(self, name: str, *keys: str) -> StackView:
        """Take keys out of a stack's configuration.

        Args:
            name: Its name.
            keys: Names of what to take out.

        Raises:
            ConfigError: One is not set, or there is no stack of that name.
        """
        self._registry.remove_attributes(_STACKS, name, keys)
        return self.get_stack(name)

    def rename_stack(self, name: str, new_name: str) -> StackView:
        """Give a stack another name; the active one stays active.

        Args:
            name: Its name.
            new_name: Its name from now on.

        Raises:
            ConfigError: There is no stack of that name, or one of the new name.
        """
        self._registry.rename(_STACKS, name, new_name)
        return self.get_stack(new_name)

    def copy_stack(self, name: str, new_name: str) -> StackView:
        """Add a stack that is configured as another one.

        Args:
            name: The name of the one that there is.
            new_name: The copy's name.

        Raises:
            ConfigError: There is no stack of that name, or one of the new name.
        """
        self._registry.copy(_STACKS, name, new_name)
        return self.get_stack(new_name)

    def delete_stack(self, name: str) -> None:
        """Take a stack out of the configuration; the active one only if it is the last.

        Raises:
            ConfigError: There is no stack of that name, or it is active.
        """
        self._registry.delete(_STACKS, name)

    def set_active_stack(self, name: str) -> StackView:
        """Make a stack the active one.

        Raises:
            ConfigError: There is none of that name.
        """
        self._registry.set_active_stack(name)
        return self.get_stack(name)

    def export_stack(self, name: str | None = None) -> str:
        """Give a stack, the active one by default, and its trackers as TOML; secrets as references.

        Raises:
            ConfigError: There is none of that name.
        """
        return self._registry.export_stack(name or self.active_stack.name)

    def import_stack(self, toml: str, name: str | None = None) -> StackView:
        """Register what `export_stack` gave; a tracker that is there and says the same is kept.

        Args:
            toml: The text.
            name: Another name for the stack.

        Raises:
            ConfigError: A name is taken, or a value is wrong.
        """
        return self.get_stack(self._registry.import_stack(toml, name))

    @property
    def _project(self) -> Project:  # read anew after each change
        return self._registry.project
