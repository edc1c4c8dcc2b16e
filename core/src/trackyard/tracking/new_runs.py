"""How is the description of a run made that starts now?"""

from __future__ import annotations

import time
from pathlib import Path

from trackyard.contract.records import Run
from trackyard.system.identifiers import new_id


def new_run(
    name: str,
    experiment: str,
    *,
    id: str | None = None,
    pipeline: str | None = None,
    step: str | None = None,
    attempt: int = 1,
    group: str | None = None,
    parent_id: str | None = None,
    tags: dict[str, str] | None = None,
) -> Run:
    """Make a run that starts now, with a new id unless one is given.

    Args:
        name: The run's name.
        experiment: The experiment that it belongs to.
        id: Its id; a new one by default.
        pipeline: The pipeline's name, or None.
        step: The step's name, or None.
        attempt: 1, and one more for each retry.
        group: The id that the steps of a pipeline run, or child runs, share, or None.
        parent_id: Of a child run the id of the run that it stands below.
        tags: Labels of the run.
    """
    return Run(
        id=id or new_id(),
        name=name,
        experiment=experiment,
        started_at=time.time_ns(),
        folder=Path(),  # each tracker gets its own
        pipeline=pipeline,
        step=step,
        attempt=attempt,
        group=group,
        parent_id=parent_id,
        tags=tags or {},
    )
