"""How does a run move to another tracker, and what would be lost or changed there?

Its journal is delivered there by the same engine that serves any tracker: with the original
times, steps, artifacts and status. The run keeps its id, so that doing it twice changes nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Artifact, Metric, Param, Tag
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.reports import TrackerReport
from trackyard.delivery.state import load_state
from trackyard.journal.children import as_counted
from trackyard.journal.descriptions import (
    REPLAYED_FROM,
    RunDescription,
    TrackerDescription,
    folder_name,
    save_description,
)
from trackyard.journal.ending import last_sequences
from trackyard.journal.entries import dropped_in
from trackyard.journal.pending import mark_as_pending
from trackyard.journal.reader import JournalReader
from trackyard.project.configuration import Project
from trackyard.project.trackers import Trackers
from trackyard.recovery.accepting import take_back_refused
from trackyard.recovery.finishing import PendingRun, sync_run
from trackyard.recovery.indexing import note_trackers
from trackyard.system.showing import Shown, says


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
        TrackyardError: The run still lives, or a newer Trackyard wrote some of it.
    """
    if run.is_alive:
        raise TrackyardError(f"run {run.description.run.name!r} is still running; wait for its end")
    (chosen,) = Trackers(project).select(tracker)
    described = {known.name: known for known in run.description.trackers}
    known = described.get(tracker)
    _refuse_newer_files(run)
    if known is None or known.project != project.identity:
        folder = known.folder if known else folder_name(tracker)
        new = TrackerDescription(tracker, folder, chosen.table, chosen.place, project.identity)
        (run.folder / new.folder).mkdir(mode=0o700, exist_ok=True)
        tags = dict(run.description.run.tags)
        if known is None and (described or REPLAYED_FROM not in tags):
            tags[REPLAYED_FROM] = ", ".join(described) or "journal"
        description = RunDescription(
            attrs.evolve(run.description.run, tags=tags),
            tuple({**described, tracker: new}.values()),
        )
        # Noted first: what is interrupted here is finished by sync.
        save_description(run.folder, description.run, description.trackers)
        mark_as_pending(run.folder)
        run = attrs.evolve(run, description=description)
    else:
        take_back_refused(run, tracker)
    reports = sync_run(run, project, patience=patience, progress=progress)
    note_trackers(project, run.folder, run.description)
    return next(report for report in reports if report.tracker == tracker)


def _refuse_newer_files(run: PendingRun) -> None:
    """Look at what is read later, before anything is written."""
    last_sequences(run.folder)
    for tracker in run.description.trackers:
        load_state(run.folder / tracker.folder)


@attrs.frozen(repr=False)
class ReplayPlan(Shown):
    """What a tracker would get of a run, by what its flavor says that it can hold."""

    run: str = attrs.field(metadata=says("The run's name"))
    tracker: str = attrs.field(metadata=says("The tracker's name"))
    state: Literal["new", "partial", "complete", "running"] = attrs.field(
        metadata=says("What it has already; `running` runs are not replayed")
    )
    id: str = attrs.field(metadata=says("The run's id"))
    metrics: int = attrs.field(metadata=says("Points of metrics that the journal holds"))
    params: int = attrs.field(metadata=says("Params that it holds"))
    tags: int = attrs.field(metadata=says("Tags that it holds"))
    artifacts: int = attrs.field(metadata=says("Artifacts that it holds"))
    lost: int = attrs.field(metadata=says("How many of them would not arrive"))
    changed: int = attrs.field(metadata=says("How often something would be changed"))
    losses: dict[str, int] = attrs.field(metadata=says("What would not arrive, with how often"))
    changes: dict[str, int] = attrs.field(metadata=says("What would be changed, with how often"))


def plan_replay(run: PendingRun, project: Project, tracker: str) -> ReplayPlan:
    """Say what a tracker would get of a run; nothing is sent or written for this.

    Args:
        run: The run.
        project: Where the tracker is configured.
        tracker: The tracker's name.

    Raises:
        ConfigError: The tracker is not configured, or wrongly.
    """
    (chosen,) = Trackers(project).select(tracker)
    losses, counts = Counter[str](), Counter[type]()
    reader = JournalReader(run.folder)
    all_ranks = chosen.options.rank == "all"
    with tempfile.TemporaryDirectory() as long_texts:
        adapter = Adapter(
            chosen.capabilities,
            Path(long_texts),
            takes_context=chosen.options.context is not False,
            takes_console=chosen.options.console is not False,
        )
        while entries := reader.read(1000):
            for position, entry in entries:
                losses["log calls that never got here: a disk refused them, or a machine died"] += (
                    dropped_in(entry)
                )
                counted = as_counted(entry, position.writer, all_ranks=all_ranks)
                for record in counted.records() if counted is not None else ():
                    counts[type(record)] += 1
                    adapter.adapt(record)
    losses["log calls that are damaged, or whose file is gone"] += reader.lost
    changes = adapter.changes
    for what in list(changes):
        if what.endswith("were left out"):
            losses[what] += changes.pop(what)
    return ReplayPlan(
        run=run.description.run.name,
        tracker=tracker,
        state="running" if run.is_alive else _state(run, tracker),
        id=run.description.run.id,
        metrics=counts[Metric],
        params=counts[Param],
        artifacts=counts[Artifact],
        tags=counts[Tag],
        lost=losses.total(),
        changed=changes.total(),
        losses={what: count for what, count in losses.items() if count},
        changes=dict(changes),
    )


def _state(run: PendingRun, tracker: str) -> Literal["new", "partial", "complete"]:
    if tracker not in (known.name for known in run.description.trackers):
        return "new"
    is_ended = load_state(run.folder / folder_name(tracker)).is_ended
    return "complete" if is_ended else "partial"
