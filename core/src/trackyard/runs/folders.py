"""Which runs have a folder here, and which of them does a name mean?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trackyard.contract.errors import RunNotFoundError
from trackyard.journal.pending import is_indexed, to_be_indexed_folders
from trackyard.project.configuration import Project
from trackyard.store.databases import StoreError
from trackyard.store.listing import has_store

if TYPE_CHECKING:  # `runs list` is quick, and needs none of these for most runs
    from trackyard.contract.records import Run
    from trackyard.journal.descriptions import RunDescription
    from trackyard.journal.entries import Entry
    from trackyard.journal.reader import Position
    from trackyard.recovery.finishing import PendingRun

_ID = re.compile(r"[0-9a-f]{32}")


def folders_of_runs(project: Project) -> list[Path]:
    """Give the folders of all runs, the oldest first."""
    return [project.home / "runs" / name for name in names_of_folders(project)]


def names_of_folders(project: Project) -> list[str]:
    """Give the names of the folders of all runs, the oldest first: they take a tenth of paths."""
    try:
        with os.scandir(project.home / "runs") as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def find_runs(project: Project, name_or_id: str) -> list[PendingRun]:
    """Find runs by name, id or prefix, or all of a pipeline run's.

    Args:
        project: The project.
        name_or_id: A name, an id, or a prefix of an id.

    Raises:
        RunNotFoundError: There is none.
    """
    every = list(_described_near(project, name_or_id))
    found = [item for item in every if _answers_to(item[1], name_or_id)]
    own = (described.run for _, described in found if described.run.step is None)
    groups = {run.group for run in own if not run.is_child}
    if not found:
        groups = {_pipeline_run_of_that_name(project, name_or_id)}
    if groups - {None}:  # a pipeline run was named: its steps' runs belong to it
        found = [item for item in every if item[1].run.group in groups - {None}]
    if not found and groups - {None}:
        raise RunNotFoundError(
            f"the journals of run {name_or_id!r} are not on this machine; "
            f"type this where it ran, unless trackyard gc has deleted them"
        )
    if not found:
        raise RunNotFoundError(
            f"no run has the name, id or prefix {name_or_id!r}{_latest(project)}"
        )
    return _with_life(_in_order(_with_children(found, every)))


def runs_of_group(project: Project, group: str) -> list[PendingRun]:
    """Give the runs of one pipeline run, its own first.

    Args:
        project: The project.
        group: The pipeline run's id.
    """
    found = [item for item in _described_near(project, group) if item[1].run.group == group]
    return _with_life(_in_order(found))


def _with_children(
    found: list[tuple[Path, RunDescription]], every: Iterable[tuple[Path, RunDescription]]
) -> list[tuple[Path, RunDescription]]:
    """Add the child runs of runs, and theirs; `every` is all runs, the oldest first."""
    ids = {described.run.id for _, described in found}
    more = []
    for folder, described in every:
        run = described.run
        if run.is_child and run.parent_id in ids and run.id not in ids:
            ids.add(run.id)
            more.append((folder, described))
    return [*found, *more]


def _in_order(found: list[tuple[Path, RunDescription]]) -> list[tuple[Path, RunDescription]]:
    """Put each run before those that are nested below it, the pipeline run's own first."""

    def is_below(run: Run) -> bool:
        return run.step is not None or run.is_child

    return sorted(found, key=lambda item: (is_below(item[1].run), item[0]))


def read_entries(folder: Path) -> Iterator[tuple[Position, Entry]]:
    """Read a journal from its beginning."""
    from trackyard.journal.reader import JournalReader

    reader = JournalReader(folder)
    while entries := reader.read(1000):
        yield from entries


def _with_life(found: Iterable[tuple[Path, RunDescription]]) -> list[PendingRun]:
    from trackyard.journal.reader import is_attended
    from trackyard.recovery.finishing import PendingRun

    return [PendingRun(folder, description, is_attended(folder)) for folder, description in found]


def described_runs(project: Project) -> Iterator[tuple[Path, RunDescription]]:
    """Give the folders whose description can be read, with it, the oldest first."""
    from trackyard.journal.descriptions import load_description

    for folder in folders_of_runs(project):
        description = load_description(folder)
        if description is not None:
            yield folder, description


def _described_near(project: Project, text: str) -> list[tuple[Path, RunDescription]]:
    """Give the runs that a text may mean with their families, the oldest first.

    The store's index says which they are, but for the runs that it lacks; all runs are looked at
    where there is no index yet, or where it cannot be read.
    """
    from trackyard.journal.descriptions import load_description

    try:
        ids = _ids_near(project, text)
    except StoreError:
        ids = None
    if ids is None:
        return list(described_runs(project))
    waiting = {folder.name for folder in to_be_indexed_folders(project.home)}
    folders = [project.home / "runs" / id_ for id_ in sorted(ids | waiting)]
    described = [(folder, load_description(folder)) for folder in folders]
    return [(folder, found) for folder, found in described if found is not None]


def _ids_near(project: Project, text: str) -> set[str] | None:
    if not has_store(project) or not is_indexed(project.home):
        return None
    from trackyard.store import Store
    from trackyard.store.families import ids_of_family

    store = Store.of(project)
    try:
        own = {text} if _ID.fullmatch(text) else set()  # whatever became of its row
        return own | ids_of_family(store, text)
    finally:
        store.close()


def _latest(project: Project) -> str:
    """Name the latest run, for who asked for one that is not there."""
    from trackyard.journal.descriptions import load_description

    described = map(load_description, reversed(folders_of_runs(project)))
    found = next((known for known in described if known is not None), None)
    return f"; the latest run is {found.run.name!r}" if found else ""


def _answers_to(description: RunDescription, text: str) -> bool:
    run = description.run
    return bool(text) and (run.name == text or run.id.startswith(text) or run.group == text)


def _pipeline_run_of_that_name(project: Project, name: str) -> str | None:
    """Give its id from the store: it has no run of its own where no tracker can nest."""
    if not name or not has_store(project):
        return None
    from trackyard.store import Store

    store = Store.of(project)
    try:
        return store.find_pipeline_run(name).id
    except RunNotFoundError:
        return None
    finally:
        store.close()
