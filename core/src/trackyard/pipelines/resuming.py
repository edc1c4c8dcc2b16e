"""What does a pipeline run take from an earlier one that it resumes?"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from trackyard.contract.errors import PipelineError
from trackyard.project.configuration import Project
from trackyard.recovery.drivers import mark_of
from trackyard.store import PipelineRunRow, StepRunRow, Store
from trackyard.system.life import life_of

_DONE = ("finished", "cached")


@attrs.frozen
class Resumed:
    """A pipeline run whose finished steps are taken.

    Attributes:
        run: The run.
        steps: Its steps that finished, by name.
    """

    run: PipelineRunRow
    steps: Mapping[str, StepRunRow]


def find_resumed(project: Project, name: str, pipeline: str) -> Resumed:
    """Find the run that is to be resumed; it may have been killed.

    Args:
        project: The project.
        name: Its name, id, or a prefix of either.
        pipeline: The pipeline's name.

    Raises:
        PipelineError: It is another pipeline's, or still running.
        RunNotFoundError: There is no such run.
    """
    store = Store.of(project)
    run = store.find_pipeline_run(name)
    if run.pipeline != pipeline:
        raise PipelineError(
            f"run {run.name!r} is of pipeline {run.pipeline!r}, and cannot be resumed by "
            f"{pipeline!r}"
        )
    if life_of(mark_of(project.home, run.id).with_suffix(".lock")).is_alive:
        raise PipelineError(f"run {run.name!r} is still running; wait for its end, or stop it")
    # Of several attempts the last one comes last.
    latest = {row.name: row for row in store.list_step_runs(run.id)}
    return Resumed(run, {name: row for name, row in latest.items() if row.status in _DONE})
