"""How long may a pipeline run wait for one tracker, and how long does a retry wait?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Thread

from trackyard.system.interruption import start_thread


class Budget:
    """Seconds that may be spent on waiting, in all.

    Args:
        seconds: The whole budget.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds
        self.is_closed = False

    def wait(self, wait: Callable[[float], bool], most: float | None = None) -> bool:
        """Wait while the budget lasts; True where it came.

        Args:
            wait: Waits for something for some seconds, and tells whether it came.
            most: Seconds to wait at most this time, whatever is left.
        """
        if wait(0.0):
            return True
        if self.is_closed:
            return False
        begun = time.monotonic()
        came = wait(self.left if most is None else min(self.left, most))
        self.left = max(0.0, self.left - (time.monotonic() - begun))
        return came

    def close(self) -> None:
        """Wait no more: later waits return at once."""
        self.is_closed = True

    def open(self) -> None:
        """Wait again, for what is left."""
        self.is_closed = False


def wait_side_by_side(waits: Sequence[Callable[[], object]]) -> None:
    """Have several waits run at once, so that the longest counts and not their sum."""
    if len(waits) == 1:
        waits[0]()
        return
    threads = [Thread(target=wait, name="trackyard-waiting", daemon=True) for wait in waits]
    started = []
    for thread in threads:
        try:
            start_thread(thread)
            started.append(thread)
        except (RuntimeError, MemoryError):  # the process ends: one after the other, then
            thread.run()
    for thread in started:
        thread.join()


class Backoff:
    """Delays between retries: full jitter under a limit that doubles from 0.1 s to 60 s.

    Most failures pass at once, such as a database that another process writes just then: the
    first five retries together wait 3.1 s at most, and the end of a run that crashed is in time.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self) -> None:
        self._failures = 0

    def delay(self, at_least: float | None = None) -> float:
        """Give the seconds to wait after one more failure.

        Args:
            at_least: What the backend asked for, such as a `Retry-After`; 300 s at most count.
        """
        limit = min(60.0, 0.1 * 2 ** min(self._failures, 10))
        self._failures += 1
        import random

        return max(random.uniform(0.05, limit), min(at_least or 0.0, 300.0))

    def reset(self) -> None:
        """Begin anew after a success."""
        self._failures = 0
