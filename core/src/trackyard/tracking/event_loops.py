"""Who waits for the trackers of a run that an event loop starts and ends, while the loop goes on?

A coroutine that waits for a tracker holds up all the others, and a hundred that start a run each
wait one after the other. One thread of the process does so in their place, in the same order.
"""

from __future__ import annotations

import atexit
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread, current_thread
from typing import TYPE_CHECKING

from trackyard.project.trackers import Tracker
from trackyard.system.forks import leave_in_forked_child
from trackyard.system.interruption import start_thread
from trackyard.system.notebooks import is_in_notebook

if TYPE_CHECKING:
    from trackyard.delivery.reports import TrackerReport
    from trackyard.tracking.lifecycle import RunGroup

logger = logging.getLogger("trackyard")

# Seconds for which what is left is waited for at the process's end, where one thing after the other
# comes to its own; and those that the thread has to see what is left then.
_AT_END, _TO_SAY = 30.0, 5.0


def must_go_on(trackers: Iterable[Tracker]) -> bool:
    """Tell whether the calling thread runs an event loop, and may leave it to others to wait.

    A tracker with `required = true` is waited for by whoever asked for it, and a notebook, whose
    cells its kernel's loop runs, by the cell.

    Args:
        trackers: Those of the run.
    """
    # Another thread may be importing it just now, and then it has none of its functions yet.
    running_loop = getattr(sys.modules.get("asyncio"), "get_running_loop", None)
    if running_loop is None or is_in_notebook():
        return False
    try:
        running_loop()
    except RuntimeError:
        return False
    return not any(tracker.options.required for tracker in trackers)


class Waiting:
    """What is waited for elsewhere, by one thread that ends when there is nothing more."""

    def __init__(self) -> None:
        self.leave_to_parent()
        leave_in_forked_child(self)

    def leave_to_parent(self) -> None:
        """Let go of what another process waits for."""
        self._lock = Lock()
        self._waits: deque[tuple[RunGroup, Callable[[], object], Event]] = deque()
        self._thread: Thread | None = None

    def begin(self, group: RunGroup, wait: Callable[[], object]) -> Callable[[], object]:
        """Have something waited for behind all that was begun before.

        Args:
            group: The runs whose budgets limit it.
            wait: Waits.

        Returns:
            What waits until that is done, for as long as the group's budgets last.
        """
        done = Event()
        with self._lock:
            self._waits.append((group, wait, done))
            if self._thread is None:
                atexit.unregister(self._finish)
                atexit.register(self._finish)
                self._thread = Thread(target=self._go_on, name="trackyard-waiting", daemon=True)
                try:
                    start_thread(self._thread)
                except (RuntimeError, MemoryError) as error:  # the process has too many
                    self._thread = None
                    logger.debug("no thread waits for trackers: %s", error)

        def until_done() -> None:
            if self._thread not in (None, current_thread()):
                done.wait(group.patience)

        return until_done

    def _go_on(self) -> None:
        while True:
            with self._lock:
                if not self._waits or self._thread is not current_thread():
                    self._thread = None
                    return
                _, wait, done = self._waits[0]
            try:
                wait()
            except Exception as error:  # nobody is there to whom it could be raised
                logger.warning("what a run's trackers have is not known: %s", error)
            finally:
                with self._lock:
                    self._waits.popleft()
                done.set()

    def _finish(self) -> None:
        """Wait at the process's end while it goes on, and say in one line what is left then."""
        give_up_at = time.monotonic() + _AT_END
        while (first := self._first()) is not None:
            seconds = min(first[0].patience, give_up_at - time.monotonic())
            if seconds <= 0 or not first[2].wait(seconds):
                break
        with self._lock:
            groups = [group for group, _, _ in self._waits]
            last = self._waits[-1][2] if self._waits else None
        if last is None or self._thread is None:
            return
        left: list[TrackerReport] = []
        for group in groups:
            group.wait_no_more(left.extend)
        last.wait(_TO_SAY)
        groups[-1].say_what_is_left(left)

    def _first(self) -> tuple[RunGroup, Callable[[], object], Event] | None:
        with self._lock:
            return self._waits[0] if self._waits and self._thread is not None else None


WAITING = Waiting()
