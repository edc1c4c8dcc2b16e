"""How is a block of code tracked as a run: by `start_run`, or by `tracked_step` for any runner?"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trackyard.config.project import Project, find_project
from trackyard.identifiers import new_name
from trackyard.interruption import termination_as_exit
from trackyard.records import Run
from trackyard.redaction.redactor import Redactor
from trackyard.trackers import Selection, Settings, Tracker, Trackers
from trackyard.tracking.calls import ActiveRun, activated, redactor_of
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.tracked_runs import failure_of, is_disabled, new_run
from trackyard.values import to_text

# Other runners' names of runs become ids in this space.
_GROUPS = uuid.UUID("6f6a1f0e-6a3c-5a0e-9a51-0d8b3c1f7a44")


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
        ConfigError: A tracker is unknown or configured wrongly; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    project = find_project()
    trackers = _select(project, experiment_tracker, settings)
    redactor = redactor_of(trackers)
    labels = _redacted(tags, redactor)
    title = redactor.redact(name or new_name(experiment))
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
    attempt: int = 1,
    tags: Mapping[str, Any] | None = None,
) -> Iterator[ActiveRun]:
    """Track a block of code as a step of another runner's pipeline.

    It is started on the trackers, is the current run inside, and ends as the block does: finished,
    failed where it raises, killed where it is told to stop, crashed where the process dies.

    Args:
        pipeline: The pipeline's name, which is the experiment unless a tracker says otherwise.
        step: The step's name.
        run: What the runner calls this run of the pipeline; its steps become one group.
        experiment_tracker: A name, names, True for all of the active stack, None for none.
        settings: Fields to lay over the trackers' configuration, by tracker or flavor name.
        attempt: 1 for the first try, 2 for its first retry.
        tags: Labels of the run.

    Raises:
        ConfigError: A tracker is unknown or configured wrongly; the block is not run.
        RequiredTrackerError: A tracker with `required = true` failed.
    """
    project = find_project()
    trackers = _select(project, experiment_tracker, settings)
    redactor = redactor_of(trackers)
    labels = _redacted(tags, redactor)
    group = None if run is None else group_id(pipeline, run)
    if run is not None:
        labels = {"trackyard.run_name": redactor.redact(to_text(run)), **labels}
    tracked = new_run(
        step, pipeline, pipeline=pipeline, step=step, attempt=attempt, group=group, tags=labels
    )
    with tracked_block(RunGroup(project, redactor), tracked, trackers) as active:
        yield active


@contextmanager
def tracked_block(group: RunGroup, run: Run, trackers: list[Tracker]) -> Iterator[ActiveRun]:
    """Give a group's only run its whole life around a block of code."""
    try:
        tracked = group.start(run, trackers)
        try:
            with termination_as_exit(group.note_signal), activated(tracked) as active:
                yield active
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                group.note_signal(signal.SIGINT)  # a second one may come before the run has ended
            group.finish(tracked, failure_of(error, group.redactor))
            raise
        group.finish(tracked, None)
        group.wait_for_required(tracked, trackers)
    finally:
        group.close()


def group_id(pipeline: str, run: str) -> str:
    """Give the id of another runner's run, the same in each of its processes."""
    return uuid.uuid5(_GROUPS, f"{pipeline}\0{run}").hex


def _select(project: Project, selection: Selection, settings: Settings | None) -> list[Tracker]:
    return [] if is_disabled() else Trackers(project).select(selection, settings)


def _redacted(tags: Mapping[str, Any] | None, redactor: Redactor) -> dict[str, str]:
    texts = [(to_text(key), to_text(value)) for key, value in (tags or {}).items()]
    return {key: str(value) for key, value in (redactor.redact_pair(*text) for text in texts)}
