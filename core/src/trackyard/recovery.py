"""How is a run finished that its own process did not finish: by sync, or after a crash?

A run is pending while a tracker does not have its end. It is alive while a process holds the lock
of its journal; a run that is pending, not alive and without an end has crashed. Sync reads the
same journal with the same engine that the run's own process uses.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import attrs

from trackyard.config import Project
from trackyard.delivery.delivery import Delivery, TrackerReport, report_of
from trackyard.delivery.state import DeliveryState, load_state, save_state
from trackyard.descriptions import (
    RunDescription,
    TrackerDescription,
    load_description,
    run_for,
)
from trackyard.dispatch import TrackerHooks
from trackyard.errors import TrackyardError
from trackyard.guarding import finish_in_background
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader, is_alive, is_attended
from trackyard.journal.writer import JournalWriter
from trackyard.locks import exclusively
from trackyard.pending import mark_as_complete, pending_folders
from trackyard.plugins import load_plugins
from trackyard.records import Failure, Run
from trackyard.trackers import Trackers

logger = logging.getLogger("trackyard")

# Seconds between two recoveries that commands start by themselves.
_AT_MOST_EVERY = 60.0
# How the names of the files begin to which recovery writes.
_ROLE = "recovery"


class _End(NamedTuple):
    """The end of a run and who wrote it: the run's own process, or recovery."""

    writer: str
    entry: Entry


@attrs.frozen
class PendingRun:
    """A run that some tracker does not have whole.

    Attributes:
        folder: The run's folder.
        description: The run and its trackers.
        is_alive: A process is still writing it.
    """

    folder: Path
    description: RunDescription
    is_alive: bool


def find_pending_runs(project: Project) -> list[PendingRun]:
    """List the runs that some tracker does not have whole, the oldest first.

    It looks at files and locks alone, and imports no flavor.
    """
    pending = []
    for folder in pending_folders(project.home):
        description = load_description(folder)
        if description is None or all(
            load_state(folder / tracker.folder).is_ended for tracker in description.trackers
        ):
            if not is_alive(folder):
                mark_as_complete(folder)
            continue
        pending.append(PendingRun(folder, description, is_alive(folder)))
    return pending


def recover_in_background(project: Project) -> None:
    """Where a run's process has died, have a detached process finish it; this one only looks.

    It is asked at most once a minute: a tracker that is away will be away the next second, too.
    """
    if all(is_attended(folder) for folder in pending_folders(project.home)):
        return
    stamp = project.home / "recovery.stamp"
    try:
        if stamp.exists() and time.time() - stamp.stat().st_mtime < _AT_MOST_EVERY:
            return
        stamp.touch()
    except OSError as error:
        logger.debug("%s cannot be touched: %s", stamp, error)
    finish_in_background(project.root)


def sync_all(project: Project, *, patience: float) -> None:
    """Finish every run of a project whose process does not live."""
    for pending in find_pending_runs(project):
        sync_run(pending, project, patience=patience)


def sync_run(
    pending: PendingRun,
    project: Project,
    *,
    patience: float = 10.0,
    progress: Callable[[TrackerReport], None] | None = None,
) -> list[TrackerReport]:
    """Deliver what is left of a run to each of its trackers, and its end where it has ended.

    A run whose process died without a word gets an end first: it has crashed. A run that is alive
    is left alone.

    Args:
        pending: The run.
        project: Where it was made; its configuration is not read, but that of the run's start.
        patience: Seconds to go on at most after a tracker has failed for the first time.
        progress: Called after each batch.

    Returns:
        How the run stands on each tracker.
    """
    if pending.is_alive:
        return []
    end = _find_or_write_end(pending.folder)
    if end is not None and end.writer.startswith(_ROLE):
        _mark_in_store(pending.description.run, project, end.entry)
    trackers = Trackers(project)
    reports = [
        _deliver(pending, description, trackers, patience, progress)
        for description in pending.description.trackers
    ]
    if all(report.is_complete for report in reports):
        mark_as_complete(pending.folder)
    return reports


