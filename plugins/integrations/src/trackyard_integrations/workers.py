"""Which variables let the workers of a cluster log to a run of this process?"""

from __future__ import annotations

import os
from pathlib import Path

import trackyard
from trackyard import ActiveRun


def worker_environment(run: ActiveRun | None = None) -> dict[str, str]:
    """Give variables for `runtime_env={"env_vars": ...}`: workers have those of Ray's start.

    Workers log into the run while it goes, where they see its folder: on the same machine.

    Args:
        run: The run; by default the one that is current.

    Raises:
        NoActiveRunError: There is no run.
    """
    run, home = run or trackyard.current_run(), trackyard.home()
    moved = os.environ.get("TRACKYARD_PROJECT") or "TRACKYARD_HOME" in os.environ
    project = Path(os.environ.get("TRACKYARD_PROJECT") or Path.cwd()) if moved else home.parent
    return {
        "TRACKYARD_RUN_ID": run.id,
        "TRACKYARD_RUN_FOLDER": str(run.folder),
        "TRACKYARD_PROJECT": str(project.absolute()),
        "TRACKYARD_HOME": str(home),
    }
