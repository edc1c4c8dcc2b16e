"""How does a program do what the command line does: look at runs, register trackers and stacks?

What only some calls need is imported by them: `from trackyard import Client` stands in scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackyard.client_runs import RunsClient
from trackyard.contract.errors import ArtifactNotFoundError
from trackyard.project.configuration import Project, working_directory
from trackyard.project.stacks import Stack
from trackyard.project.trackers import Trackers
from trackyard.system.showing import ShownList

if TYPE_CHECKING:
    from trackyard.outputs.artifact_store import ArtifactStore
    from trackyard.registry.components import (
        FlavorDescription,
        FlavorView,
        StackView,
        TrackerView,
    )
    from trackyard.registry.origins import ConfigValue
    from trackyard.registry.probing import StageView, TrackerCheck
    from trackyard.registry.registering import Section
    from trackyard.runs.pipeline_views import ArtifactVersion, PipelineRun
    from trackyard.store import PipelineRunRow

_TRACKERS: Section = "experiment_trackers"
_STACKS: Section = "stacks"


class Client(RunsClient):
    """A project: its runs, experiment trackers and stacks.

    Args:
        path: A folder of the project; the working directory by default.

    Raises:
        ConfigError: The project's configuration is wrong.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        from trackyard.recovery.finishing import recover_in_background
        from trackyard.registry.registering import Registry

        self._start = Path(path or working_directory()).absolute()
        self._registry = Registry(self._start)
        self._home = self._project.home
        _ = self.active_stack  # a wrong configuration is said at once
        recover_in_background(self._project)

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

        Raises:
            ConfigError: A field is wrong, or there is no tracker of that name.
        """
        self._registry.update(_TRACKERS, name, fields)
        return self.get_experiment_tracker(name)

    def remove_experiment_tracker_attributes(self, name: str, *fields: str) -> TrackerView:
        """Take fields out of an experiment tracker's configuration.

        Raises:
            ConfigError: One is not set or is needed, or there is no tracker of that name.
        """
        self._registry.remove_attributes(_TRACKERS, name, fields)
        return self.get_experiment_tracker(name)

    def rename_experiment_tracker(self, name: str, new_name: str) -> TrackerView:
        """Give an experiment tracker another name, in its stacks, too.

        Raises:
            ConfigError: There is no tracker of that name, or one of the new name.
        """
        self._registry.rename(_TRACKERS, name, new_name)
        return self.get_experiment_tracker(new_name)

    def copy_experiment_tracker(self, name: str, new_name: str) -> TrackerView:
        """Add an experiment tracker that is configured as another one.

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
            values: `orchestrator`, `artifact_store` and `labels`.

        Raises:
            ConfigError: A value is wrong, or there is a stack of that name.
        """
        table = {"experiment_trackers": list(experiment_trackers), **values}
        self._registry.register(_STACKS, name, table)
        return self.get_stack(name)

    def update_stack(self, name: str, **values: Any) -> StackView:
        """Set values of a stack; lists and tables are replaced.

        Raises:
            ConfigError: A value is wrong, or there is no stack of that name.
        """
        self._registry.update(_STACKS, name, values)
        return self.get_stack(name)

    def remove_stack_attributes(self, name: str, *keys: str) -> StackView:
        """Take keys out of a stack's configuration.

        Raises:
            ConfigError: One is not set, or there is no stack of that name.
        """
        self._registry.remove_attributes(_STACKS, name, keys)
        return self.get_stack(name)

    def rename_stack(self, name: str, new_name: str) -> StackView:
        """Give a stack another name; the active one stays active.

        Raises:
            ConfigError: There is no stack of that name, or one of the new name.
        """
        self._registry.rename(_STACKS, name, new_name)
        return self.get_stack(new_name)

    def copy_stack(self, name: str, new_name: str) -> StackView:
        """Add a stack that is configured as another one.

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

    # Outputs

    def get_artifact(self, name: str, version: int | None = None) -> ArtifactVersion:
        """Find a version of a step's output, the latest by default.

        Args:
            name: `<pipeline>.<step>.<output>`, or its last parts where they fit one name alone.
            version: From 1.

        Raises:
            ArtifactNotFoundError: There is no such output or version, or several names fit.
        """
        from trackyard.runs.pipeline_views import ArtifactVersion

        _check_artifact_name(name)
        _check_version(version)
        row = self._store.find_artifact(name, version)
        return ArtifactVersion(row, self._store, self._artifact_store, self._home / "runs")

    def list_artifacts(self, name: str | None = None) -> list[ArtifactVersion]:
        """List all versions of an output, the latest first; or the latest version of each."""
        from trackyard.runs.pipeline_views import ArtifactVersion

        if name is not None:
            _check_artifact_name(name)
        rows = self._store.list_artifacts(name)
        runs = self._home / "runs"
        return [ArtifactVersion(row, self._store, self._artifact_store, runs) for row in rows]

    # Runs

    def get_pipeline_run(self, name_or_id: str) -> PipelineRun:
        """Find a pipeline run by its name or id, or by a prefix that fits it alone.

        Raises:
            RunNotFoundError: None fits, or several do.
        """
        row = self._store.find_pipeline_run(name_or_id)
        return self._view(row)

    def list_pipeline_runs(self, pipeline: str | None = None, most: int = 100) -> list[PipelineRun]:
        """List pipeline runs, the latest first.

        Args:
            pipeline: Only runs of the pipeline of this name.
            most: How many at most.
        """
        rows = self._store.list_pipeline_runs(pipeline, most)
        return [self._view(row) for row in rows]

    def _view(self, row: PipelineRunRow) -> PipelineRun:
        from trackyard.runs.pipeline_views import PipelineRun

        return PipelineRun(row, self._store, self._artifact_store, self._home / "runs")

    @property
    def _project(self) -> Project:  # type: ignore[override]  # read anew after each change
        return self._registry.project

    @cached_property
    def _artifact_store(self) -> ArtifactStore:
        from trackyard.runs.pipeline_views import open_artifact_store

        return open_artifact_store(self._project, self.active_stack)

    def __repr__(self) -> str:
        return f"<Client {self._home}>"


def _check_artifact_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise ArtifactNotFoundError(
            f"an artifact's name is a text such as 'training.train.output', not {name!r}"
        )


def _check_version(version: Any) -> None:
    if version is not None and (type(version) is not int or version < 1):
        raise ArtifactNotFoundError(
            f"an artifact's version is a whole number from 1, or None for the latest, "
            f"not {version!r}"
        )
