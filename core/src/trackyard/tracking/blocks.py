"""How is a block of code tracked as a run: by `start_run`, or by `tracked_step` for any runner?"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from trackyard.contract.errors import RequiredTrackerError, TrackyardError
from trackyard.contract.records import Run
from trackyard.project.configuration import Project, find_project
from trackyard.project.sources import Sources, select_sources, with_sources
from trackyard.project.trackers import Selection, Settings, Tracker, Trackers
from trackyard.system.environment import inherited_run_id, is_disabled
from trackyard.system.identifiers import new_name
from trackyard.system.interruption import Terminated, termination_as_exit
from trackyard.system.notebooks import Board, is_in_notebook
from trackyard.system.process_end import PROCESS_END
from trackyard.system.showing import Link, html_text, line
from trackyard.tracking.arguments import to_attempt, to_name, to_run_name, to_tags
from trackyard.tracking.calls import (
    ActiveRun,
    activated,
    attached_to,
    redactor_of,
    run_around,
    tracked_run_of,
)
from trackyard.tracking.containing import is_ours_to_bear, leave_spared, say_spared
from trackyard.tracking.family import group_of, trackers_of
from trackyard.tracking.indexed_runs import IndexRow
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.parents import ParentRun
from trackyard.tracking.ranked import is_tracked_elsewhere, project_of_rank
from trackyard.tracking.run_life import RunLife
from trackyard.tracking.step_records import StepRecord
from trackyard.tracking.tracked_runs import TrackedRun
from trackyard.tracking.untracked import untracked_run


def start_run(
    name: str | None = None,
    experiment: str | None = None,
    *,
    nested: bool = False,
    experiment_tracker: Selection = True,
    tags: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    capture: Sources = None,
) -> ActiveRun:
    """Start a run, without a pipeline: for a `with` block, or until `run.end()` is called.

    Without either it ends with the process: finished, or failed where an exception or an exit code
    ends that.

    Args:
        name: The run's name; made from the experiment's name and the time by default.
        experiment: The experiment that it belongs to; `default`, or that of the run around it.
        nested: Make it a child run of the run that is current here, such as a trial of a search;
            by default it is on the same trackers. Where no run is current it is as any other.
        experiment_tracker: A name, names, True for all of the active stack, None for none.
        tags: Labels of the run.
        settings: Fields to lay over the trackers' configuration, by tracker or flavor name.
        capture: Flavors whose SDK's own calls reach these trackers, or `FLAVOR=FOLDER` for
            files that are read as they grow; those of the stack by default.

    Raises:
        ConfigError: An argument or a tracker is wrong or unknown; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    given = experiment_tracker, settings, capture
    try:
        return _started_run(name, experiment, tags, given, nested=nested)
    except Exception as error:
        if not is_ours_to_bear(error):
            raise
        return untracked_run(name or "none", error)


def _started_run(
    name: str | None,
    experiment: str | None,
    tags: Mapping[str, Any] | None,
    given: tuple[Selection, Settings | None, Sources],
    *,
    nested: bool,
) -> ActiveRun:
    experiment_tracker, settings, capture = given
    outer = run_around() if nested else None
    default = outer.run.experiment if outer else "default"
    experiment = to_name(experiment or default, "experiment", "default")
    name = to_name(name, "name", "baseline") if name not in (None, "") else new_name(experiment)
    project = find_project()
    if is_tracked_elsewhere(project):
        if (inherited := inherited_run_id()) is not None:
            return joined(inherited)
        project = project_of_rank(project)
    if outer is not None and experiment_tracker is True and settings is None and capture is None:
        trackers = [] if is_disabled() else trackers_of(outer, project)
    else:
        trackers = _select(project, experiment_tracker, settings, capture)
    redactor = redactor_of(trackers)
    labels = to_tags(tags, redactor)
    parent = None if outer is None else outer.as_parent
    run = new_run(
        redactor.redact(name),
        redactor.redact(experiment),
        group=parent.group if parent else None,
        parent_id=parent.id if parent else None,
        tags=labels,
    )
    shared = group_of(outer)
    group = shared or RunGroup(project, redactor)
    more: dict[str, Any] = {"closes_group": shared is None, "says_where": parent is None}
    return opened(tracked_block(group, run, trackers, parent=parent, **more), group)


