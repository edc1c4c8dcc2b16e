"""How does a run go on that has ended, or whose process has died: by `resume_run`?"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from trackyard.contract.errors import NewerFormatError, RunNotFoundError, TrackyardError
from trackyard.contract.records import Run
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.pending import is_indexed, to_be_indexed_folders
from trackyard.journal.reader import latest_session
from trackyard.project.configuration import Project, find_project
from trackyard.project.sources import select_sources
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.autopsy import find_or_write_end
from trackyard.recovery.trusting import tracker_for
from trackyard.system.environment import is_disabled
from trackyard.system.suggestions import did_you_mean
from trackyard.tracking.arguments import to_name
from trackyard.tracking.blocks import opened, start_run, tracked_block
from trackyard.tracking.calls import ActiveRun, redactor_of
from trackyard.tracking.containing import is_ours_to_bear
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.parents import ParentRun
from trackyard.tracking.ranked import is_tracked_elsewhere
from trackyard.tracking.sessions import refuse_running
from trackyard.tracking.untracked import untracked_run

logger = logging.getLogger("trackyard")


def resume_run(name_or_id: str, experiment: str | None = None) -> ActiveRun:
    """Go on with a run of `start_run` that has ended, or whose process has died.

    It is the same run, here and on each of its trackers: what is logged is added to it, it is
    running until it ends once more, and its status is that of its last end.

    Args:
        name_or_id: Its id, or its name: of several runs of that name the latest is meant.
        experiment: The experiment that it belongs to, where several have a run of that name.

    Raises:
        RunNotFoundError: There is no such run here, or several experiments have one.
        TrackyardError: It is running, or no run of `start_run`.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    asked = to_name(name_or_id, "name_or_id", "baseline")
    try:
        return _resumed(asked, experiment)
    except Exception as error:
        if not is_ours_to_bear(error):
            raise
        return untracked_run(asked, error)


def _resumed(asked: str, experiment: str | None) -> ActiveRun:
    project = find_project()
    if is_disabled() or is_tracked_elsewhere(project):
        return start_run(asked, experiment)
    found = find_resumable(project, asked, experiment)
    group = RunGroup(project, redactor_of(found.trackers))
    says_where = found.parent is None
    block = tracked_block(
        group, found.run, found.trackers, parent=found.parent, says_where=says_where
    )
    return opened(block, group)


@attrs.frozen
class ResumableRun:
    """A run that has ended and is about to go on.

    Attributes:
        run: The run, as its next session has it.
        trackers: Its trackers and sources, as they are configured now.
        parent: The run that it stands below, or None.
    """

    run: Run
    trackers: list[Tracker]
    parent: ParentRun | None


def find_resumable(project: Project, asked: str, experiment: str | None = None) -> ResumableRun:
    """Find a run that no pipeline drives, to go on with it; one whose process died has ended.

    Args:
        project: The project.
        asked: Its id or name, as for `resume_run`.
        experiment: Its experiment, where several have a run of that name.

    Raises:
        RunNotFoundError: There is no such run here, or several experiments have one.
        TrackyardError: It is running, or belongs to a pipeline.
    """
    folder, description = _find(project, asked, experiment)
    if find_or_write_end(folder) is None:
        refuse_running(folder, description.run.name)
    run = attrs.evolve(
        description.run, folder=Path(), attached=False, resumed=latest_session(folder) + 1
    )
    trackers = list(_trackers_of(description, project))
    return ResumableRun(run, trackers, _parent_of(description.run, folder))


def _find(project: Project, asked: str, experiment: str | None) -> tuple[Path, RunDescription]:
    """Find the run that is meant.

    Raises:
        RunNotFoundError: There is none, or there are several.
        TrackyardError: It is a pipeline's.
    """
    folder = project.home / "runs" / asked
    if re.fullmatch(r"[0-9a-f]{32}", asked) and (found := load_description(folder)) is not None:
        if _is_of_a_pipeline(found.run):
            raise TrackyardError(
                f"run {asked} belongs to pipeline {found.run.pipeline!r}; only runs of start_run "
                "are resumed; a pipeline's is by: trackyard run PIPELINE --resume RUN"
            )
        return folder, found
    named = list(_of_name(project, asked))
    wanted = [one for one in named if experiment in (None, one[1].run.experiment)]
    experiments = sorted({found.run.experiment for _, found in wanted})
    if not wanted:
        raise RunNotFoundError(_nothing(project, asked, experiment, named))
    if len(experiments) > 1:
        which = f"resume_run({asked!r}, experiment={experiments[0]!r})"
        several = ", ".join(map(repr, experiments))
        raise RunNotFoundError(f"the experiments {several} have a run {asked!r}; name one: {which}")
    return max(wanted, key=lambda one: (one[1].run.started_at, one[1].run.id))


def _is_of_a_pipeline(run: Run) -> bool:
    return run.step is not None or run.pipeline is not None


def _of_name(project: Project, name: str) -> Iterator[tuple[Path, RunDescription]]:
    """Give the runs of this name that no pipeline drives, as far as they are here."""
    for folder in _folders(project, name):
        with suppress(NewerFormatError):  # of other names, too
            found = load_description(folder)
            if found is not None and found.run.name == name and not _is_of_a_pipeline(found.run):
                yield folder, found


def _folders(project: Project, name: str) -> Iterable[Path]:
    """Give the folders where runs of a name may be: all of them where there is no index."""
    runs = project.home / "runs"
    if is_indexed(project.home):
        from trackyard.store.listing import ids_of_runs

        with suppress(TrackyardError):  # the store is away
            known = [runs / id_ for id_ in ids_of_runs(project, name)]
            return dict.fromkeys([*known, *to_be_indexed_folders(project.home)])
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def _nothing(
    project: Project,
    asked: str,
    experiment: str | None,
    named: list[tuple[Path, RunDescription]],
) -> str:
    if named:
        others = ", ".join(sorted({repr(found.run.experiment) for _, found in named}))
        return f"experiment {experiment!r} has no run {asked!r}; there is one in {others}"
    names = {found.run.name for _, found in _latest(project)}
    hint = did_you_mean(asked, sorted(names))
    return (
        f"no run of start_run on this machine has the name or id {asked!r}{hint}; "
        "the runs that there are are shown by: trackyard runs list"
    )


def _latest(project: Project, most: int = 100) -> Iterator[tuple[Path, RunDescription]]:
    runs = project.home / "runs"
    folders = sorted(runs.iterdir(), reverse=True)[:most] if runs.is_dir() else []
    for folder in folders:
        with suppress(NewerFormatError):
            found = load_description(folder)
            if found is not None and not _is_of_a_pipeline(found.run):
                yield folder, found


def _trackers_of(description: RunDescription, project: Project) -> Iterator[Tracker]:
    """Give the run's trackers and sources; one that is not configured now is named, and left."""
    trackers = Trackers(project)
    for source in description.sources:
        yield from select_sources(trackers, source.source)
    for known in description.trackers:
        try:
            yield tracker_for(description, known, project, trackers)
        except TrackyardError as error:
            logger.warning(
                "run %r goes on without tracker %r: %s", description.run.name, known.name, error
            )


def _parent_of(run: Run, folder: Path) -> ParentRun | None:
    """Give the run that a child run stands below, where that is still here."""
    above = folder.parent / run.parent_id if run.parent_id else None
    description = load_description(above) if above is not None else None
    if above is None or description is None:
        return None
    names = frozenset(tracker.name for tracker in description.trackers)
    return ParentRun(description.run.id, above, run.group or description.run.id, names)
