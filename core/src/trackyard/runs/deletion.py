"""How is a run deleted here, with its steps and journals?"""

from __future__ import annotations

from pathlib import Path

from trackyard.contract.errors import TrackyardError
from trackyard.journal.descriptions import load_description
from trackyard.journal.reader import is_attended
from trackyard.journal.remains import forget_remains
from trackyard.project.configuration import Project
from trackyard.runs.finding import FoundRun
from trackyard.runs.folders import find_runs, runs_of_group
from trackyard.runs.garbage import delete_folder, unacknowledged
from trackyard.store import Store
from trackyard.store.lives import seconds_since_sign


def delete_run(
    project: Project, store: Store | None, found: FoundRun, *, is_forced: bool = False
) -> None:
    """Delete a run from the store, and the journals of all of its runs and child runs.

    What trackers hold of it stays there, and its outputs stay in the artifact store: other runs
    may have read them.

    Args:
        project: Its project.
        store: The project's store.
        found: The run.
        is_forced: Delete also what some tracker does not have.

    Raises:
        TrackyardError: It is running, or some tracker does not have all of it.
    """
    folders = _folders_of(project, found)
    if not folders and not is_forced:
        _refuse_open(store, found)
    for folder in folders:
        if is_attended(folder):
            raise TrackyardError(f"run {found.name!r} is running, or being delivered; wait for it")
        description = load_description(folder)
        reason = unacknowledged(folder, description) if description else ""
        if reason and description and description.trackers and not is_forced:
            raise TrackyardError(
                f"run {found.name!r} is not deleted: {reason}; "
                f"to delete it all the same, type: trackyard runs delete {found.id} --force"
            )
    for folder in folders:
        problem = delete_folder(folder)
        if problem:
            raise TrackyardError(f"{folder}: {problem}")
        forget_remains(folder)
    forget_remains(project.home / "runs" / found.id)
    if store is not None:
        for step in store.list_step_runs(found.id):
            forget_remains(project.home / "runs" / step.id)
        for id_ in dict.fromkeys([*(folder.name for folder in folders), found.id]):
            store.delete_run(id_)


def _folders_of(project: Project, found: FoundRun) -> list[Path]:
    """Give the folders of a run, of its steps and child runs; none where they are elsewhere."""
    if found.row is not None:
        return [run.folder for run in runs_of_group(project, found.id)]
    if found.listed is None:
        return [run.folder for run in find_runs(project, found.id)]
    return []


def _refuse_open(store: Store | None, found: FoundRun) -> None:
    """Refuse to delete a run that may live on another machine."""
    since = seconds_since_sign(store, found.id) if store is not None else None
    if since is not None:
        raise TrackyardError(
            f"run {found.name!r} is not deleted: it goes on on another machine, which gave a sign "
            f"of life {since:.0f} s ago; if that is gone, type: trackyard runs end {found.id}, or "
            f"to delete it all the same: trackyard runs delete {found.id} --force"
        )
