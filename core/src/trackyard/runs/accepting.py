"""What does somebody accept who names a run: also of steps that have no journal here?

An output that no artifact store took may be of a step without a tracker, which only the store
knows, and which no folder of a run stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trackyard.contract.errors import RunNotFoundError, TrackyardError
from trackyard.outputs.keeping import KeptOutputs
from trackyard.project.configuration import Project
from trackyard.recovery.syncing import SyncRow, accept
from trackyard.runs.folders import find_runs
from trackyard.store import Store
from trackyard.store.databases import StoreError
from trackyard.store.listing import has_store

_LEAST_PREFIX = 6  # letters of an id


def accept_by_name(project: Project, name_or_id: str) -> list[SyncRow]:
    """Accept what trackers do not have of runs, and artifact stores of their outputs.

    Args:
        project: The project.
        name_or_id: The name, id or prefix of an id of a run, a pipeline run or a step.

    Raises:
        RunNotFoundError: There is none.
        TrackyardError: One is still running, or a process is delivering it.
    """
    steps = set(_steps_with_outputs(project, name_or_id))
    try:
        runs = find_runs(project, name_or_id)
    except RunNotFoundError:
        if not steps:
            raise
        runs = []
    return accept(project, runs, steps)


def _steps_with_outputs(project: Project, text: str) -> Iterator[str]:
    """Give the ids of the steps that a text may mean, and of which an output waits."""
    waiting = {kept.run_id for kept in KeptOutputs(project.home)}
    if not waiting or not has_store(project):
        yield from _meant(waiting, text)
        return
    try:
        store = Store.of(project)
    except TrackyardError:
        yield from _meant(waiting, text)
        return
    try:
        for id_ in waiting:
            try:
                step, run = store.find_step_run(id_)
            except (RunNotFoundError, StoreError):
                yield from _meant([id_], text)
                continue
            if text in (step.name, run.name) or [*_meant([id_, run.id], text)]:
                yield id_
    finally:
        store.close()


def _meant(ids: Iterable[str], text: str) -> Iterator[str]:
    is_prefix = len(text) >= _LEAST_PREFIX
    return (id_ for id_ in ids if id_ == text or (is_prefix and id_.startswith(text)))
