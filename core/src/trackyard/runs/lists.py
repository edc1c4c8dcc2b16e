"""Which runs are there: of pipelines, and of `start_run` blocks?"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from trackyard.contract.errors import NewerFormatError
from trackyard.journal.pending import is_indexed, to_be_indexed_folders
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.runs.folders import folders_of_runs
from trackyard.store.listing import RunFilter, has_store, known_ids, list_rows
from trackyard.store.rows import ListedRow
from trackyard.system.showing import Shown, ShownList, says

if TYPE_CHECKING:  # needed for runs of `start_run` blocks alone, and they cost
    from trackyard.journal.descriptions import RunDescription

RunKind = Literal["pipeline", "run", "step"]

_CHUNK = 2000

logger = logging.getLogger("trackyard")

_Listed = TypeVar("_Listed", bound=Any)  # has an id and a status


@attrs.frozen(repr=False)
class RunSummary(Shown):
    """A run in a list."""

    name: str = attrs.field(metadata=says("Its name"))
    pipeline: str = attrs.field(metadata=says("Its pipeline, or its experiment without one"))
    status: str = attrs.field(
        metadata=says(
            "`running`, `finished`, `failed`, `killed`, `crashed`; `unreachable` of a run on "
            "another machine that has given no sign of life for 5 minutes"
        )
    )
    seconds: float | None = attrs.field(metadata=says("From its start to its end, or to now"))
    started_at: datetime = attrs.field(metadata=says("When it started (UTC)"))
    ended_at: datetime | None = attrs.field(metadata=says("When it ended"))
    id: str = attrs.field(metadata=says("Its id"))
    kind: RunKind = attrs.field(
        metadata=says("`pipeline`; `run` of a block; `step` of another tool that names no run")
    )
    stack: str = attrs.field(
        metadata=says("The stack of a pipeline run; empty where another tool runs it")
    )
    parent_id: str | None = attrs.field(
        default=None, metadata=says("Of a child run, the id of the run that it was started in")
    )


class ListedRuns(ShownList[RunSummary]):
    """Runs whose names lead, in notebooks, to the page of the first tracker that has one.

    Args:
        runs: The runs.
        project: The project.
    """

    def __init__(self, runs: Iterable[RunSummary], project: Project) -> None:
        super().__init__(runs)
        self._project = project

    def _url_of(self, item: RunSummary, url: str | None) -> str | None:
        return url or url_of(self._project, item.id)


def url_of(project: Project, id: str) -> str | None:
    """Give a run's address on the first of its trackers that has one, as far as it is known here.

    Args:
        project: The project.
        id: The run's id.
    """
    from trackyard.journal.descriptions import load_description
    from trackyard.runs.health import health_of

    folder = project.home / "runs" / id
    try:
        description = load_description(folder)
        health = health_of(folder, description) if description is not None else ()
    except NewerFormatError:
        return None
    return next((h.url for h in health if h.url), None)


def list_runs(project: Project, wanted: RunFilter) -> list[RunSummary]:
    """List runs that fit a filter; steps and child runs are not listed by themselves.

    They come from the store's index; those that it lacks, as it was away, from their journals. The
    child runs of a run are found by its folder: other runs are not looked at for those.

    Args:
        project: The project.
        wanted: Which of them, in which order, how many.
    """
    enough = wanted.skip + wanted.most
    if wanted.statuses and has_store(project):
        _settle(project)
    rows = _of_blocks(project, wanted, enough)
    if not wanted.parents:
        first = attrs.evolve(wanted, most=enough, skip=0)
        found = [_of_row(project, row) for row in list_rows(project, first)]
        rows += with_unreachable(project, found)
    rows.sort(
        key=lambda run: (_sort_key(run, wanted.sort), run.id), reverse=not wanted.is_ascending
    )
    return rows[wanted.skip : enough]


def with_unreachable(project: Project, runs: list[_Listed]) -> list[_Listed]:
    """Show runs of a team as unreachable whose machine has fallen silent.

    Args:
        project: The project.
        runs: Runs as they stand in a list.
    """
    open_ = {run.id for run in runs if run.status == "running" and not _is_here(project, run.id)}
    if not open_ or not names_store(project):
        return runs
    from trackyard.store import Store
    from trackyard.store.lives import UNREACHABLE, unreachable_ids

    store = Store.of(project)
    try:
        silent = unreachable_ids(store, open_)
    finally:
        store.close()
    return [attrs.evolve(r, status=UNREACHABLE) if r.id in silent else r for r in runs]


def _is_here(project: Project, id: str) -> bool:
    """Tell whether files say here of a run whether it lives."""
    places = project.home / "runs" / id, project.home / "drivers" / f"{id}.lock"
    return any(place.exists() for place in places)


def _settle(project: Project) -> None:
    """Have the store say which runs have died: it is asked for statuses."""
    from trackyard.recovery.settling import settle
    from trackyard.store import Store

    store = Store.of(project)
    try:
        settle(project, store)
    finally:
        store.close()


def moment(nanoseconds: int) -> datetime:
    """Give a time as a datetime."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def nanoseconds(moment: datetime | None) -> int | None:
    """Give a datetime as nanoseconds since the epoch."""
    return None if moment is None else int(moment.timestamp() * 1e9)


def seconds_of(started_at: int, ended_at: int | None) -> float:
    """Give the seconds from start to end, or to now.

    Args:
        started_at: In nanoseconds since the epoch.
        ended_at: Likewise, or None for a run that goes on.
    """
    return ((ended_at or time.time_ns()) - started_at) / 1e9


