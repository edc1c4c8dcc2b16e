"""In which order does a run live, whoever does its work?"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from trackyard.contract.records import Failure, Run
from trackyard.project.trackers import Tracker
from trackyard.tracking.containing import spared
from trackyard.tracking.event_loops import WAITING, must_go_on
from trackyard.tracking.failures import EndsRun, failure_of
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.parents import ParentRun
from trackyard.tracking.tracked_runs import TrackedRun


class RunRow(Protocol):
    """Where it is written down what becomes of a run, beside its journal."""

    def keep_urls(self, tracked: TrackedRun) -> None:
        """Write where the run can be watched."""

    def note_signal(self, number: int) -> None:
        """Note that the process is told to stop: it may be killed before it has."""

    def end(self, tracked: TrackedRun | None, failure: Failure | None) -> None:
        """Write how the run ended.

        Args:
            tracked: The run, or None where it was not started.
            failure: Why it did not finish, or None.
        """


class RunLife:
    """A run's life around `with life, life:`, in which `start` is called and the work is done.

    What leaves the block says how the run ended; then, in this order, its end is journaled,
    trackers that are required are waited for where it finished, the row is written, and a group
    that has no other run is closed.

    It is left twice, since what a signal's handler raises just as the first exit begins would keep
    all of it from being done; a second time changes nothing.

    The end is written once, and the group's lock is held for it, as for the start: a forked child
    leaves the block, but not the run. The block of a group's only run, or of a child run, may stand
    in a generator, or be entered by a runner for its step, and be open when the process ends, which
    ends the run then. Once Python takes itself apart no tracker can be waited for: it would be for
    ever.

    Args:
        group: Where the run belongs.
        row: What else is told of it, if anything.
        parent: Of a child run, the run that it belongs to.
        closes_group: Whether it is the group's only run, but for child runs.
    """

    def __init__(
        self,
        group: RunGroup,
        row: RunRow | None = None,
        *,
        parent: ParentRun | None = None,
        closes_group: bool = False,
    ) -> None:
        self.tracked: TrackedRun | None = None
        self._group = group
        self._row = row
        self._parent = parent
        self._closes_group = closes_group
        self._trackers: list[Tracker] = []
        self._process = os.getpid()
        self._is_closed = False
        self._goes_on = False  # a thread waits for its trackers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if not self._is_over:
                self._end(error)
        finally:
            if os.getpid() == self._process and not sys.is_finalizing():
                self._end_rest(error)

    def start(
        self, run: Run, trackers: list[Tracker], say: Callable[[TrackedRun], None] | None = None
    ) -> TrackedRun:
        """Start the run, and wait for its trackers as long as their budgets allow.

        In a running event loop a thread waits, unless one of them is required.

        Args:
            run: The run.
            trackers: Where it is to be tracked.
            say: Called once they have been waited for.

        Raises:
            RequiredTrackerError: A tracker with `required = true` is not up in time.
        """
        with self._group.lock:
            self._trackers = trackers
            self._goes_on = must_go_on(trackers)
            self.tracked = tracked = self._group.start(
                run, trackers, self._parent, waits=not self._goes_on
            )
            if self._goes_on:
                tracked.wait_for_starts = WAITING.begin(
                    self._group, partial(self._wait_for_starts, tracked, say)
                )
            else:
                self._keep_urls(tracked)
        if self._closes_group or self._parent is not None:
            # After SDKs have done so: what was registered last comes first.
            atexit.register(self._end_with_process)
        if say is not None and not self._goes_on:
            say(tracked)
        return tracked

    def _keep_urls(self, tracked: TrackedRun) -> None:
        if self._row is not None:
            with spared("the store's row of the run"):
                self._row.keep_urls(tracked)

    def _wait_for_starts(
        self, tracked: TrackedRun, say: Callable[[TrackedRun], None] | None
    ) -> None:
        self._group.wait_for_starts(tracked, self._trackers)
        self._keep_urls(tracked)
        if say is not None:
            say(tracked)

    def note_signal(self, number: int) -> None:
        """Note that the process is told to stop: it may be killed before the run has ended."""
        self._group.note_signal(number)
        if self._row is not None:
            self._row.note_signal(number)

    @property
    def _is_over(self) -> bool:
        return self._is_closed or os.getpid() != self._process or sys.is_finalizing()

    def _end(self, error: BaseException | None) -> None:
        """End the run, and close what no other run needs."""
        try:
            with self._group.lock:
                self._end_run(error)
        finally:
            self._end_rest(error)  # before the group forgets its runs
            with spared("the wait for what trackers still lack"):
                if self._goes_on and must_go_on(self._trackers):
                    WAITING.begin(self._group, self._close)
                else:
                    self._close()

    def _close(self) -> None:
        if self._closes_group:
            self._group.close()
            if self._row is not None and self.tracked is not None:
                self._row.keep_urls(self.tracked)  # of trackers that started late
        elif self._parent is not None:
            self._group.close_child()

    def _end_run(self, error: BaseException | None) -> None:
        """End the run as what left its block says.

        Raises:
            RequiredTrackerError: A tracker with `required = true` did not take everything.
        """
        failure: Failure | None = None
        try:
            if isinstance(error, KeyboardInterrupt):
                # A second one may come before the run has ended.
                self.note_signal(signal.SIGINT)
            failure = None if error is None else failure_of(error, self._group.redactor)
            if self.tracked is not None:
                failure = self.tracked.as_said(failure)
                self._group.finish(self.tracked, failure)
                if error is None:
                    self._group.wait_for_required(self.tracked, self._trackers)
        except BaseException as raised:
            failure = failure_of(raised, self._group.redactor)
            raise
        finally:
            self._is_closed = True
            atexit.unregister(self._end_with_process)
            if self._row is not None:
                with spared("the store's row of the run"):
                    self._row.end(self.tracked, failure)

    def _end_rest(self, error: BaseException | None) -> None:
        """Write the end that is missing where a signal's handler raised as it began or ended."""
        left = self._group.without_end if self._closes_group else []
        if self.tracked is not None and not self.tracked.has_end and self.tracked not in left:
            left.append(self.tracked)
        for tracked in left:
            failure = None if error is None else failure_of(error, self._group.redactor)
            self._group.finish(tracked, tracked.as_said(failure))

    def _end_with_process(self) -> None:
        if not self._is_over:
            text = "the process ended before the block did"
            self._end(EndsRun(Failure("killed", "ProcessExit", text)))