def _deliver(
    pending: PendingRun,
    description: TrackerDescription,
    trackers: Trackers,
    patience: float,
    progress: Callable[[TrackerReport], None] | None,
) -> TrackerReport:
    folder = pending.folder / description.folder
    state = load_state(folder)
    if state.is_ended:
        return report_of(description.name, state, folder)
    _forget_what_is_gone(state, folder)
    try:
        tracker = trackers.build(description.name, description.table, description.place)
    except TrackyardError as error:
        state.problem = str(error)
        return report_of(description.name, state, folder)
    run = attrs.evolve(run_for(pending.description, description, pending.folder), attached=True)
    hooks = TrackerHooks(tracker.new_instance(), tracker.name, load_plugins()[0])
    all_ranks = tracker.options.rank == "all"
    delivery = Delivery(hooks, run, tracker.options.start_timeout, all_ranks=all_ranks)
    try:
        _advance_until_done(delivery, patience, progress)
    finally:
        delivery.close()
    return delivery.report()


def _forget_what_is_gone(state: DeliveryState, folder: Path) -> None:
    """Take a cursor back that is ahead of a journal that was cut: the end would never be read."""
    written: dict[str, int] = {}
    reader = JournalReader(folder.parent)
    while entries := reader.read(1000):
        written.update(position for position, _ in entries)
    ahead = [name for name, last in state.cursor.items() if last > written.get(name, -1)]
    if ahead:
        for name in ahead:
            del state.cursor[name]
        save_state(folder, state)


def _advance_until_done(
    delivery: Delivery, patience: float, progress: Callable[[TrackerReport], None] | None
) -> None:
    give_up_at: float | None = None
    while (due := delivery.due()) is not None:
        now = time.monotonic()
        if delivery.problem:
            give_up_at = give_up_at or now + patience
            if max(now, due) > give_up_at:
                return
        else:
            give_up_at = None
        time.sleep(max(0.0, due - now))
        delivery.advance()
        if progress is not None:
            progress(delivery.report())


def _find_or_write_end(folder: Path) -> _End | None:
    """Give the run's end; where there is none write it, which one of several processes does.

    Returns:
        None where the run has come to life meanwhile.
    """
    with exclusively(folder / "recovery.lock"):
        end, last_sign_of_life, told = _find_end(folder)
        if end is None and not is_alive(folder):
            # It ended with its last entry, not when it was found dead.
            entry = Entry("end", last_sign_of_life, None, _cause_of_death(told))
            writer = JournalWriter(folder, _ROLE)
            writer.append_end(entry)
            writer.close()
            end = _End(writer.name, entry)
        return end


def _cause_of_death(told: int | None) -> Failure:
    if told is None:
        text = "its process ended without a word (kill -9, out of memory, os._exit, power)"
        return Failure("crashed", "Crashed", text)
    name = signal.Signals(told).name
    text = "the process was told to stop, and killed before it had"
    return Failure("killed", name, text, signal=told)


def _mark_in_store(run: Run, project: Project, end: Entry) -> None:
    """The driver is dead, so that nobody else writes its runs."""
    is_stored = "store" in project.table or (project.home / "store.db").exists()
    if run.group is None or not is_stored:
        return
    from trackyard.store import Store  # SQLAlchemy costs 190 ms to import

    store = Store.of(project)
    store.mark_as_dead(run.id, run.group, end.data.status, end.timestamp)
    store.close()


def _find_end(folder: Path) -> tuple[_End | None, int, int | None]:
    """Give the end, the time of the last entry, and the last signal that told the run to stop."""
    end, last, told = None, 0, None
    reader = JournalReader(folder)
    while entries := reader.read(1000):
        for position, entry in entries:
            last = max(last, entry.timestamp)
            if entry.kind == "signal":
                told = int(entry.data["number"])
            if entry.kind == "end":
                end = end or _End(position.writer, entry)
    return end, last or time.time_ns(), told
