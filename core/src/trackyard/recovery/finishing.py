"""How is a run finished that its own process did not finish: by sync, or after a crash?

A run is pending while a tracker does not have its end. It is alive while a process holds the lock
of its journal; a run that is pending, not alive and without an end has crashed. Sync reads the
same journal with the same engine that the run's own process uses.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract.errors import NewerFormatError, TrackyardError
from trackyard.contract.records import Run
from trackyard.delivery.reports import TrackerReport, are_whole, complete
from trackyard.delivery.state import load_state
from trackyard.hooks.discovery import load_plugins
from trackyard.journal.children import has_living_children, last_metrics
from trackyard.journal.descriptions import (
    RunDescription,
    folder_names,
    load_description,
)
from trackyard.journal.ending import find_end
from trackyard.journal.entries import Entry
from trackyard.journal.pending import pending_folders
from trackyard.journal.reader import doubt_of, is_alive, is_attended
from trackyard.journal.summaries import keep_summary, summarise
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.recovery.autopsy import cause_of_death, find_or_write_end, was_found_dead
from trackyard.recovery.catching_up import Limits, Owed, catch_up
from trackyard.recovery.drivers import (
    DeadDriver,
    find_dead_drivers,
    find_unreadable_marks,
    forget_driver,
    how_to_forget,
    note_problem,
)
from trackyard.recovery.guarding import finish_in_background
from trackyard.recovery.indexing import index_marked, index_run, tracker_metadata
from trackyard.recovery.native_calls import has_unread, read_what_is_left
from trackyard.recovery.trusting import is_own
from trackyard.system.files import is_recent, touch_private
from trackyard.system.locks import exclusively

if TYPE_CHECKING:
    from trackyard.store import Store

logger = logging.getLogger("trackyard")

# Seconds between two recoveries that commands start by themselves.
_AT_MOST_EVERY = 60.0
_NOT_RECORDED = "%s: the end of this run cannot be recorded: %s; %s"


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


@attrs.frozen
class LeftRun:
    """A run that is left as it is, such as one that a newer Trackyard wrote.

    Attributes:
        path: Its folder, or the file that cannot be read.
        problem: Why, and what to type.
    """

    path: Path
    problem: str


def find_pending_runs(project: Project) -> list[PendingRun]:
    """List the runs that some tracker does not have whole, the oldest first.

    It looks at files and locks alone, and imports no flavor. A run that a newer Trackyard wrote is
    left to that one.
    """
    found = list(_pending_or_left(project))
    _say_what_is_left(run for run in found if isinstance(run, LeftRun))
    return [run for run in found if isinstance(run, PendingRun)]


def _pending_or_left(project: Project) -> Iterator[PendingRun | LeftRun]:
    for folder in pending_folders(project.home):
        try:
            description = load_description(folder)
            is_whole = description is None or are_whole(folder, folder_names(description))
            if description is None or (is_whole and not has_unread(description, folder)):
                if not is_alive(folder):
                    complete(folder, folder_names(description))
                continue
        except NewerFormatError as error:
            yield LeftRun(folder, str(error))
            continue
        doubt = doubt_of(folder)
        yield LeftRun(folder, doubt) if doubt else PendingRun(folder, description, is_alive(folder))


def _say_what_is_left(left: Iterable[LeftRun]) -> None:
    for run in left:
        logger.warning("%s", run.problem)


def recover_in_background(project: Project) -> None:
    """Where a run's process has died, have a detached process finish it; this one only looks.

    It is asked at most once a minute: a tracker that is away will be away the next second, too.
    Only what this user's own processes have left is finished, see `sync_all`.
    """
    folders = pending_folders(project.home)
    is_whole = all(is_attended(folder) or not _is_to_finish(folder, project) for folder in folders)
    if is_whole and all(driver.problem for driver in _own_drivers(project)):
        return
    stamp = project.home / "recovery.stamp"
    try:
        if stamp.exists() and is_recent(stamp, _AT_MOST_EVERY):
            return
        touch_private(stamp)
    except OSError as error:
        logger.debug("%s cannot be touched: %s", stamp, error)
    finish_in_background(project.root)


def _is_to_finish(folder: Path, project: Project) -> bool:
    """Tell whether a run is this user's own, and trackers lack something that is there by now."""
    try:
        description = load_description(folder)
        if description is None or not is_own(description, project):
            return False
        names = [tracker.folder for tracker in description.trackers]
        left = [name for name in names if not load_state(folder / name).deleted]
        if has_unread(description, folder):
            return True
        return bool(left) and not (has_living_children(folder) and are_whole(folder, left))
    except NewerFormatError:
        return False


def _own_drivers(project: Project) -> list[DeadDriver]:
    dead = find_dead_drivers(project.home)
    return [driver for driver in dead if driver.project == project.identity]


