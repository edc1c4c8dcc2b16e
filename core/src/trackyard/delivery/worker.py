"""On which thread do one tracker's hooks run, and in which order are its runs served?"""

from __future__ import annotations

import logging
import time
from threading import Condition, Thread

from trackyard.delivery.delivery import GATHER, Delivery
from trackyard.dispatch import TrackerHooks
from trackyard.records import Run

logger = logging.getLogger("trackyard")


class Worker:
    """A daemon thread that serves the runs of one tracker, one hook at a time.

    Starts go before everything else, so that a step's URL does not wait for another step's
    backlog, except where the flavor can hold one run at a time: there each run waits for the end
    of the one before it.

    Args:
        name: The tracker's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._deliveries: list[Delivery] = []
        self._changed = Condition()
        self._closing = False
        self._thread: Thread | None = None

    def carry(
        self, hooks: TrackerHooks, run: Run, start_timeout: float, *, all_ranks: bool = False
    ) -> Delivery:
        """Serve one more run."""
        delivery = Delivery(hooks, run, start_timeout, all_ranks=all_ranks)
        self.add(delivery)
        return delivery

    def add(self, delivery: Delivery) -> None:
        """Serve one more run."""
        with self._changed:
            self._deliveries.append(delivery)
            if self._thread is None:
                self._thread = Thread(
                    target=self._serve, name=f"trackyard-{self.name}", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def wake(self) -> None:
        """Look for work now."""
        with self._changed:
            self._changed.notify()

    def close(self, timeout: float = 0.0) -> None:
        """Stop when the call that is running returns.

        Args:
            timeout: Seconds to wait for that; a thread that hangs in a hook is left alone.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._serve_one()
            except Exception:
                # A fault of ours must not silence the tracker for good without a trace.
                logger.exception("delivery to experiment tracker %r failed", self.name)
                time.sleep(1.0)

    def _serve_one(self) -> None:
        now = time.monotonic()
        delivery = self._next(now)
        if delivery is not None:
            delivery.advance()
            return
        with self._changed:
            if self._closing or self._next(time.monotonic()) is not None:
                return
            dues = [due for d in self._deliveries if (due := d.due()) is not None]
            if dues:
                # A log call wakes nobody, which keeps it cheap: look again soon.
                self._changed.wait(min(GATHER, max(0.001, min(dues) - now)))
            else:
                self._changed.wait()

    def _next(self, now: float) -> Delivery | None:
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
        return min(waiting, key=lambda d: (d.started.is_set(), d.served_at), default=None)
