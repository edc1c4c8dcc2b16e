"""How does a run learn that its process is told to stop?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType


class Terminated(SystemExit):
    """SIGTERM has come: the step ends here, and the process with exit code 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def termination_as_exit(note: Callable[[int], None]) -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that its run is marked as killed.

    Only where nobody else handles it, and only in the main thread, where Python allows it. A
    second SIGTERM ends the process at once.

    Args:
        note: Called first, with the signal's number: a scheduler kills what takes too long to end.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        note(number)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
