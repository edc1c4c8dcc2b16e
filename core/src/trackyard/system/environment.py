"""What does the environment say: is tracking off, and which run do children of a process find?"""

from __future__ import annotations

import os
from pathlib import Path

RUN_ID = "TRACKYARD_RUN_ID"
RUN_FOLDER = "TRACKYARD_RUN_FOLDER"  # a child may be elsewhere, or the run's files may be


class NamedRun:
    """The run that children find in the environment, which stays as it was when there is none."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] | None = None

    def set(self, run_id: str, folder: Path) -> None:
        """Let children that are started from now on log into a run.

        Args:
            run_id: The run.
            folder: Its folder, which a child may see where it does not see the project.
        """
        self._keep()
        os.environ[RUN_ID], os.environ[RUN_FOLDER] = run_id, str(folder)

    def hide(self) -> None:
        """Let them log into none: several runs are active, and a wrong one is worse."""
        self._keep()
        for name in (RUN_ID, RUN_FOLDER):
            os.environ.pop(name, None)

    def restore(self) -> None:
        """Put back what was there before the first run."""
        for name, value in (self._before or {}).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = None  # last: what a signal's handler cuts short is done again

    def inherited(self) -> str | None:
        """Give the run that was named before this process named one of its own."""
        before = os.environ if self._before is None else self._before
        return before.get(RUN_ID) or None

    def _keep(self) -> None:
        if self._before is None:
            self._before = {name: os.environ.get(name) for name in (RUN_ID, RUN_FOLDER)}


NAMED = NamedRun()


def inherited_run_id() -> str | None:
    """Give the id of the run of another process in which this one was started, if any."""
    return NAMED.inherited()


def named_run_id() -> str | None:
    """Give the id of the run that the environment names, if any."""
    return os.environ.get(RUN_ID) or None


def is_disabled() -> bool:
    """Tell whether `TRACKYARD_DISABLE` switches tracking off altogether."""
    return os.environ.get("TRACKYARD_DISABLE", "") not in ("", "0")
