"""How is a block of code tracked as a run: by `start_run`, or by `tracked_step` for any runner?"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trackyard.contract.records import Failure, Run
from trackyard.project.configuration import Project, find_project
from trackyard.project.trackers import Selection, Settings, Tracker, Trackers
from trackyard.system.environment import is_disabled
from trackyard.system.identifiers import new_name
from trackyard.system.interruption import termination_as_exit
from trackyard.tracking.arguments import to_attempt, to_name, to_run_name, to_tags
from trackyard.tracking.calls import ActiveRun, activated, redactor_of
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.step_records import StepRecord
from trackyard.tracking.tracked_runs import TrackedRun, failure_of, new_run


@contextmanager
def start_run(
    name: str | None = None,
    experiment: str = "default",
    *,
    experiment_tracker: Selection = True,
    tags: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> Iterator[ActiveRun]:
    """Track a block of code as one run, without a pipeline.

    Args:
        name: The run's name; made from the experiment's name and the time by default.
        experiment: The experiment that it belongs to.
        experiment_tracker: A name, names, True for all of the active stack, None for none.
        tags: Labels of the run.
        settings: Fields to lay over the trackers' configuration, by tracker or flavor name.

    Raises:
        ConfigError: An argument or a tracker is wrong or unknown; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    experiment = "default" if experiment == "" else to_name(experiment, "experiment", "default")
    name = to_name(name, "name", "baseline") if name not in (None, "") else new_name(experiment)
    project = find_project()
    trackers = _select(project, experiment_tracker, settings)
    redactor = redactor_of(trackers)
    labels = to_tags(tags, redactor)
    title = redactor.redact(name)
    run = new_run(title, redactor.redact(experiment), tags=labels)
    with tracked_block(RunGroup(project, redactor), run, trackers) as active:
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
    group: RunGroup, run: Run, trackers: list[Tracker], record: StepRecord | None = None
) -> Iterator[ActiveRun]:
    """Give a group's only run its whole life around a block of code.

    Args:
        group: Where the run belongs.
        run: The run.
        trackers: Its trackers.
        record: The store's row, of another runner's step; it has begun.
    """
    life = _Life(group, record)
    failure: Failure | None = None
    try:
        tracked = life.begin(run, trackers)
        try:
            with termination_as_exit(noting(group, record)), activated(tracked) as active:
                yield active
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                # A second one may come before the run has ended.
                noting(group, record)(signal.SIGINT)
            life.finish(failure_of(error, group.redactor))
            raise
        if not life.is_over:
            life.finish(None)
            group.wait_for_required(tracked, trackers)
    except BaseException as error:
        failure = failure_of(error, group.redactor)
        raise
    finally:
        life.close(failure)


class _Life:
    """Ends the run of a block once: when the block ends, or else when the process does.

    A block in a generator, or one that a runner entered for its step, may be open when the process
    ends. Once Python takes itself apart no tracker can be waited for: it would be for ever.

    Args:
        group: Where the run belongs.
        record: The store's row, of another runner's step.
    """

    def __init__(self, group: RunGroup, record: StepRecord | None) -> None:
        self._group = group
        self._record = record
        self._tracked: TrackedRun | None = None
        self._process = os.getpid()
        self._is_closed = False

    def begin(self, run: Run, trackers: list[Tracker]) -> TrackedRun:
        """Start the run on its trackers."""
        self._tracked = tracked = self._group.start(run, trackers)
        if self._record is not None:
            self._record.keep_urls(tracked)
        # After SDKs have done so: what was registered last comes first.
        atexit.register(self._end_with_process)
        return tracked

    def finish(self, failure: Failure | None) -> None:
        """Say how the run ended."""
        if self._tracked is not None and not self.is_over:
            self._group.finish(self._tracked, failure)

    def close(self, failure: Failure | None) -> None:
        """Write the end to the store, and wait for trackers as long as their budgets allow."""
        if self.is_over:
            return
        self._is_closed = True
        atexit.unregister(self._end_with_process)
        if self._record is not None:
            self._record.end(self._tracked, failure)
        self._group.close()
        if self._record is not None and self._tracked is not None:
            self._record.keep_urls(self._tracked)  # of trackers that started late

    @property
    def is_over(self) -> bool:
        """Tell whether nothing is to be ended: a forked child leaves the block, and not the run."""
        return self._is_closed or os.getpid() != self._process or sys.is_finalizing()

    def _end_with_process(self) -> None:
        failure = Failure("killed", "ProcessExit", "the process ended before the block did")
        self.finish(failure)
        self.close(failure)


def noting(group: RunGroup, record: StepRecord | None) -> Callable[[int], None]:
    """Give a function that notes a signal which tells the process to stop.

    Args:
        group: The runs that note it.
        record: The store's row of another runner's step, or None.
    """

    def note(number: int) -> None:
        group.note_signal(number)
        if record is not None:
            record.note_signal(number)

    return note


def _select(project: Project, selection: Selection, settings: Settings | None) -> list[Tracker]:
    return [] if is_disabled() else Trackers(project).select(selection, settings)
