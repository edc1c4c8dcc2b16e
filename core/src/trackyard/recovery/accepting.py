"""What do trackers not have of runs that are over, and who accepts that?

A record that a tracker has not taken is pending or named. Nothing more of it comes by itself where
it was refused or lost, or where the run was deleted there: it is sent again, or accepted, by a
command that somebody types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trackyard.contract.errors import NewerFormatError, TrackyardError
from trackyard.delivery.aside import QUARANTINE, take_back
from trackyard.delivery.reports import TrackerReport, complete, report_of
from trackyard.delivery.state import load_state, save_state
from trackyard.journal.descriptions import folder_names, load_description
from trackyard.journal.pending import (
    lacking_folders,
    mark_as_lacking,
    mark_as_pending,
    mark_as_whole,
    pending_folders,
)
from trackyard.journal.reader import is_alive
from trackyard.project.configuration import Project
from trackyard.recovery.finishing import LeftRun, PendingRun
from trackyard.system.locks import FileLock


def find_lacking(project: Project) -> tuple[list[PendingRun], list[LeftRun]]:
    """List the runs that have ended and lack something that nobody has accepted, the oldest first.

    Args:
        project: The project.

    Returns:
        Those runs, and what a newer Trackyard wrote, which is left as it is.
    """
    _mark_what_older_versions_left(project)
    folders = {*lacking_folders(project.home), *pending_folders(project.home)}
    runs, left = _described(folders)
    lacking = []
    for run in runs:
        try:
            is_settled = all(report.is_settled for report in reports_of(run))
        except NewerFormatError as error:
            left.append(LeftRun(run.folder, str(error)))
            continue
        if is_settled:
            mark_as_whole(run.folder)
        else:
            lacking.append(run)
    return lacking, left


def accept_losses(run: PendingRun) -> list[TrackerReport]:
    """Accept by name what trackers do not have of a run: sync counts it no more.

    Args:
        run: The run.

    Raises:
        TrackyardError: It is still running, or a process is delivering it.
    """
    name = run.description.run.name
    if run.is_alive:
        raise TrackyardError(f"run {name!r} is still running; wait for its end")
    for tracker in run.description.trackers:
        folder = run.folder / tracker.folder
        with _delivered_by_nobody(folder, f"run {name!r} is being delivered to {tracker.name!r}"):
            state = load_state(folder)
            state.accepted = report_of(tracker.name, state, folder).lacking
            save_state(folder, state)
    complete(run.folder, folder_names(run.description))
    return reports_of(run)


def take_back_all(project: Project) -> None:
    """Have the next pass send again what trackers have refused of any run that is over.

    Args:
        project: The project.
    """
    refused = {path.parents[1] for path in (project.home / "runs").glob(f"*/*/{QUARANTINE}")}
    for run in _described(refused | {*lacking_folders(project.home)})[0]:
        with suppress(NewerFormatError):  # sync names it
            take_back_refused(run)


def take_back_refused(run: PendingRun, tracker: str | None = None) -> None:
    """Have the next pass send again what trackers have refused of a run.

    Args:
        run: The run.
        tracker: The only one that is meant, or None for each of them.

    Raises:
        TrackyardError: A process is delivering it.
    """
    for known in run.description.trackers:
        if tracker not in (None, known.name):
            continue
        folder = run.folder / known.folder
        message = f"run {run.description.run.name!r} is being delivered to {known.name!r}"
        with _delivered_by_nobody(folder, message):
            state = load_state(folder)
            if take_back(folder, state) or state.accepted:
                state.accepted = 0
                mark_as_pending(run.folder)
                save_state(folder, state)


def reports_of(run: PendingRun) -> list[TrackerReport]:
    """Say how a run stands on each of its trackers, from what is noted on disk.

    Args:
        run: The run.
    """
    folders = [(of.name, run.folder / of.folder) for of in run.description.trackers]
    return [report_of(name, load_state(folder), folder) for name, folder in folders]


def _mark_what_older_versions_left(project: Project) -> None:
    """Note once which runs of a version before these marks had something refused."""
    if not (project.home / "lacking").is_dir():
        for path in (project.home / "runs").glob(f"*/*/{QUARANTINE}"):
            mark_as_lacking(path.parents[1])


def _described(folders: Iterable[Path]) -> tuple[list[PendingRun], list[LeftRun]]:
    """Give the runs that are over, and those whose description a newer Trackyard wrote."""
    runs, left = [], []
    for folder in sorted(folders):
        try:
            description = load_description(folder)
        except NewerFormatError as error:
            left.append(LeftRun(folder, str(error)))
            continue
        if description is None:
            mark_as_whole(folder)
        elif not is_alive(folder):
            runs.append(PendingRun(folder, description, is_alive=False))
    return runs, left


@contextmanager
def _delivered_by_nobody(folder: Path, message: str) -> Iterator[None]:
    """Keep other processes from the delivery of a run to a tracker meanwhile.

    Raises:
        TrackyardError: One of them is at it.
    """
    lock = FileLock(folder / "delivery.lock")
    if folder.is_dir() and not lock.acquire():
        raise TrackyardError(f"{message}; try again when that is over")
    try:
        yield
    finally:
        lock.release()