def sync_all(project: Project, *, patience: float, just_died: int | None = None) -> None:
    """Finish what this user's own processes have left in a project: what does so by itself.

    Runs without a stamp of this user's, or of another project with the same home, wait for a
    `trackyard sync` that is typed (`synchronise`).

    Args:
        project: The project.
        patience: Seconds to go on after a tracker has failed, with nothing delivered since.
        just_died: A process that died at this moment.
    """
    pending, left = end_the_dead(project, just_died, only_own=True)
    _say_what_is_left(left)
    with store_may_be_away():
        index_marked(project)
    sync_runs(pending, project, patience=patience, isolates=True, only_own=True)


def end_the_dead(
    project: Project, just_died: int | None = None, *, only_own: bool = False
) -> tuple[list[PendingRun], list[LeftRun]]:
    """Note the ends of runs and pipeline runs whose process died.

    It reads files and writes them and the store, and waits for no tracker.

    Args:
        project: Whose runs.
        just_died: A process that died at this moment.
        only_own: Leave out what this user's processes did not make in this project.

    Returns:
        What is to be delivered, and what is left as it is.
    """
    pending, left = [], []
    for run in _pending_or_left(project):
        if isinstance(run, LeftRun):
            left.append(run)
            continue
        if only_own and not is_own(run.description, project):
            continue
        try:
            _has_ended(run, project)  # first: what killed a step is known there
            pending.append(run)
        except NewerFormatError as error:
            left.append(LeftRun(run.folder, str(error)))
        except Exception as error:  # what is wrong with one run must not stop the others
            problem = f"{run.folder}: its end cannot be found: {_in_a_line(error)}"
            left.append(LeftRun(run.folder, problem))
    for mark in find_unreadable_marks(project.home):
        problem = _NOT_RECORDED % (mark.path, mark.problem, mark.advice)
        if mark.is_newer:
            left.append(LeftRun(mark.path, problem))
        else:
            logger.warning("%s", problem)
    if _drivers(project, only_own):
        with store_may_be_away(left), exclusively(project.home / "drivers" / "recovery"):
            _end_pipeline_runs(project, just_died, only_own)
    return pending, left


def _drivers(project: Project, only_own: bool) -> list[DeadDriver]:
    return _own_drivers(project) if only_own else find_dead_drivers(project.home)


@contextmanager
def store_may_be_away(left: list[LeftRun] | None = None) -> Iterator[None]:
    """Say that the store cannot be written, and go on: trackers get their runs all the same.

    Args:
        left: Takes what a newer store says, which is said later.
    """
    try:
        yield
    except TrackyardError as error:
        if left is not None and isinstance(error, NewerFormatError):
            left.append(LeftRun(Path("store"), str(error)))
        else:
            logger.warning("the store gets the ends of runs later: %s", _in_a_line(error))


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _end_pipeline_runs(project: Project, just_died: int | None, only_own: bool) -> None:
    """Take one driver's run at a time: what is wrong with one is said, and the others are ended."""
    from trackyard.store import Store
    from trackyard.store.outbox import is_away

    store = Store.of(project)
    try:
        for driver in _drivers(project, only_own):
            try:
                _end_run_of(driver, project, store, just_died)
                forget_driver(project.home, driver.run_id)
            except Exception as error:
                if is_away(error):
                    raise  # for the others, too
                problem = f"{type(error).__name__}: {_in_a_line(error)}"
                note_problem(project.home, driver.run_id, problem)
                path = project.home / "drivers" / f"{driver.run_id}.json"
                advice = f"to forget it type: {how_to_forget(project.home, driver.run_id)}"
                logger.warning(_NOT_RECORDED, path, problem, advice)
    finally:
        store.close()


def _end_run_of(driver: DeadDriver, project: Project, store: Store, just_died: int | None) -> None:
    from trackyard.store.lives import end_dead_pipeline_run
    from trackyard.store.outbox import write_owed

    if driver.step is not None:
        _end_step_of_other_runner(project, store, driver)
        return
    status = cause_of_death(driver.told).status
    ended_at = time.time_ns() if driver.process == just_died else driver.seen_alive
    write_owed(store, driver.owed)
    _end_steps_by_journal(project, store, driver.run_id)
    end_dead_pipeline_run(store, driver.run_id, driver.steps, status, ended_at)


def _end_step_of_other_runner(project: Project, store: Store, driver: DeadDriver) -> None:
    """Record the end of a step whose process has died, or could not reach the store."""
    from trackyard.store.other_runners import RunnerStep, end_step

    folder = project.home / "runs" / driver.run_id
    end = find_or_write_end(folder) if folder.is_dir() else None
    description = load_description(folder)
    if end is not None:
        values = _values_of(end.entry, folder, description)
    else:
        values = _values_of(Entry("end", driver.seen_alive, None, cause_of_death(driver.told)))
    if description is not None:
        values["metadata"] = tracker_metadata(folder, description)
    end_step(store, RunnerStep(**(driver.step or {})), values)


