"""Which runs' folders are not needed any more, and how are they deleted?

A journal is the one copy of a run until every tracker has acknowledged all of it. What some
tracker lacks, refused, or keeps offline is never deleted here, nor is what no tracker ever got. A
note of where its trackers have a run is left, so that its files can be read from them.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from trackyard.contract.errors import NewerFormatError, TrackyardError
from trackyard.journal.children import has_living_children
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.durability import load_journal_options
from trackyard.journal.pending import (
    is_indexed,
    mark_as_complete,
    mark_as_indexed,
    mark_as_shared,
    mark_as_uploaded,
    mark_as_whole,
    to_be_indexed_folders,
    to_be_shared_folders,
)
from trackyard.journal.reader import is_attended
from trackyard.journal.remains import keep_remains
from trackyard.project.configuration import Project
from trackyard.runs.folders import names_of_folders
from trackyard.runs.health import health_of
from trackyard.store.listing import has_store
from trackyard.system.locks import FileLock
from trackyard.system.showing import Shown, says

if TYPE_CHECKING:
    from trackyard.store import Store

logger = logging.getLogger("trackyard")

MONTH = 30 * 24 * 3600.0
_YOUNG, _UNTRACKED = "it is too young", "no tracker has it"
# Reasons that are nobody's to change.
_QUIET = (_YOUNG, _UNTRACKED)
# So many folders are asked for at once.
_AT_ONCE = 2000


@attrs.frozen(repr=False)
class CollectedRun(Shown):
    """What became of a run's folder."""

    run: str = attrs.field(metadata=says("The run's name; its id where it has none"))
    state: Literal["deleted", "would be deleted", "kept"] = attrs.field(
        metadata=says("What became of it")
    )
    id: str = attrs.field(metadata=says("The run's id"))
    size: int = attrs.field(metadata=says("Bytes on the disk"))
    reason: str = attrs.field(metadata=says("Why it is kept"))


@attrs.frozen
class Collected:
    """What became of the folders of runs.

    Attributes:
        runs: Those that were deleted, and those that somebody can do something about.
        kept: How many others are kept, by why.
    """

    runs: list[CollectedRun]
    kept: Mapping[str, int]


def collect_garbage(
    project: Project, *, older_than: float = MONTH, is_dry_run: bool = False
) -> Collected:
    """Delete the folders of runs that every tracker has acknowledged.

    The runs of a pipeline run go together: their trackers nest them by what lies in the folders.
    Of a run that is young, or that the store has on no tracker, nothing is read.

    Args:
        project: The project.
        older_than: Seconds since their folder was last written to, at least.
        is_dry_run: Only say what would be deleted.
    """
    kept = Counter[str]()
    with _Index(project) as index:
        old = list(_old_folders(project, index, older_than, kept))
        unshared = _unshared(project)
        folders = {folder: _look_at(folder, older_than, unshared) for folder in old}
        groups = index.groups_with_others(folders)
    groups |= {_group_of(found) for found, reason in folders.values() if found and reason}
    done: Literal["deleted", "would be deleted"] = "would be deleted" if is_dry_run else "deleted"
    collected = []
    for folder, (found, kept_for) in folders.items():
        reason = kept_for
        if reason in _QUIET:
            kept[reason] += 1
            continue
        if not reason and found is not None and _group_of(found) in groups:
            reason = "another run of its pipeline run, or of its parent, is kept"
        size = _size(folder)
        if not reason and not is_dry_run:
            reason = _collect(folder)
        name = found.run.name if found is not None else folder.name
        collected.append(CollectedRun(name, "kept" if reason else done, folder.name, size, reason))
    return Collected(collected, kept)


def _group_of(description: RunDescription) -> str:
    return description.run.group or description.run.id


