"""Where does a rank above 0 keep what rank 0 keeps for all of them? Nowhere that anybody looks."""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path

import attrs

from trackyard.project.configuration import Project
from trackyard.project.trackers import Trackers
from trackyard.system.environment import inherited_run_id
from trackyard.system.ranks import process_rank


def is_tracked_elsewhere(project: Project) -> bool:
    """Tell whether rank 0 tracks what this process does: it starts no run of its own then.

    Args:
        project: Its project; a tracker with `rank = "all"` wants a run of each rank, unless they
            have inherited one.
    """
    if not process_rank():
        return False
    configured = Trackers(project).configured.values()
    return inherited_run_id() is not None or all(t.options.rank != "all" for t in configured)


def project_of_rank(project: Project) -> Project:
    """Give a project of the same configuration, whose runs are forgotten when the process ends."""
    layers = tuple(
        attrs.evolve(layer, table={k: v for k, v in layer.table.items() if k != "store"})
        for layer in project.layers
    )
    return attrs.evolve(project, home=_passing_home(os.getpid()), layers=layers)


@cache
def _passing_home(process: int) -> Path:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="trackyard-rank-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder / ".trackyard"
