"""What does a child run take from the run around it: the trackers, and who serves them?"""

from __future__ import annotations

import logging
import os

from trackyard.contract.errors import TrackyardError
from trackyard.journal.descriptions import load_description
from trackyard.project.configuration import Project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.trusting import tracker_for
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")


def group_of(outer: TrackedRun | None) -> RunGroup | None:
    """Give the runs among which a run was started in this process; None where another one did.

    Args:
        outer: The run, if there is one.
    """
    group = outer.group if outer is not None else None
    return group if group is not None and group.process == os.getpid() else None


def trackers_of(outer: TrackedRun, project: Project) -> list[Tracker]:
    """Give a run's trackers, with the settings that it has them with, and its sources.

    Args:
        outer: The run.
        project: Its project.
    """
    if outer.group is not None:
        sources = (source.configured for source in outer.sources.values())
        return [*outer.configured_trackers, *sources]
    description, trackers, chosen = load_description(outer.folder), Trackers(project), []
    if description is None:
        return []
    for known in description.trackers:
        try:
            chosen.append(tracker_for(description, known, project, trackers))
        except TrackyardError as error:
            logger.warning("child runs are not tracked in %r: %s", known.name, error)
    return chosen