def opened(block: AbstractContextManager[ActiveRun], group: RunGroup | None = None) -> ActiveRun:
    """Enter a run's block, which is left as a `with` block is, by `end`, or with the process.

    Args:
        block: The block.
        group: Where the run belongs, if this process started it.
    """
    try:
        active = block.__enter__()
        active.opens(_Opened(block, group))
    except BaseException as error:  # a signal's handler may have raised it
        block.__exit__(type(error), error, error.__traceback__)
        raise
    return active


def joined(run_id: str) -> ActiveRun:
    """Make the run that a rank above 0 has inherited the current one, in place of one of its own.

    Args:
        run_id: The run.
    """
    found = attached_to(run_id)
    return found if found.is_muted else opened(activated(tracked_run_of(found)))


class _Opened:
    """The block of a run that has been entered: it is left once, at the latest with the process."""

    def __init__(
        self, block: AbstractContextManager[ActiveRun], group: RunGroup | None = None
    ) -> None:
        self._block: AbstractContextManager[ActiveRun] | None = block
        self._group = group
        self._process = os.getpid()
        PROCESS_END.watch()
        atexit.register(self._close_with_process)

    def take(self) -> Callable[..., bool | None]:
        """Give what leaves the block, and forget it: who drops that leaves the block, too."""
        block, self._block = self._block, None
        if block is None:
            return _nothing
        if os.getpid() == self._process:
            try:
                PROCESS_END.forget()
                atexit.unregister(self._close_with_process)
            except (MemoryError, RecursionError) as error:
                say_spared("the note that a run has ended", error)
        return partial(leave_spared, block.__exit__)

    def _close_with_process(self) -> None:
        if os.getpid() == self._process:
            error = PROCESS_END.error
            if self._group is not None and self._group.told == signal.SIGTERM:
                error = Terminated()
            with suppress(BaseException):  # Python has said it, and shows it no second time
                self.take()(type(error) if error else None, error, None)


def _nothing(*_: object) -> None:
    """Leave a block that has been left."""


@contextmanager
def tracked_step(
    *,
    pipeline: str,
    step: str,
    run: str | None = None,
    experiment_tracker: Selection = True,
    settings: Settings | None = None,
    attempt: int | None = None,
    tags: Mapping[str, Any] | None = None,
    capture: Sources = None,
) -> Iterator[ActiveRun]:
    """Track a block of code as a step of another runner's pipeline.

    It is started on the trackers, is the current run inside, and ends as the block does: finished,
    failed where it raises, killed where it is told to stop, crashed where the process dies.

    Args:
        pipeline: The pipeline's name, which is the experiment unless a tracker says otherwise.
        step: The step's name.
        run: What the runner calls this run of the pipeline; its steps become one pipeline run.
        experiment_tracker: A name, names, True for all of the active stack, None for none.
        settings: Fields to lay over the trackers' configuration, by tracker or flavor name.
        attempt: 2 or "2" for the first retry; by default a step that did not finish is retried.
        tags: Labels of the run.
        capture: Flavors whose SDK's own calls reach these trackers; those of the stack by default.

    Raises:
        ConfigError: An argument or a tracker is wrong or unknown; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """

    def made() -> AbstractContextManager[ActiveRun]:
        named, at = to_name(pipeline, "pipeline", "etl"), to_attempt(attempt)
        runner, part = to_run_name(run), to_name(step, "step", "train")
        project = find_project()
        trackers = _select(project, experiment_tracker, settings, capture)
        redactor = redactor_of(trackers)
        labels = to_tags(tags, redactor)
        if runner is not None:
            labels = {"trackyard.run_name": redactor.redact(runner), **labels}
        record = StepRecord(project, redactor, pipeline=named, run=runner, step=part, attempt=at)
        group, begun = RunGroup(project, redactor), started_step(record, named, labels)
        return tracked_block(group, begun, trackers, record)

    with entered(made, step) as active:
        yield active


