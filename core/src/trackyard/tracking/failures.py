"""How did a run end that an exception left?"""

from __future__ import annotations

import sys

from trackyard.contract.records import Failure
from trackyard.redaction.redactor import Redactor
from trackyard.system.interruption import Terminated


class EndsRun(Exception):
    """Raised inside a run to say how it ended, where no exception of the user's says it."""

    def __init__(self, failure: Failure | None) -> None:
        super().__init__(str(failure))
        self.failure = failure


def failure_of(error: BaseException, redactor: Redactor) -> Failure | None:
    """Say how a run ended that an exception left; None for `sys.exit()` without an error.

    Args:
        error: What left the block.
        redactor: Keeps secrets out of its text.
    """
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return None
    if isinstance(error, Terminated):
        return Failure("killed", "SIGTERM", "the process was told to stop", signal=15)
    if isinstance(error, EndsRun):
        return error.failure
    return redactor.failure(error, "killed" if _is_told_to_stop(error) else "failed")


def _is_told_to_stop(error: BaseException) -> bool:
    """Tell whether it came from outside: Ctrl-C, or a task that was cancelled."""
    # Imported where something can be cancelled
    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", KeyboardInterrupt)
    return isinstance(error, (KeyboardInterrupt, cancelled))
