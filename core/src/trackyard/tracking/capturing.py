"""How do calls of an SDK itself become records of the run that its tracker tracks?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from trackyard.contract.records import FinalStatus, Record, Run
from trackyard.delivery.capturing import CaptureJournal
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import SourceDescription, folder_name
from trackyard.journal.entries import Holder
from trackyard.project.sources import text_of
from trackyard.project.trackers import Tracker
from trackyard.system.inside_hooks import is_inside_hook
from trackyard.system.interruption import let_signals_through

if TYPE_CHECKING:
    from trackyard.contract.capturing import Capture
    from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")


class Activated(Protocol):
    """What is activated in a step: a tracker's hooks, and the run as it gets it."""

    @property
    def hooks(self) -> TrackerHooks:
        """The hooks."""

    @property
    def run(self) -> Run:
        """The run."""


@attrs.frozen
class Source:
    """A flavor whose SDK's own calls are captured in a run that it does not track.

    Attributes:
        hooks: Those of an instance of it.
        run: The run, with a folder for what its SDK writes.
        configured: As it is configured.
    """

    hooks: TrackerHooks
    run: Run
    configured: Tracker


def described_sources(sources: Iterable[Tracker]) -> list[SourceDescription]:
    """Give sources as they are written down of a run.

    Args:
        sources: The sources.
    """
    return [
        SourceDescription(text_of(one), folder_name(one.name), str(one.project.identity))
        for one in sources
    ]


class RunCapture:
    """Writes what one SDK's calls log into the journal of a run: the `Capture` that a flavor gets.

    Args:
        tracked: The run.
        journal: The run's.
        source: The tracker whose SDK it is.
        remote_id: The backend's own id of the run, where the flavor does not say another one.
    """

    def __init__(
        self, tracked: TrackedRun, journal: CaptureJournal, source: str, remote_id: str
    ) -> None:
        self._tracked = tracked
        self._journal = journal
        self._source = source
        self._remote_id = remote_id
        self._positions: set[str] = set()
        self._children: list[RunCapture] = []
        self._has_failed = False

    def __call__(
        self, records: Sequence[Record], position: str = "", remote_id: str | None = None
    ) -> None:
        """Write the records of one call; see `Capture`."""
        if is_inside_hook() or (position and position in self._positions):
            return
        with self._contained():
            if position:
                self._positions.add(position)
            now = time.time_ns()
            remote_id = remote_id or self._remote_id
            self._journal.write(Holder(self._source, remote_id, position, now), records)

    def set_status(self, status: FinalStatus) -> None:
        """Note under which status the SDK's own call has ended the run; see `Capture`."""
        with self._contained():
            self._tracked.set_status(status)

    def start_run(
        self,
        name: str,
        adopt: Callable[[Path], object],
        tags: Mapping[str, str] | None = None,
    ) -> Capture | None:
        """Have a further run of the SDK become a child run; see `Capture`.

        Args:
            name: Its name.
            adopt: Notes in its folder which run of the backend it is.
            tags: Labels of the run.
        """
        with self._contained():
            child = self._tracked.start_native_child(self._source, name, adopt, tags or {})
            if child is not None:
                self._children.append(child)
                return child
        return None

    def end_run(self, status: FinalStatus = "finished") -> None:
        """End the run, with those below it; see `Capture`."""
        with self._contained():
            self.end_children()
            if not self._tracked.has_end:
                if status != "finished":
                    self._tracked.set_status(status)
                self._tracked.end_native_child()

    def end_children(self) -> None:
        """End the runs below this one that the code has left open."""
        while self._children:
            self._children.pop().end_run()

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """Say the first error: the SDK's call has succeeded, and must not raise for our sake."""
        try:
            yield
        except Exception as error:
            let_signals_through(error)
            if not self._has_failed:
                self._has_failed = True
                logger.warning(
                    "experiment tracker %r: calls of its SDK reach no other tracker: %s: %s",
                    *(self._source, type(error).__name__, error),
                )
