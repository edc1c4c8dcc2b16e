"""What did an SDK's own calls log that the run's process did not live to journal?"""

from __future__ import annotations

import logging
from pathlib import Path

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Run
from trackyard.delivery.native_reading import NativeReading, is_being_read
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.managers import NamedPlugins
from trackyard.journal.descriptions import RunDescription, run_for
from trackyard.project.configuration import Project
from trackyard.project.sources import select_sources
from trackyard.project.trackers import Trackers
from trackyard.recovery.trusting import tracker_for

logger = logging.getLogger("trackyard")


def has_unread(description: RunDescription, run_folder: Path) -> bool:
    """Tell whether SDKs' files may hold what is not journaled of a run.

    Args:
        description: The run's description.
        run_folder: The run's folder.
    """
    folders = [tracker.folder for tracker in description.trackers]
    folders += [source.folder for source in description.sources]
    return any(is_being_read(run_folder / folder) for folder in folders)


def read_what_is_left(
    description: RunDescription, run_folder: Path, project: Project, plugins: NamedPlugins
) -> None:
    """Journal what SDKs' files still hold of a run whose process is gone.

    Args:
        description: The run's description.
        run_folder: The run's folder.
        project: The project whose configuration counts, see `tracker_for`.
        plugins: Cross-cutting plugins.
    """
    trackers = Trackers(project)
    for known in description.trackers:
        if not is_being_read(run_folder / known.folder):
            continue
        try:
            built = tracker_for(description, known, project, trackers)
            hooks = TrackerHooks.of(built, plugins)
        except TrackyardError as error:
            logger.debug("%s", error)  # the delivery says it, too
            continue
        run: Run = attrs.evolve(run_for(description, known, run_folder), attached=True)
        NativeReading(hooks, run, built.redactor, plugins).end()
    _read_sources(description, run_folder, trackers, plugins)


def _read_sources(
    description: RunDescription, run_folder: Path, trackers: Trackers, plugins: NamedPlugins
) -> None:
    for source in description.sources:
        folder = run_folder / source.folder
        # What is written down never names code, whoever wrote it.
        is_named = ":" not in source.source.partition("=")[0]
        if not (is_named and source.project == trackers.project.identity and is_being_read(folder)):
            continue
        try:
            (configured,) = select_sources(trackers, source.source)
            hooks = TrackerHooks.of(configured, plugins)
        except TrackyardError as error:
            logger.debug("%s", error)
            continue
        run = attrs.evolve(description.run, folder=folder, attached=True)
        with hooks.capturing_alone(run):
            NativeReading(*(hooks, run, configured.redactor, plugins), files=configured.files).end()