def _end_steps_by_journal(project: Project, store: Store, pipeline_run_id: str) -> None:
    """Record the ends that steps have noted, and their driver could not write to the store."""
    for row in store.list_step_runs(pipeline_run_id):
        folder = project.home / "runs" / row.id
        if row.status == "running" and (end := find_end(folder)) is not None:
            values = _values_of(end.entry, folder, load_description(folder))
            store.update_step_run(row.id, **values)


def _values_of(
    end: Entry, folder: Path | None = None, description: RunDescription | None = None
) -> dict[str, Any]:
    """Give what the store holds of a run's end."""
    failure = end.data
    values: dict[str, Any] = {
        "status": failure.status if failure else "finished",
        "ended_at": end.timestamp,
        "error": str(failure) if failure else None,
    }
    if folder is not None:
        all_ranks = description is not None and description.counts_all_ranks
        values["metrics"] = last_metrics(folder, all_ranks=all_ranks)
    return values


def sync_run(
    pending: PendingRun,
    project: Project,
    *,
    patience: float = 10.0,
    progress: Callable[[TrackerReport], None] | None = None,
) -> list[TrackerReport]:
    """Deliver what is left of one run, see `sync_runs`; its hooks run where those of a step do.

    Args:
        pending: The run.
        project: Where it was made.
        patience: Seconds to go on after a tracker has failed, with nothing delivered since.
        progress: Called a few times a second, with how the run stands on each tracker.

    Returns:
        How the run stands on each tracker.
    """

    def tell(owed: list[Owed]) -> None:
        for one in owed:
            if progress is not None:
                progress(one.now())

    return [report for _, report in sync_runs([pending], project, patience=patience, progress=tell)]


def sync_runs(
    pending: Iterable[PendingRun],
    project: Project,
    *,
    patience: float = 10.0,
    timeout: float | None = None,
    isolates: bool = False,
    only_own: bool = False,
    progress: Callable[[list[Owed]], None] | None = None,
) -> list[tuple[PendingRun, TrackerReport]]:
    """Deliver what is left of runs to each of their trackers, and their ends.

    A run whose process died without a word gets an end first: it has crashed. A run that is alive
    is left alone. All trackers are served side by side.

    Args:
        pending: The runs, the oldest first.
        project: Where they are; see `tracker_for` on what its configuration decides.
        patience: Seconds to go on after a tracker has failed, with nothing delivered since.
        timeout: Seconds for each tracker at most, or None.
        isolates: Have a process for each tracker unless the configuration says otherwise.
        only_own: Leave trackers out that this user's processes did not describe in this project.
        progress: Called a few times a second with what is owed.

    Returns:
        How each run stands on each tracker.
    """
    dead = [run for run in pending if _has_ended(run, project)]
    plugins = load_plugins()[0]
    for run in dead:
        if not only_own or is_own(run.description, project):
            read_what_is_left(run.description, run.folder, project, plugins)
    owed = [
        (run, Owed.of(run.description, tracker, run.folder))
        for run in dead
        for tracker in run.description.trackers
        if not only_own or tracker.project == project.identity
    ]
    if only_own:  # nobody has typed this: what was deleted there is left alone
        for _, one in owed:
            one.report = one.report or (one.before if one.before.deleted else None)
    all_owed = [one for _, one in owed]
    limits = Limits(patience, timeout, isolates)
    catch_up(all_owed, project, plugins, limits, progress)
    for run in dead:
        if all(one.now().is_complete for of, one in owed if of is run):
            complete(run.folder, folder_names(run.description))
    return [(run, one.now()) for run, one in owed]


def _has_ended(pending: PendingRun, project: Project) -> bool:
    """Tell whether a run has ended; where its process died without a word that is noted first."""
    end = None if pending.is_alive else find_or_write_end(pending.folder)
    if end is not None and was_found_dead(end):
        _mark_in_store(pending.description.run, project, end.entry)
    return end is not None


def _mark_in_store(run: Run, project: Project, end: Entry) -> None:
    """The driver is dead, so that nobody else writes its runs."""
    folder = project.home / "runs" / run.id
    if run.group is None or run.is_child:
        description = load_description(folder)
        summary = keep_summary(folder, summarise(folder, description))
        metadata = tracker_metadata(folder, description) if description else {}
        index_run(project, run, metadata, summary)
        return
    is_stored = names_store(project) or (project.home / "store.db").exists()
    if not is_stored:
        return
    from trackyard.store import Store
    from trackyard.store.lives import mark_as_dead

    with store_may_be_away():
        store = Store.of(project)
        mark_as_dead(store, run.id, run.group, end.data.status, end.timestamp)
        store.close()
