"""How does a run that no pipeline drives get into the store's index, and how is that made anew?

Whoever starts, ends or imports a run writes it. A store that is away costs no more than a moment:
the run is marked then, and is written by whoever comes by later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import NAME, NOTE, Run
from trackyard.delivery.state import load_state
from trackyard.journal.descriptions import RunDescription, load_description, metadata_of
from trackyard.journal.openings import paused_before
from trackyard.journal.pending import (
    is_indexed,
    mark_as_indexed,
    mark_as_to_be_indexed,
    note_as_indexed,
    to_be_indexed_folders,
)
from trackyard.journal.reader import is_alive
from trackyard.journal.remains import remains_of
from trackyard.journal.summaries import Summary, summary_of_folder
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.recovery.kept_store import kept_store
from trackyard.system.files import is_recent
from trackyard.system.interruption import let_signals_through

if TYPE_CHECKING:
    from trackyard.store import Store

logger = logging.getLogger("trackyard")

# For so many seconds nobody asks a store again that could not be reached.
_REST = 60.0
# Seconds that a run waits for others who write to an sqlite store.
PATIENCE = 2.0
# The tag that names the flavor from whose place a run was imported.
IMPORTED_FROM = "trackyard.imported_from"
# Runs that are written in one transaction.
_AT_ONCE = 500


def columns_of(
    run: Run, metadata: Mapping[str, Any] | None = None, folder: Path | None = None
) -> dict[str, Any]:
    """Give what the store holds of a run that starts.

    Args:
        run: The run.
        metadata: Its trackers, as `metadata_of` gives them.
        folder: Where its journal lies, for how long a run was closed that was resumed.
    """
    return {
        "id": run.id,
        "kind": _kind_of(run),
        "name": run.step or run.name,
        "experiment": run.pipeline or run.experiment,
        "parent_id": run.parent_id if run.is_child else run.group,
        "group_id": run.group,
        "attempt": run.attempt,
        "status": "running",
        "started_at": run.started_at,
        "ended_at": None,
        "error": None,
        "metadata": dict(metadata or {}),
        **({"opened": run.resumed + 1} if run.resumed else {}),
        **({"paused": paused_before(folder, run.started_at)} if run.resumed and folder else {}),
    }


def _kind_of(run: Run) -> str:
    if run.step is not None:
        return "step"
    return "imported" if IMPORTED_FROM in run.tags else "run"


def index_run(
    project: Project, run: Run, metadata: Mapping[str, Any], summary: Summary | None = None
) -> None:
    """Write a run into the index; what fails is said once and done later. It never raises.

    Args:
        project: Where the store is.
        run: The run.
        metadata: Its trackers.
        summary: How it ended, and what it logged; None while it goes on.
    """
    folder = project.home / "runs" / run.id
    values = {**columns_of(run, metadata, folder), **for_others(project, folder)}
    if summary is not None:
        values |= _end_of(summary)
    stamp = project.home / "store.away"
    if stamp.exists() and is_recent(stamp, _REST):
        mark_as_to_be_indexed(folder)
        return
    try:
        _write(project, values, summary if summary and summary.is_whole else None)
        if summary is not None and not summary.is_whole:
            mark_as_to_be_indexed(folder)
        else:
            mark_as_indexed(folder)
    except Exception as error:  # whatever a database comes up with: the run goes on
        mark_as_to_be_indexed(folder)
        let_signals_through(error)
        reason = " ".join(str(error).split())[:300]
        logger.warning("the store gets run %r later: %s", run.name, reason)
        try:
            stamp.touch(mode=0o600)
        except OSError as problem:
            logger.debug("%s cannot be touched: %s", stamp, problem)


def for_others(project: Project, folder: Path) -> dict[str, Any]:
    """Give what a team's store keeps of a run so that it can be reached from other machines.

    Args:
        project: Where the store is.
        folder: The run's folder.
    """
    return {"journal": remains_of(folder)} if names_store(project) else {}


def _write(project: Project, values: Mapping[str, Any], summary: Summary | None) -> None:
    details = summary.plain() if summary else None
    kept_store(PATIENCE).write(project, lambda store: store.save_run(values, details))


def index_marked(project: Project) -> int:
    """Write into the index what was marked while the store was away; give how many runs.

    Args:
        project: Whose runs.

    Raises:
        TrackyardError: The store is still away.
    """
    if not project.home.is_dir():
        return 0  # nothing is there, or somebody has deleted it: it is not made anew
    if not is_indexed(project.home):  # versions before the index left them
        return rebuild_index(project)[0]
    folders = [f for f in to_be_indexed_folders(project.home) if not is_alive(f)]
    if not folders:
        return 0
    from trackyard.store import Store

    store = Store.of(project)
    try:
        return sum(
            1 for folder in index_folders(store, folders, partial(for_others, project)) if folder
        )
    finally:
        store.close()


def rebuild_index(
    project: Project, progress: Callable[[int, int], None] | None = None
) -> tuple[int, int]:
    """Write the index anew from the folders of runs; nothing that only the store knows is deleted.

    Args:
        project: Whose runs.
        progress: Called with how many runs are done, and how many there are.

    Returns:
        How many runs were written, and how many folders could not be read.

    Raises:
        TrackyardError: The store cannot be written.
    """
    from trackyard.store import Store

    try:
        folders = sorted(path for path in (project.home / "runs").iterdir() if path.is_dir())
    except OSError:
        folders = []
    store = Store.of(project)
    done = left = 0
    try:
        for folder in index_folders(store, folders, partial(for_others, project)):
            done, left = done + bool(folder), left + (not folder)
            if progress is not None and (done + left) % _AT_ONCE == 0:
                progress(done + left, len(folders))
    finally:
        store.close()
    note_as_indexed(project.home)
    return done, left


def index_folders(
    store: Store, folders: list[Path], left: Callable[[Path], dict[str, Any]]
) -> Iterator[Path | None]:
    """Write runs into the index by their folders; give each, or None where it cannot be read.

    Args:
        store: The store.
        folders: The folders.
        left: Gives what is kept of one for others, see `for_others`.
    """
    for start in range(0, len(folders), _AT_ONCE):
        chunk = folders[start : start + _AT_ONCE]
        found = [(folder, *summary_of_folder(folder, load_description)) for folder in chunk]
        given = [
            (folder, _row_of(folder, description, summary, left))
            for folder, description, summary in found
            if description is not None and summary is not None
        ]
        taken = {*_saved(store, given)}
        yield from (folder if folder in taken else None for folder in chunk)
        refused = {folder for folder, _ in given} - taken
        for folder in chunk:
            if folder not in refused:
                mark_as_indexed(folder)


_Given = tuple[dict[str, Any], Mapping[str, Any]]


def _row_of(
    folder: Path,
    description: RunDescription,
    summary: Summary,
    left: Callable[[Path], dict[str, Any]],
) -> _Given:
    values = {**_columns_of_folder(folder, description), **left(folder)}
    return values | _end_of(summary), summary.plain()


def _saved(store: Store, given: list[tuple[Path, _Given]]) -> list[Path]:
    """Write rows in one transaction; of several, one that the database refuses stops no other."""
    from trackyard.store.saving import save_run

    try:
        with store.writing() as session:
            for _, row in given:
                save_run(session, *row, is_news=False)
    except TrackyardError as error:
        if getattr(error, "is_away", False):
            raise
        if len(given) == 1:
            ((folder, _),) = given
            logger.warning("run %s is not in the store, which refuses it: %s", folder.name, error)
            return []
        return [folder for one in given for folder in _saved(store, [one])]
    return [folder for folder, _ in given]


def tracker_metadata(folder: Path, description: RunDescription) -> dict[str, str]:
    """Give what the store keeps of a run's trackers, by its folder.

    Args:
        folder: The run's folder.
        description: What is written down there of the run.
    """
    known = {tracker.name: tracker for tracker in description.trackers}
    flavors = {name: str(of.table["flavor"]) for name, of in known.items()}
    urls = {name: load_state(folder / of.folder).url for name, of in known.items()}
    return metadata_of(flavors, {name: url for name, url in urls.items() if url})


def note_trackers(project: Project, folder: Path, description: RunDescription) -> None:
    """Write on which trackers a run is by now into the store. It never raises.

    Args:
        project: Where the store is.
        folder: The run's folder.
        description: What is written down there of the run.
    """
    from trackyard.store.listing import has_store

    if not has_store(project):
        return
    from trackyard.store import Store
    from trackyard.store.saving import update_run

    is_here = folder.parent == project.home / "runs"
    try:
        store = Store.of(project, PATIENCE)
        try:
            known = store.metadata_of(folder.name)
            values = {"metadata": {**known, **tracker_metadata(folder, description)}}
            values |= for_others(project, folder) if is_here else {}
            with store.writing() as session:
                update_run(
                    session, folder.name, values | (for_others(project, folder) if is_here else {})
                )
        finally:
            store.close()
    except Exception as error:  # whatever a database comes up with: the tracker has the run
        logger.debug("the store is not told of the trackers of %s: %s", folder.name, error)
        if is_here:
            mark_as_to_be_indexed(folder)


def live_columns(folder: Path, description: RunDescription) -> dict[str, Any]:
    """Give the columns of a run that goes on, by its folder.

    Args:
        folder: The run's folder.
        description: What is written down there of the run.
    """
    return _columns_of_folder(folder, description)


def _columns_of_folder(folder: Path, description: RunDescription) -> dict[str, Any]:
    """Give the columns that a folder knows; of a pipeline's runs the store may know more."""
    run = description.run
    values = columns_of(run, tracker_metadata(folder, description), folder)
    if run.pipeline is not None and run.step is None and not run.is_child:
        return {**values, "kind": "pipeline", "group_id": run.id, "parent_id": None}
    return values


def _end_of(summary: Summary) -> dict[str, Any]:
    values = {"status": summary.status, "ended_at": summary.ended_at, "error": summary.error}
    said = {"name": summary.tags.get(NAME), "note": summary.tags.get(NOTE)}
    return values | {key: text for key, text in said.items() if text is not None}