def seconds_of_row(row: ListedRow) -> float:
    """Give how long a run was open; what lies between its sessions counts not.

    Args:
        row: The run, as the store has it.
    """
    return seconds_of((row.started_at or 0) + row.paused, row.ended_at)


def _of_row(project: Project, row: ListedRow) -> RunSummary:
    folder = project.home / "runs" / row.id
    if row.status == "running" and row.kind != "pipeline" and folder.is_dir():
        from trackyard.journal.descriptions import load_description

        description = load_description(folder)  # nobody may have told the store of its death
        if description is not None:
            return attrs.evolve(summary_of(folder, description), name=row.name)
    started_at = row.started_at or 0
    return RunSummary(
        name=row.name,
        pipeline=row.experiment,
        status=row.status,
        seconds=seconds_of_row(row),
        started_at=moment(started_at),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        id=row.id,
        kind=_KINDS[row.kind],
        stack=row.stack,
    )


_KINDS: dict[str, RunKind] = {
    "pipeline": "pipeline",
    "run": "run",
    "imported": "run",
    "step": "step",
}


def _of_blocks(project: Project, wanted: RunFilter, enough: int) -> list[RunSummary]:
    """List runs that the store does not know; the latest alone where that is what is wanted."""
    found: list[RunSummary] = []
    is_newest_first = wanted.sort == "started" and not wanted.is_ascending
    if wanted.parents:
        below = (folder for id_ in wanted.parents for folder in child_folders(project, id_))
        folders = iter(sorted(below, reverse=True))
    else:
        folders = _unknown_folders(project)
    newer = 0
    for folder in folders:
        try:
            run = _of_folder(folder, wanted)
        except NewerFormatError:  # the others are listed all the same
            newer += 1
            continue
        if run is not None:
            found.append(run)
            if is_newest_first and len(found) >= enough:
                break
    if newer:
        logger.warning(
            "%d run(s) are left out, each was written by a newer Trackyard; "
            "type: pip install --upgrade trackyard",
            newer,
        )
    return found


def child_folders(project: Project, parent: str) -> list[Path]:
    """Give the folders of the runs that were started inside a run, the oldest first.

    Args:
        project: The project.
        parent: The run's id.
    """
    from trackyard.journal.family import children_of

    runs = project.home / "runs"
    return [runs / child for child in children_of(runs / parent)]


def _unknown_folders(project: Project) -> Iterator[Path]:
    """Give the folders of runs that the store does not know, the latest first."""
    if is_indexed(project.home):
        folders = to_be_indexed_folders(project.home)[::-1]
    else:
        folders = folders_of_runs(project)[::-1]
    for start in range(0, len(folders), _CHUNK):
        chunk = folders[start : start + _CHUNK]
        known = known_ids(project, chunk[-1].name, chunk[0].name)
        yield from (folder for folder in chunk if folder.name not in known)


def _of_folder(folder: Path, wanted: RunFilter) -> RunSummary | None:
    from trackyard.journal.descriptions import load_description

    description = load_description(folder)
    if description is None or not _fits(description, wanted) or not _has(folder, wanted):
        return None
    summary = summary_of(folder, description)
    return summary if not wanted.statuses or summary.status in wanted.statuses else None


def summary_of(folder: Path, description: RunDescription) -> RunSummary:
    """Describe the run of one folder.

    Args:
        folder: The run's folder.
        description: What is written down there of the run.
    """
    from trackyard.journal.openings import openings_of

    run = description.run
    openings = openings_of(folder, run.started_at)
    status, ended_at = openings[-1].status, openings[-1].ended_at
    is_unknown = status == "crashed" and not ended_at
    seconds = None if is_unknown else sum(opening.seconds for opening in openings)
    return RunSummary(
        name=run.name,
        pipeline=run.pipeline or run.experiment,
        status=status,
        seconds=seconds,
        started_at=moment(run.started_at),
        ended_at=None if ended_at is None else moment(ended_at),
        id=run.id,
        kind="run" if run.step is None else "step",
        stack="",
        parent_id=run.parent_id if run.is_child else None,
    )


def _has(folder: Path, wanted: RunFilter) -> bool:
    """Tell whether a run's journal says what is wanted of its user, commit and tags."""
    if wanted.user is None and wanted.commit is None and not wanted.tags:
        return True
    from trackyard.contract.context import Git
    from trackyard.journal.contexts import context_and_tags
    from trackyard.journal.descriptions import load_description

    description = load_description(folder)
    context, logged = context_and_tags(folder)
    tags = {**(description.run.tags if description else {}), **logged}
    commit = (context.git or Git()).commit or ""
    return (
        wanted.user in (None, context.user)
        and (wanted.commit is None or commit.startswith(wanted.commit))
        and all(tags.get(key) == text for key, text in wanted.tags)
    )


def _fits(description: RunDescription, wanted: RunFilter) -> bool:
    run = description.run
    if run.step is None and run.pipeline is not None:
        return False  # a pipeline run's own tracker run
    if run.parent_id not in wanted.parents if run.is_child else wanted.parents:
        return False
    return (
        wanted.pipeline in (None, run.pipeline or run.experiment)
        and (wanted.since is None or run.started_at >= wanted.since)
        and (wanted.until is None or run.started_at < wanted.until)
        and (wanted.tracker is None or any(t.name == wanted.tracker for t in description.trackers))
    )


def _sort_key(run: RunSummary, key: str) -> Any:
    if key == "started":
        return run.started_at
    if key == "ended":
        return run.ended_at or datetime.max.replace(tzinfo=UTC)
    if key == "duration":
        return (run.ended_at is None, run.seconds or 0.0)
    return getattr(run, key)
