"""When does a tracker that keeps failing get a rest, for all of its runs together?"""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock

from trackyard.delivery.budgets import Backoff

# So many failures in a row, of whichever runs, open it.
_MOST_FAILURES = 3
# So many times as long as it hung a hook of the step's thread is left out.
_RESTS = 20


class Breaker:
    """A circuit breaker: closed while a tracker works, open after failures in a row.

    While it is open no run of the tracker is served, but for one probe at a time, after growing
    pauses. A probe that succeeds closes it, and all runs go on at once. A backend that says how
    long to wait (`Retry-After`) is left alone for so long by every run.

    Source: "Release It!", Michael Nygard, 2007.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.abandoned = 0  # threads that were left alone in a hook of this tracker
        self._lock = Lock()
        self._failures = 0
        self._backoff = Backoff()
        self._open_until = 0.0
        self._not_before = 0.0  # what the backend itself asked for
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Tell whether runs have to wait, or one of them is trying."""
        return self._failures >= _MOST_FAILURES or time.monotonic() < self._not_before

    def due(self) -> float:
        """Give the monotonic time before which no hook is called."""
        return max(self._open_until, self._not_before)

    def lets_through(self) -> bool:
        """Tell whether a run may be served now; where it is open, as the one probe."""
        with self._lock:
            if time.monotonic() < self._not_before:
                return False
            if self._failures < _MOST_FAILURES:
                return True
            if self._is_probing or time.monotonic() < self._open_until:
                return False
            self._is_probing = True
            return True

    def has_served(self) -> None:
        """Let the next probe through: the one before has come back."""
        self._is_probing = False

    def failed(self, problem: str, after: float | None = None) -> None:
        """Count a failure.

        Args:
            problem: What went wrong, as one line.
            after: Seconds that the backend asked to be left alone for.
        """
        with self._lock:
            self.problem = problem
            self._failures += 1
            now = time.monotonic()
            delay = self._backoff.delay(after)
            if after:
                self._not_before = now + delay
            if self._failures >= _MOST_FAILURES:
                self._open_until = now + delay

    def succeeded(self) -> None:
        """Close it: the tracker works."""
        with self._lock:
            self.problem = ""
            self._failures = 0
            self._open_until = self._not_before = 0.0
            self._backoff.reset()

    def hurry(self) -> None:
        """Let the next probe through as soon as the backend allows: someone waits for it."""
        self._open_until = self._not_before


class Rest:
    """How long a hook of the step's own thread is left out after it hung.

    That thread has nothing else to do meanwhile, so that each hang costs the step time: after one
    the hook rests for twenty times as long, and then it is tried once more.
    """

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Tell whether the hook may be called."""
        return time.monotonic() >= self._until

    def begin(self, spent: float) -> float:
        """Leave the hook out; give for how many seconds.

        Args:
            spent: Seconds that the hang has cost.
        """
        seconds = _RESTS * spent
        self._until = time.monotonic() + seconds
        return seconds


# Runs of a tracker share one for as long as their process lives; a forked child has its own.
_breakers: dict[tuple[int, Path, str], Breaker] = {}


def breaker_of(project_root: Path, tracker: str) -> Breaker:
    """Give this process's breaker for a tracker of a project.

    Args:
        project_root: The project's folder.
        tracker: The tracker's name.
    """
    return _breakers.setdefault((os.getpid(), project_root, tracker), Breaker())


_rests: dict[tuple[int, Path, str], Rest] = {}


def rest_of(runs_folder: Path, tracker: str) -> Rest:
    """Give the rest that this process's activations of a tracker take, by where its runs are.

    Args:
        runs_folder: The folder of the project's runs.
        tracker: The tracker's name.
    """
    return _rests.setdefault((os.getpid(), runs_folder, tracker), Rest())
