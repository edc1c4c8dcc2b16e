"""How does somebody say that a run is dead whose process nobody can see from here?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from trackyard.contract.errors import TrackyardError
from trackyard.project.configuration import Project
from trackyard.recovery.finishing import PendingRun
from trackyard.system.life import forget_life, life_of


def declare_dead(project: Project, runs: Collection[PendingRun]) -> None:
    """Take the processes of runs for dead, so that the next pass ends the runs.

    Where one lives after all, its own end replaces that of recovery.

    Args:
        project: Whose runs.
        runs: The runs, which somebody has named.

    Raises:
        TrackyardError: The process of one can be seen, and lives.
    """
    locks = {lock: life_of(lock) for run in runs for lock in _locks_of(run, project)}
    for lock, life in locks.items():
        if life.is_alive and not life.doubt:
            raise TrackyardError(f"{lock.parent}: its process lives; stop that one instead")
    for lock, life in locks.items():
        if life.doubt:
            forget_life(lock)


def _locks_of(run: PendingRun, project: Project) -> Iterator[Path]:
    yield from run.folder.glob("*.lock")
    for id_ in {run.folder.name, run.description.run.group} - {None}:
        yield project.home / "drivers" / f"{id_}.lock"
