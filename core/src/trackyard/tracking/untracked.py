"""What does code log into that is run although the system has nothing left to track it?"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trackyard.journal.entries import Entry
from trackyard.redaction.redactor import Redactor
from trackyard.tracking.calls import NO_RUN, ActiveRun, activate, active_runs, deactivate
from trackyard.tracking.containing import say_spared
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")


class UntrackedRun(ActiveRun):
    """Stands in for a run that the system has nothing left for: what is logged is counted.

    Args:
        name: The run's name.
    """

    def __init__(self, name: str) -> None:
        nobody = new_run(name, "default", id=NO_RUN)
        super().__init__(TrackedRun(nobody, Path(os.devnull), [], Redactor()), is_muted=True)

    def log_metric(self, key: str, value: Any, step: Any = None) -> None:
        """Count it.

        Args:
            key: Its name.
            value: A number.
            step: The training step that it belongs to.
        """
        self._count(key, value, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """Count them as one call.

        Args:
            metrics: Numbers by name.
            step: The training step that they belong to.
        """
        self._count(metrics, step)

    def _append(self, _: Entry) -> None:
        self._count()

    def _log(self, *_: Any) -> None:
        self._count()

    def _count(self, *_: Any) -> None:
        self._tracked.journal.dropped += 1

    def leaving(self) -> Callable[..., bool | None]:
        """Give what ends the block that goes on without a run."""
        return self._leave

    def end(self) -> None:
        """End it."""
        self._leave()

    def _leave(self, *_: object) -> None:
        if self in active_runs:
            deactivate(self)
            lost = self._tracked.journal.dropped
            logger.warning("run %r was not tracked: %d log call(s) are lost", self.name, lost)


def untracked_run(name: str, error: BaseException) -> UntrackedRun:
    """Make current what stands in for a run that cannot be started, and say why it cannot.

    Args:
        name: The run's name.
        error: What its start has raised.
    """
    say_spared(f"run {name!r}, which is not tracked", error)
    run = UntrackedRun(name)
    activate(run)
    return run
