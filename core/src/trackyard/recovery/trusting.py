"""With which tracker is a run delivered, or read back, that another process has started?

A run's description says which trackers it had, with their fields. What this user's own process
wrote in this project holds as it stands, since a step may have settings of its own. What came from
elsewhere is data: it is compared with the configuration, and chooses no class, secret or address.
"""

from __future__ import annotations

import shlex

from trackyard.contract.errors import TrackyardError
from trackyard.journal.descriptions import RunDescription, TrackerDescription
from trackyard.project.configuration import Project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.redaction.secret_shapes import without_secrets


def is_own(run: RunDescription, project: Project) -> bool:
    """Tell whether a process of this user described one of the run's trackers or sources here.

    Args:
        run: The run's description.
        project: The project.
    """
    projects = [tracker.project for tracker in run.trackers]
    return project.identity in (*projects, *(source.project for source in run.sources))


def tracker_for(
    run: RunDescription, known: TrackerDescription, project: Project, trackers: Trackers
) -> Tracker:
    """Give a tracker of a run.

    Args:
        run: The run.
        known: The tracker, as the run describes it.
        project: The project whose configuration counts.
        trackers: Its trackers.

    Raises:
        TrackyardError: It is not configured here, or otherwise.
    """
    configured = trackers.configured.get(known.name)
    reference = str(known.table["flavor"])
    if known.project == project.identity:
        # The class is the configuration's even then: what is written down never names code.
        if ":" not in reference or (configured and configured.options.flavor == reference):
            return trackers.build(known.name, known.table, known.place)
        configured = None
    if configured is None:
        other = next((f", or: {_replay(run, other)}" for other in trackers.configured), "")
        register = f"trackyard experiment-tracker register {shlex.quote(known.name)}"
        raise TrackyardError(
            f"not configured here: experiment tracker {known.name!r} of flavor {reference!r}; "
            f"type: {register} --flavor {shlex.quote(reference)}{other}"
        )
    (tracker,) = trackers.select(known.name)
    if differing := trackers.differing(tracker, known.table):
        fields = ", ".join(f"{key} = {_short(value)}" for key, value in differing.items())
        raise TrackyardError(
            f"not configured here: experiment tracker {known.name!r} with {fields}; to send it to "
            f"the one that is, type: {_replay(run, known.name)}"
        )
    return tracker


def _replay(run: RunDescription, tracker: str) -> str:
    return f"trackyard replay {run.run.id} --to {shlex.quote(tracker)}"


def _short(value: object) -> str:
    return without_secrets(repr(value))[:100]