class _Index:
    """What the store knows of folders, so that they need not be read; nothing where it is away.

    Args:
        project: Whose folders.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store: Store | None = None
        self._lacking = {folder.name for folder in to_be_indexed_folders(project.home)}

    def __enter__(self) -> Self:
        if has_store(self._project) and is_indexed(self._project.home):
            from trackyard.store import Store

            with suppress(TrackyardError):
                self._store = Store.of(self._project)
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def knows(self, folder: Path) -> bool:
        """Tell whether the store has what there is to know of a run."""
        return self._store is not None and folder.name not in self._lacking

    def without_tracker(self, folders: Sequence[Path]) -> set[str]:
        """Give the names of those folders, which are in order, whose runs are on no tracker."""
        if self._store is None or not folders:
            return set()
        from trackyard.store.families import groups_without_tracker

        found = groups_without_tracker(self._store, folders[0].name, folders[-1].name)
        return found.keys() - self._lacking

    def groups_with_others(self, folders: Mapping[Path, Any]) -> set[str]:
        """Give the groups of which a run has a folder that is none of these."""
        if self._store is None:
            return set()
        from trackyard.store.families import ids_of_groups

        groups = {_group_of(found) for found, _ in folders.values() if found is not None}
        runs = self._project.home / "runs"
        return {
            group
            for group, ids in ids_of_groups(self._store, groups).items()
            if any(runs / id_ not in folders and (runs / id_).is_dir() for id_ in ids)
        }


def _old_folders(
    project: Project, index: _Index, older_than: float, kept: Counter[str]
) -> Iterator[Path]:
    """Give the folders that have to be looked at, and count the others by why they are kept."""
    names, runs = names_of_folders(project), project.home / "runs"
    latest = time.time() - older_than
    for start in range(0, len(names), _AT_ONCE):
        old = []
        for folder in [runs / name for name in names[start : start + _AT_ONCE]]:
            if index.knows(folder) and (_modified(folder) or 0.0) > latest:
                kept[_YOUNG] += 1
            else:
                old.append(folder)
        untracked = index.without_tracker(old)
        for folder in old:
            if folder.name in untracked:
                kept[_UNTRACKED] += 1
            else:
                yield folder


def _collect(folder: Path) -> str:
    """Delete a run's folder, but for where its trackers have it; give why not."""
    try:
        keep_remains(folder)
    except OSError as error:
        return f"where its trackers have it cannot be noted: {error.strerror}"
    return delete_folder(folder)


def unacknowledged(folder: Path, description: RunDescription) -> str:
    """Say what some tracker does not have of a run; an empty text where all have everything.

    Args:
        folder: The run's folder.
        description: What is written down there of the run and its trackers.
    """
    if not description.trackers:
        return _UNTRACKED
    for health in health_of(folder, description):
        if health.state == "offline":
            return f"{health.tracker} keeps it offline; type: trackyard sync"
        if health.state == "pending":
            return f"{health.tracker} does not have all of it; type: trackyard sync"
        if health.quarantined:
            return f"{health.tracker} refused {health.quarantined} record(s)"
    return ""


def delete_folder(folder: Path) -> str:
    """Delete a run's folder, unless a process is at work on it; give why not."""
    locks = [FileLock(path) for path in folder.glob("*/delivery.lock")]
    try:
        is_used = is_attended(folder) or has_living_children(folder)
        if is_used or not all(lock.acquire() for lock in locks):
            return "a process is at work on it"
        # Out of the way first: what is half deleted must not look like a run.
        grave = folder.parent.parent / "deleted"
        if grave.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, f"{grave} is a link")
        grave.mkdir(mode=0o700, exist_ok=True)
        folder = folder.rename(grave / folder.name)
    except OSError as error:
        return f"it cannot be deleted: {error.strerror}"
    finally:
        for lock in locks:
            lock.release()
    original = grave.parent / "runs" / folder.name
    mark_as_complete(original)
    mark_as_uploaded(original)
    mark_as_whole(original)
    mark_as_indexed(original)
    mark_as_shared(original)
    shutil.rmtree(grave, ignore_errors=True)
    return ""


def _unshared(project: Project) -> set[Path]:
    """Give the folders of runs whose journals the team's artifact store is to have, and lacks."""
    is_wanted = load_journal_options(project).upload
    return {*to_be_shared_folders(project.home)} if is_wanted else set()


def _look_at(
    folder: Path, older_than: float, unshared: Container[Path]
) -> tuple[RunDescription | None, str]:
    """Give a run's description, and why its folder is kept, or an empty text."""
    description = None
    try:
        description = load_description(folder)
        reason = _reason(folder, description, older_than)
        if not reason and folder in unshared:
            reason = "the artifact store does not have its journal; type: trackyard sync"
        return description, reason
    except NewerFormatError as error:
        return description, str(error)


def _reason(folder: Path, description: RunDescription | None, older_than: float) -> str:
    """Say why a folder is kept; an empty text where it is not."""
    if description is None:
        return "it cannot be read"
    if is_attended(folder):
        return "it is running, or being delivered"
    if has_living_children(folder):
        return "a child of its process lives"
    reason = unacknowledged(folder, description)
    if reason:
        return reason
    return "" if time.time() - _last_written(folder) >= older_than else _YOUNG


def _last_written(folder: Path) -> float:
    paths = [folder, *folder.glob("*.tyj"), *folder.glob("*/delivery.json")]
    return max((time_ for path in paths if (time_ := _modified(path)) is not None), default=0.0)


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _size(folder: Path) -> int:
    """Give the bytes that a folder takes on the disk."""
    return sum(_blocks(_files(folder)))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_symlink())


def _blocks(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        try:
            yield path.stat().st_blocks * 512
        except OSError:
            continue
