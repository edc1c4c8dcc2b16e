"""On which thread do one tracker's hooks run, and in which order are its runs served?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread, current_thread
from typing import TYPE_CHECKING

from trackyard.contract.records import Run
from trackyard.delivery.breaker import Breaker
from trackyard.delivery.delivery import GATHER, LocalDelivery
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.system.conditions import Condition
from trackyard.system.interruption import start_thread

if TYPE_CHECKING:
    from trackyard.project.stacks import TrackerOptions

logger = logging.getLogger("trackyard")

# So many threads of a tracker are left alone in hooks that hang; then it gets no more of them.
_MOST_ABANDONED = 3


class WorkerThread:
    """A daemon thread that serves the runs of one tracker, one hook at a time.

    Starts go before everything else, so that a step's URL does not wait for another step's
    backlog, except where the flavor can hold one run at a time: there each run waits for the end
    of the one before it. A thread that hangs in a hook is left alone, and another one goes on
    with the other runs.

    Args:
        name: The tracker's name.
        breaker: What lets its runs wait together while it fails.
        on_serve: Called on the thread before something is done for a run.
    """

    def __init__(
        self,
        name: str,
        breaker: Breaker | None = None,
        on_serve: Callable[[LocalDelivery], None] | None = None,
    ) -> None:
        self.name = name
        self._on_serve = on_serve
        self.breaker = breaker or Breaker()
        self._deliveries: list[LocalDelivery] = []
        self._changed = Condition()
        self._closing = False
        self._thread: Thread | None = None
        self._serving: LocalDelivery | None = None

    def carry(self, hooks: TrackerHooks, run: Run, options: TrackerOptions) -> LocalDelivery:
        """Serve one more run.

        Args:
            hooks: The tracker's hooks.
            run: The run as this tracker gets it.
            options: What core takes of the tracker.
        """
        delivery = LocalDelivery(
            hooks,
            run,
            options.start_timeout,
            self.breaker,
            on_hurry=self.wake,
            all_ranks=options.rank == "all",
            takes_context=options.context is not False,
            takes_console=options.console is not False,
        )
        self.add(delivery)
        return delivery

    def add(self, delivery: LocalDelivery) -> None:
        """Serve one more run."""
        with self._changed:
            if self.breaker.abandoned >= _MOST_ABANDONED:
                delivery.abandon(self.breaker.problem)
                return
            self._deliveries.append(delivery)
            self._wake()

    def wake(self) -> None:
        """Look for work now."""
        with self._changed:
            self._wake()

    def hurry(self) -> None:
        """Try a tracker that fails once more, as soon as the backend allows: someone waits."""
        self.breaker.hurry()
        self.wake()

    def look_after(self) -> None:
        """Leave a thread alone that hangs in a hook; the runner calls it every now and then."""
        with self._changed:
            self._wake()
            stuck = self._serving
            overdue_at = stuck.hooks.overdue_at if stuck is not None else None
            if stuck is None or overdue_at is None or time.monotonic() < overdue_at:
                return
            problem = f"{stuck.hooks.running} hangs; its thread is left alone"
            logger.warning("experiment tracker %r: %s", self.name, problem)
            self.breaker.abandoned += 1
            self.breaker.failed(problem)
            self._come_back()
            if stuck in self._deliveries:
                self._deliveries.remove(stuck)
            stuck.abandon(problem)
            if self.breaker.abandoned >= _MOST_ABANDONED:
                for delivery in self._deliveries:
                    delivery.abandon(problem)
                self._deliveries.clear()
            self._start()

    def close(self) -> None:
        """Stop when the call that is running returns, without waiting for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    stop = close

    def _wake(self) -> None:
        # A thread that has had no memory to begin is not alive: another one takes its place.
        has_work = self._deliveries and not self._closing
        if has_work and (self._thread is None or not self._thread.is_alive()):
            self._come_back()
            self._start()
        self._changed.notify_all()

    def _start(self) -> None:
        # Assigned first: a thread that is not the worker's any more ends itself.
        self._thread = Thread(target=self._serve, name=f"trackyard-{self.name}", daemon=True)
        try:
            start_thread(self._thread)
        except (RuntimeError, MemoryError) as error:  # the process has too many, or no memory
            self._thread = None  # the next run tries again
            for delivery in self._deliveries:
                delivery.abandon(f"no thread can be started for it: {error}")
            self._deliveries.clear()

    def _serve(self) -> None:
        while not self._closing and self._thread is current_thread():
            try:
                self._serve_one()
            except Exception:
                # A fault of ours must not silence the tracker for good without a trace. Where it is
                # a lack of memory there may be none to tell of it, or to go on: see `_wake`.
                with suppress(Exception):
                    logger.exception("delivery to experiment tracker %r failed", self.name)
                time.sleep(1.0)

    def _serve_one(self) -> None:
        if self._serving is not None:  # there was no memory to come back
            self._come_back()
        now = time.monotonic()
        delivery = self._next(now)
        if delivery is not None and self.breaker.lets_through():
            self._serving = delivery
            try:
                if self._on_serve is not None:
                    self._on_serve(delivery)
                delivery.advance()
            finally:
                if self._thread is current_thread():  # else another one serves by now
                    self._come_back()
            return
        if delivery is not None:
            self._postpone()
        with self._changed:
            if not self._closing:
                self._changed.wait(self._pause(now))

    def _come_back(self) -> None:
        """Serve no run any more, and let the tracker's next probe through."""
        self.breaker.has_served()
        self._serving = None

    def _pause(self, now: float) -> float | None:
        """Give the seconds until there may be work. A log call wakes nobody: look again soon."""
        dues = [due for d in self._deliveries if (due := d.due()) is not None]
        if not dues:
            return None
        due = max(min(dues), self.breaker.due() if self.breaker.is_open else 0.0)
        return min(GATHER, max(0.001, due - now))

    def _postpone(self) -> None:
        problem = self.breaker.problem
        for delivery in list(self._deliveries):
            delivery.postpone(problem)

    def _next(self, now: float) -> LocalDelivery | None:
        waiting = []
        for delivery in list(self._deliveries):
            due = delivery.due()
            if due is None:
                self._deliveries.remove(delivery)
                continue
            if due <= now:
                waiting.append(delivery)
            if not delivery.capabilities.concurrent_runs:
                break  # the runs behind it wait for its end
        return min(waiting, key=_turn, default=None)


def _turn(delivery: LocalDelivery) -> tuple[bool, float]:
    """Starts go first; what was served longest ago goes before what was served just now."""
    return delivery.progress.stage.has_started, delivery.served_at
