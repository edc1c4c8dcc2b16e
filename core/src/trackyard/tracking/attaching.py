"""How does a child of a run's process log into the run?

The environment names the run. The child writes journal files of its own in the run's folder; the
trackers' workers, which belong to the run's process, read them as they read its own.
"""

from __future__ import annotations

import atexit
import logging
import os
from pathlib import Path

import attrs

from trackyard.contract.errors import (
    ConfigError,
    NoActiveRunError,
    RunEndedError,
    TrackyardError,
)
from trackyard.delivery.state import load_state
from trackyard.hooks.discovery import load_plugins
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.durability import load_journal_options
from trackyard.project.configuration import Project, find_project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.trusting import tracker_for
from trackyard.redaction.redactor import Redactor
from trackyard.system.environment import RUN_FOLDER, RUN_ID
from trackyard.system.ranks import child_role
from trackyard.tracking.capturing import Activated
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.params import load_param_options
from trackyard.tracking.parents import ParentRun
from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")


class AttachedRun(TrackedRun):
    """A run of another process, to which this one adds."""

    @property
    def as_parent(self) -> ParentRun:
        """What runs below this one have to know of it."""
        description = load_description(self.folder)
        trackers = (tracker.name for tracker in description.trackers) if description else ()
        return attrs.evolve(super().as_parent, trackers=frozenset(trackers))

    def carry(self, name: str, delivery: Activated, tracker: Tracker) -> None:
        """Have native calls land in a run that another process carries to a tracker.

        Args:
            name: The tracker's name.
            delivery: What is activated of it.
            tracker: As it is configured.
        """
        self.deliveries[name] = delivery  # type: ignore[assignment]  # as far as activating goes
        if tracker.options.capture:
            self._captured.add(name)

    @property
    def urls(self) -> dict[str, str]:
        """The addresses that its process has noted by now, by tracker name."""
        description = load_description(self.folder)
        states = {
            tracker.name: load_state(self.folder / tracker.folder)
            for tracker in (description.trackers if description else ())
        }
        return {name: state.url for name, state in states.items() if state.url}


def attach(run_id: str, folder_of_run: str | None = None) -> AttachedRun:
    """Open a run of another process, to add to it.

    Args:
        run_id: The run.
        folder_of_run: Its folder; by default as the environment names it.

    Raises:
        NoActiveRunError: There is no such run.
        RunEndedError: It has ended.
        ConfigError: Its project cannot be read.
    """
    folder = Path(folder_of_run or os.environ.get(RUN_FOLDER, ""))
    project = _project_with(folder)
    if folder.name != run_id:
        folder = project.home / "runs" / run_id
        if not folder.is_dir():
            raise NoActiveRunError(
                f"{RUN_ID}={run_id}: {folder} does not exist; "
                "run this as a child of the run's process, or in its project"
            )
    description = load_description(folder)
    if description is not None and _has_ended(description, folder):
        raise RunEndedError(f"{RUN_ID}={run_id}: this run has ended")
    run = description.run if description else new_run(run_id, "default", id=run_id)
    attached = AttachedRun(
        run,
        folder,
        load_plugins()[0],
        _redactor(description, project),
        load_journal_options(project),
        params=load_param_options(project),
        role=child_role(),
    )
    atexit.register(attached.leave)
    return attached


def _project_with(folder: Path) -> Project:
    """Give the project that counts here, or the run's own where what names it names none."""
    try:
        return find_project()
    except ConfigError as error:
        if len(folder.parts) < 4 or not folder.is_dir():
            raise
        logger.warning("%s; the run's own project counts", error)
        return find_project(folder.parents[2])


def _has_ended(description: RunDescription, folder: Path) -> bool:
    states = [load_state(folder / tracker.folder) for tracker in description.trackers]
    return bool(states) and all(state.is_ended for state in states)


def _redactor(description: RunDescription | None, project: Project) -> Redactor:
    """Know the secrets of the run's trackers, as far as this process can read them."""
    redactors = []
    trackers = Trackers(project)
    if description is None:
        return Redactor()
    for tracker in description.trackers:
        try:
            built = tracker_for(description, tracker, project, trackers)
        except TrackyardError as error:
            logger.debug("%s", error)
        else:
            redactors.append(built.redactor)
    return Redactor.joined(redactors)
