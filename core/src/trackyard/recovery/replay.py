"""How does a run move to another tracker?

Its journal is delivered there by the same engine that serves any tracker: with the original
times, steps, artifacts and status. The run keeps its id, so that doing it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.delivery.reports import TrackerReport
from trackyard.journal.descriptions import (
    REPLAYED_FROM,
    RunDescription,
    TrackerDescription,
    folder_name,
    save_description,
)
from trackyard.journal.pending import mark_as_pending
from trackyard.project.configuration import Project
from trackyard.project.trackers import Trackers
from trackyard.recovery.finishing import PendingRun, sync_run


def replay_run(
    run: PendingRun,
    project: Project,
    tracker: str,
    *,
    patience: float = 10.0,
    progress: Callable[[TrackerReport], None] | None = None,
) -> TrackerReport:
    """Send a run's journal to a tracker of the project.

    Args:
        run: The run.
        project: Its project, where the tracker is configured.
        tracker: The tracker's name.
        patience: Seconds to go on at most after the tracker has failed for the first time.
        progress: Called after each batch.

    Raises:
        ConfigError: The tracker is not configured, or wrongly.
        TrackyardError: The run still lives.
    """
    if run.is_alive:
        raise TrackyardError(f"run {run.description.run.name!r} is still running; wait for its end")
    (chosen,) = Trackers(project).select(tracker)
    described = {known.name: known for known in run.description.trackers}
    if tracker not in described:
        new = TrackerDescription(tracker, folder_name(tracker), chosen.table, chosen.place)
        (run.folder / new.folder).mkdir(mode=0o700, exist_ok=True)
        source = {REPLAYED_FROM: ", ".join(described) or "journal"}
        tagged = attrs.evolve(run.description.run, tags={**run.description.run.tags, **source})
        # Noted first: what is interrupted here is finished by sync.
        save_description(run.folder, tagged, [*described.values(), new])
        mark_as_pending(run.folder)
        run = attrs.evolve(run, description=RunDescription(tagged, (*described.values(), new)))
    reports = sync_run(run, project, patience=patience, progress=progress)
    return next(report for report in reports if report.tracker == tracker)
