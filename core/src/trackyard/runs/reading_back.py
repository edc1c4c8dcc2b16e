"""What does a tracker hold of a run?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Record
from trackyard.hooks.discovery import load_plugins
from trackyard.hooks.dispatch import Outcome, TrackerHooks
from trackyard.hooks.rules import implemented_hooks
from trackyard.journal.descriptions import RunDescription, TrackerDescription, run_for
from trackyard.project.configuration import Project, in_project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.trusting import tracker_for
from trackyard.system.waiting import result_within

_T = TypeVar("_T")

# Seconds that reading a run back may take on a tracker: it is one call for a whole run.
TIMEOUT = 120.0
_timeout: ContextVar[float] = ContextVar("trackyard_reading_timeout", default=TIMEOUT)


def timeout_now() -> float:
    """Give the seconds that a tracker may take to give a run back, in this context."""
    return _timeout.get()


@contextmanager
def reading_within(seconds: float) -> Iterator[None]:
    """Let trackers take so many seconds to give a run back.

    Args:
        seconds: How long at most, each.
    """
    token = _timeout.set(seconds)
    try:
        yield
    finally:
        _timeout.reset(token)


class ReadingBack:
    """Reads runs back from trackers, and remembers which one does not answer.

    Args:
        project: The project of the runs.
        timeout: Seconds that a tracker may take for each.
        command: What to type, with the run and `--timeout`, to give it more time.
    """

    def __init__(self, project: Project, timeout: float, command: str) -> None:
        self._trackers = Trackers(project)
        self._project = project
        self._timeout = timeout
        self._command = command
        self._silent: set[str] = set()

    def tracker(self, run: RunDescription, described: TrackerDescription) -> Tracker:
        """Make a tracker as it was when the run started.

        Args:
            run: The run.
            described: The tracker, as the run's folder describes it.

        Raises:
            ConfigError: Its flavor is not there any more, or a secret cannot be read.
        """
        return tracker_for(run, described, self._project, self._trackers)

    def records(
        self,
        run: RunDescription,
        folder: Path,
        described: TrackerDescription,
        tracker: Tracker,
        gather: Callable[[Iterable[Record]], _T],
    ) -> _T:
        """Give a run's records as a tracker holds them.

        Args:
            run: The run.
            folder: Its folder, in which that of the tracker is.
            described: The tracker, as it was when the run started.
            tracker: The same, made.
            gather: Reads the records, one by one.

        Raises:
            TrackyardError: They cannot be read.
        """
        if "tracker_read_run" not in implemented_hooks(tracker.flavor):
            raise TrackyardError(f"flavor {tracker.options.flavor!r} cannot read runs back")
        if tracker.name in self._silent:
            raise TrackyardError("not asked, since it has not answered for another run")
        attached = attrs.evolve(
            run_for(run, described, folder), attached=True, deadline=self._timeout
        )
        hooks = TrackerHooks.of(tracker, load_plugins()[0])

        def read() -> Outcome:
            with in_project(self._project):
                return hooks.read_run(attached, gather)

        try:
            outcome = result_within(self._timeout, read)
        except TimeoutError:
            self._silent.add(tracker.name)
            again = f"{self._command} {run.run.id} --timeout {self._timeout * 4:g}"
            raise TrackyardError(
                f"no answer within {self._timeout:g} s; give it more time, type: {again}"
            ) from None
        if outcome.kind != "done":
            raise TrackyardError(outcome.reason)
        records: _T = outcome.value
        return records
