"""How is a block of code tracked as a run: by `start_run`, or by `tracked_step` for any runner?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from trackyard.contract.records import Run
from trackyard.project.configuration import Project, find_project
from trackyard.project.trackers import Selection, Settings, Tracker, Trackers
from trackyard.system.environment import is_disabled
from trackyard.system.identifiers import new_name
from trackyard.system.interruption import termination_as_exit
from trackyard.system.showing import line
from trackyard.tracking.arguments import to_attempt, to_name, to_run_name, to_tags
from trackyard.tracking.calls import ActiveRun, activated, redactor_of, run_around
from trackyard.tracking.family import group_of, trackers_of
from trackyard.tracking.indexed_runs import IndexRow
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.run_life import RunLife
from trackyard.tracking.step_records import StepRecord
from trackyard.tracking.tracked_runs import ParentRun, TrackedRun, new_run


@contextmanager
def start_run(
    name: str | None = None,
    experiment: str | None = None,
    *,
    nested: bool = False,
    experiment_tracker: Selection = True,
    tags: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> Iterator[ActiveRun]:
    """Track a block of code as one run, without a pipeline.

    Args:
        name: The run's name; made from the experiment's name and the time by default.
        experiment: The experiment that it belongs to; `default`, or that of the run around it.
        nested: Make it a child run of the run that is current here, such as a trial of a search;
            by default it is on the same trackers. Where no run is current it is as any other.
        experiment_tracker: A name, names, True for all of the active stack, None for none.
        tags: Labels of the run.
        settings: Fields to lay over the trackers' configuration, by tracker or flavor name.

    Raises:
        ConfigError: An argument or a tracker is wrong or unknown; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    outer = run_around() if nested else None
    default = outer.run.experiment if outer else "default"
    experiment = to_name(experiment or default, "experiment", "default")
    name = to_name(name, "name", "baseline") if name not in (None, "") else new_name(experiment)
    project = find_project()
    if outer is not None and experiment_tracker is True and settings is None:
        trackers = [] if is_disabled() else trackers_of(outer, project)
    else:
        trackers = _select(project, experiment_tracker, settings)
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
    group = group_of(outer)
    with tracked_block(
        group or RunGroup(project, redactor),
        run,
        trackers,
        parent=parent,
        closes_group=not group,
        says_where=parent is None,
    ) as active:
        yield active


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

    Raises:
        ConfigError: An argument or a tracker is wrong or unknown; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    pipeline, step = to_name(pipeline, "pipeline", "etl"), to_name(step, "step", "train")
    run, attempt = to_run_name(run), to_attempt(attempt)
    project = find_project()
    trackers = _select(project, experiment_tracker, settings)
    redactor = redactor_of(trackers)
    labels = to_tags(tags, redactor)
    if run is not None:
        labels = {"trackyard.run_name": redactor.redact(run), **labels}
    record = StepRecord(project, redactor, pipeline=pipeline, run=run, step=step, attempt=attempt)
    group, made = RunGroup(project, redactor), started_step(record, pipeline, labels)
    with tracked_block(group, made, trackers, record) as active:
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
        tracked = life.start(run, trackers)
        if says_where:
            _say_where(tracked)
        with termination_as_exit(life.note_signal), activated(tracked) as active:
            yield active


def _say_where(tracked: TrackedRun) -> None:
    """Print where a run can be watched, to stderr, unless lines about progress are unwanted."""
    if os.environ.get("TRACKYARD_PROGRESS") == "0" or sys.stderr is None:
        return
    with suppress(OSError, ValueError):  # it is closed
        for url in tracked.urls.values():
            sys.stderr.write(line(f"run {tracked.run.name}  {url}") + "\n")
        sys.stderr.flush()


def _select(project: Project, selection: Selection, settings: Settings | None) -> list[Tracker]:
    return [] if is_disabled() else Trackers(project).select(selection, settings)
