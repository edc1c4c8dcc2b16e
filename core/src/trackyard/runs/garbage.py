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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import attrs

from trackyard.contract.errors import NewerFormatError
from trackyard.journal.children import has_living_children
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.pending import mark_as_complete, mark_as_uploaded
from trackyard.journal.reader import is_attended
from trackyard.project.configuration import Project
from trackyard.runs.folders import folders_of_runs
from trackyard.runs.health import health_of
from trackyard.runs.remains import keep_remains
from trackyard.system.locks import FileLock
from trackyard.system.showing import Shown, says

logger = logging.getLogger("trackyard")

MONTH = 30 * 24 * 3600.0


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


def collect_garbage(
    project: Project, *, older_than: float = MONTH, is_dry_run: bool = False
) -> list[CollectedRun]:
    """Delete the folders of runs that every tracker has acknowledged.

    The runs of a pipeline run go together: their trackers nest them by what lies in the folders.

    Args:
        project: The project.
        older_than: Seconds since their folder was last written to, at least.
        is_dry_run: Only say what would be deleted.
    """
    folders = {folder: _look_at(folder, older_than) for folder in folders_of_runs(project)}
    kept_groups = {
        found.run.group or found.run.id
        for found, reason in folders.values()
        if found is not None and reason
    }
    done: Literal["deleted", "would be deleted"] = "would be deleted" if is_dry_run else "deleted"
    collected = []
    for folder, (found, kept_for) in folders.items():
        reason = kept_for
        if not reason and found is not None and (found.run.group or found.run.id) in kept_groups:
            reason = "another run of its pipeline run, or of its parent, is kept"
        size = _size(folder)
        if not reason and not is_dry_run:
            reason = _collect(folder)
        name = found.run.name if found is not None else folder.name
        collected.append(CollectedRun(name, "kept" if reason else done, folder.name, size, reason))
    return collected


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
        return "no tracker has it"
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
    shutil.rmtree(grave, ignore_errors=True)
    return ""


def _look_at(folder: Path, older_than: float) -> tuple[RunDescription | None, str]:
    """Give a run's description, and why its folder is kept, or an empty text."""
    description = None
    try:
        description = load_description(folder)
        return description, _reason(folder, description, older_than)
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
    return "" if time.time() - _last_written(folder) >= older_than else "it is too young"


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
