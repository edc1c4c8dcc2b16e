"""Which runs of this process are observed, and when does each get its numbers?"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition, Thread
from typing import TYPE_CHECKING, ClassVar

from trackyard.contract import hookimpl

if TYPE_CHECKING:
    from trackyard_system_metrics.samples import Sample
    from trackyard_system_metrics.sharing import SharedSampler

logger = logging.getLogger("trackyard")

Log = Callable[[Mapping[str, float]], None]

INTERVAL = 10.0
_VARIABLE = "TRACKYARD_SYSTEM_METRICS_INTERVAL"
# Until a run has taken so many seconds it costs nothing: most steps are short.
_PATIENCE = 1.0
# Seconds without a run after which the thread ends; the next step of a pipeline begins sooner.
_IDLE = 0.2


class SystemMetrics:
    """Log what each run's machine and processes use, every 10 seconds and at the run's end.

    A process has one thread for all of its runs, and a machine one process that samples.
    """

    observes_after: ClassVar[float] = 0.1  # for a shorter one no thread is woken

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._changed = Condition()
        self._runs: list[_ObservedRun] = []
        self._is_served = False
        self._looks_at = 0.0  # when the thread looks at the runs again

    @hookimpl
    @contextmanager
    def tracker_observe_run(self, log: Log) -> Iterator[None]:
        """Log system metrics while the context is open."""
        if os.getpid() != self._process:  # a forked child has no thread of its parent's
            self._forget()
        run = _ObservedRun(log, _interval())
        with self._changed:
            self._runs.append(run)
            if not self._is_served:
                self._is_served = True
                name = "trackyard-system-metrics"
                Thread(target=self._serve, name=name, daemon=True).start()
            elif run.due < self._looks_at:
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                run.has_ended = True
                if run.is_due(time.monotonic()):
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: run not in self._runs)
                elif run in self._runs:  # most steps are over before their first numbers
                    self._runs.remove(run)

    def _serve(self) -> None:
        """Give each run its numbers, until no run is left or the machine cannot be looked at."""
        try:
            self._serve_runs()
        except Exception as error:  # a system that denies everything, or lacks it
            text = "system metrics are not logged any more: %s: %s"
            logger.warning(text, type(error).__name__, error)
            with self._changed:
                self._runs, self._is_served = [], False
                self._changed.notify_all()

    def _serve_runs(self) -> None:
        sampler: SharedSampler | None = None
        is_idle = False
        while True:
            with self._changed:
                now = time.monotonic()
                due = [run for run in self._runs if run.is_due(now)]
                if due and sampler is None:
                    from trackyard_system_metrics.sharing import SharedSampler

                    sampler = SharedSampler()
                if due and sampler is not None:
                    sample = sampler.sample(_interval())
                    for run in due:
                        run.take(sample)
                self._runs = [run for run in self._runs if not run.has_ended]
                self._changed.notify_all()
                if not self._runs and is_idle:
                    self._is_served = False
                    break
                is_idle = not self._runs
                self._looks_at = min((run.due for run in self._runs), default=now + _IDLE)
                self._changed.wait(max(0.0, self._looks_at - time.monotonic()))
        if sampler is not None:
            sampler.close()


class _ObservedRun:
    """One run, what was true when it began to be observed, and when its numbers were given last.

    Attributes:
        due: The monotonic time at which the next numbers are due.
        has_ended: Its last ones are.
    """

    def __init__(self, log: Log, interval: float) -> None:
        self.due = time.monotonic() + min(_PATIENCE, interval / 2)
        self.has_ended = False
        self._log = log
        self._interval = interval
        self._first: Sample | None = None
        self._last: Sample | None = None
        self._has_logged = False
        self._process = os.getpid()

    def is_due(self, now: float) -> bool:
        """Tell whether numbers are due; a run that ends before its first ones has none."""
        return self._has_logged if self.has_ended else now >= self.due

    def take(self, sample: Sample) -> None:
        from trackyard_system_metrics.samples import metrics_of

        if self._first is None or self._last is None:
            self._first = self._last = sample
            self.due += self._interval - min(_PATIENCE, self._interval / 2)
            return
        self.due = time.monotonic() + self._interval
        if sample.time > self._last.time:  # else whoever samples has not done so since
            self._log(metrics_of(self._first, self._last, sample, self._process))
            self._last, self._has_logged = sample, True


def _interval() -> float:
    """Give the seconds between two samples."""
    try:
        return max(0.1, float(os.environ.get(_VARIABLE, INTERVAL)))
    except ValueError:
        return INTERVAL