@contextmanager
def entered(
    make: Callable[[], AbstractContextManager[ActiveRun]], name: str
) -> Iterator[ActiveRun]:
    """Give a run's block to code that is run in any case, also where the system starts no run.

    Args:
        make: Gives the block.
        name: What it is called where there is no run.
    """
    with ExitStack() as stack:
        try:
            block = make()
            active = block.__enter__()
        except Exception as error:
            if not is_ours_to_bear(error):
                raise
            active = stack.enter_context(untracked_run(name, error))
        else:
            stack.push(partial(leave_spared, block.__exit__))
        yield active


def started_step(record: StepRecord, pipeline: str, tags: dict[str, str]) -> Run:
    """Record that a step of another runner starts, and make the run of it.

    Args:
        record: The store's row of the step.
        pipeline: The pipeline's name.
        tags: The run's tags.

    Raises:
        ConfigError: The project's `store` is configured wrongly.
    """
    record.begin()
    if record.retry_of:
        tags = {"trackyard.retry_of": record.retry_of, **tags}
    return new_run(
        record.name,
        pipeline,
        id=record.id,
        pipeline=pipeline,
        step=record.name,
        attempt=record.attempt,
        group=record.group,
        tags=tags,
    )


@contextmanager
def tracked_block(
    group: RunGroup,
    run: Run,
    trackers: list[Tracker],
    record: StepRecord | None = None,
    *,
    parent: ParentRun | None = None,
    closes_group: bool = True,
    says_where: bool = False,
) -> Iterator[ActiveRun]:
    """Give a run its whole life around a block of code.

    Args:
        group: Where the run belongs.
        run: The run.
        trackers: Its trackers.
        record: The store's row, of another runner's step; it has begun.
        parent: Of a child run, the run that it belongs to.
        closes_group: Whether it is the group's only run, but for child runs.
        says_where: Print its addresses.
    """
    row = IndexRow(group.project) if record is None or record.group is None else record
    life = RunLife(group, row, parent=parent, closes_group=closes_group)
    with life, life:
        tracked = life.start(run, trackers, _say_where if says_where else None)
        with termination_as_exit(life.note_signal), activated(tracked) as active:
            yield active


def _say_where(tracked: TrackedRun) -> None:
    """Print where a run can be watched, to stderr, unless lines about progress are unwanted."""
    wish = os.environ.get("TRACKYARD_PROGRESS")
    if wish == "0" or sys.stderr is None:
        return
    if wish != "plain" and is_in_notebook():
        _show_where(tracked)
        return
    with suppress(OSError, ValueError):  # it is closed
        root = tracked.group.project.root if tracked.group is not None else Path()
        # The project of the script, or of a variable, is not the one that one would look in.
        where = "" if Path.cwd().is_relative_to(root.absolute()) else f" in {root}"
        for url in tracked.urls.values():
            sys.stderr.write(line(f"run {tracked.run.name}{where}  {url}") + "\n")
        sys.stderr.flush()


def _show_where(tracked: TrackedRun) -> None:
    """Show links in a notebook: there stderr is red."""
    links = [html_text(Link(name, url)) for name, url in tracked.urls.items() if url]
    if links:
        with suppress(Exception):  # whatever a front end raises must not fail a training run
            Board().show(
                f"<p>run {html_text(Link(tracked.run.name, None))}: {', '.join(links)}</p>"
            )


def _select(
    project: Project, selection: Selection, settings: Settings | None, capture: Sources
) -> list[Tracker]:
    if is_disabled():
        return []
    try:
        trackers = Trackers(project)
        return with_sources(trackers.select(selection, settings), select_sources(trackers, capture))
    except (MemoryError, SystemError, TrackyardError, OSError, ImportError) as error:
        if not is_ours_to_bear(error):
            raise
        if _may_be_required(project, settings):
            raise RequiredTrackerError(f"trackers may be required, and are not: {error}") from None
        say_spared("trackers, and what is logged stays in the journal", error)
        return []


def _may_be_required(project: Project, settings: Settings | None) -> bool:
    """Tell whether any tracker is required, though none can be read as a whole."""
    tables: list[Any] = [*(settings or {}).values()]
    configured = project.table.get("experiment_trackers")
    if isinstance(configured, Mapping):
        tables += configured.values()
    is_named = any("TRACKER" in name and name.endswith("REQUIRED") for name in os.environ)
    return is_named or any(isinstance(t, Mapping) and t.get("required") for t in tables)
