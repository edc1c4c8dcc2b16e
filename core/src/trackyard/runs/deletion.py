"""How is a run deleted here, with its steps and journals?"""

from __future__ import annotations

from pathlib import Path

from trackyard.contract.errors import TrackyardError
from trackyard.contract.materializers import StoredOutput
from trackyard.journal.descriptions import load_description
from trackyard.journal.reader import is_attended
from trackyard.journal.remains import forget_remains
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.project.configuration import Project
from trackyard.recovery.sharing import forget_shared, shares_journals
from trackyard.runs.finding import FoundRun
from trackyard.runs.folders import find_runs, runs_of_group
from trackyard.runs.garbage import delete_folder, unacknowledged
from trackyard.store import Store
from trackyard.store.lives import seconds_since_sign
from trackyard.store.output_users import outputs_of_run, users_of_outputs
from trackyard.store.rows import OutputRow
from trackyard.system.suggestions import listed


def delete_run(
    project: Project,
    store: Store | None,
    found: FoundRun,
    *,
    is_forced: bool = False,
    artifact_store: ArtifactStore | None = None,
) -> None:
    """Delete a run from the store, and the journals of all of its runs and child runs.

    What trackers hold of it stays there, and its outputs stay in the artifact store, unless that is
    given: other runs may have read them.

    Args:
        project: Its project.
        store: The project's store.
        found: The run.
        is_forced: Delete also what some tracker does not have, and outputs that others have read.
        artifact_store: Where its outputs lie that are deleted, too.

    Raises:
        TrackyardError: It is running, some tracker does not have all of it, or other runs have read
            what is to be deleted.
    """
    folders = _folders_of(project, found)
    outputs = outputs_of_run(store, found.id) if artifact_store and store else []
    if not is_forced:
        _refuse_open(store, found, folders)
        _refuse_read(store, found, outputs)
    for folder in folders:
        _refuse_lacking(folder, found, is_forced=is_forced)
    if artifact_store is not None:
        for row in outputs:
            artifact_store.remove(StoredOutput(row.uri, row.materializer, row.size, row.sha256))
    for folder in folders:
        problem = delete_folder(folder)
        if problem:
            raise TrackyardError(f"{folder}: {problem}")
        forget_remains(folder)
    _forget(project, store, [*dict.fromkeys([*(folder.name for folder in folders), found.id])])


def _forget(project: Project, store: Store | None, ids: list[str]) -> None:
    """Delete what others than the journals hold of runs: the store, and where journals went."""
    steps = [step.id for id_ in ids for step in store.list_step_runs(id_)] if store else []
    for id_ in dict.fromkeys((*ids, *steps)):
        forget_remains(project.home / "runs" / id_)
        if shares_journals(project):
            forget_shared(project, id_)
    for id_ in ids if store else ():
        assert store is not None
        store.delete_run(id_)


def _folders_of(project: Project, found: FoundRun) -> list[Path]:
    """Give the folders of a run, of its steps and child runs; none where they are elsewhere."""
    if found.row is not None:
        return [run.folder for run in runs_of_group(project, found.id)]
    if found.listed is None:
        return [run.folder for run in find_runs(project, found.id)]
    return []


def _refuse_lacking(folder: Path, found: FoundRun, *, is_forced: bool) -> None:
    """Refuse to delete a run that lives, and one that some tracker lacks unless that is forced."""
    if is_attended(folder):
        raise TrackyardError(f"run {found.name!r} is running, or being delivered; wait for it")
    description = load_description(folder)
    reason = unacknowledged(folder, description) if description else ""
    if reason and description and description.trackers and not is_forced:
        raise TrackyardError(
            f"run {found.name!r} is not deleted: {reason}; "
            f"to delete it all the same, type: trackyard runs delete {found.id} --force"
        )


def _refuse_open(store: Store | None, found: FoundRun, folders: list[Path]) -> None:
    """Refuse to delete a run that may live on another machine."""
    if folders:
        return
    since = seconds_since_sign(store, found.id) if store is not None else None
    if since is not None:
        raise TrackyardError(
            f"run {found.name!r} is not deleted: it goes on on another machine, which gave a sign "
            f"of life {since:.0f} s ago; if that is gone, type: trackyard runs end {found.id}, or "
            f"to delete it all the same: trackyard runs delete {found.id} --force"
        )


def _refuse_read(store: Store | None, found: FoundRun, outputs: list[OutputRow]) -> None:
    """Refuse to delete outputs on which other runs stand."""
    users = users_of_outputs(store, found.id) if outputs and store is not None else []
    if users:
        raise TrackyardError(
            f"run {found.name!r} is not deleted: its outputs were read or reused by "
            f"{listed(users[:5])}; leave out --outputs, or to delete them all the same, type: "
            f"trackyard runs delete {found.id} --outputs --force"
        )
