"""How does the run of a block get into the store's index, while it starts and when it ends?"""

from __future__ import annotations

from threading import RLock

from trackyard.contract.records import Failure
from trackyard.journal.pending import mark_as_indexed, mark_as_to_be_indexed
from trackyard.journal.summaries import Summary
from trackyard.project.configuration import Project
from trackyard.recovery.guarding import finish_in_background, is_wanted
from trackyard.recovery.indexing import index_run
from trackyard.system.environment import is_disabled
from trackyard.tracking.pulse import pulse
from trackyard.tracking.tracked_runs import TrackedRun


class IndexRow:
    """The store's row of a run that no pipeline drives: its `RunRow`.

    A step without a tracker that logged nothing has none: nothing is kept of it.

    Args:
        project: Where the store is.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._metadata: dict[str, str] | None = None
        self._summary: Summary | None = None
        self._lock = RLock()  # who waits for trackers may write while the run ends

    def keep_urls(self, tracked: TrackedRun) -> None:
        """Write where the run can be watched, if that is news."""
        if not is_disabled():
            with self._lock:
                self._keep_urls(tracked)

    def _keep_urls(self, tracked: TrackedRun) -> None:
        if not tracked.deliveries:
            if self._summary is None and tracked.run.resumed:
                self._write(tracked)  # it is there as one that has ended
            if self._summary is None:
                mark_as_to_be_indexed(tracked.folder)  # it may log something, and die
        elif tracked.run_metadata != self._metadata:
            self._write(tracked)
        if self._summary is None:
            pulse().begin(self._project, tracked.run.id, lambda: tracked.last_metrics)

    def note_signal(self, number: int) -> None:
        """Note nothing: the journal has it."""

    def end(self, tracked: TrackedRun | None, _: Failure | None) -> None:
        """Write how the run ended, as its journal says.

        Args:
            tracked: The run, or None where it was not started.
        """
        if is_disabled():
            return
        if tracked is not None:
            pulse().end(tracked.run.id)
        if tracked is not None and tracked.has_description:
            with self._lock:
                self._summary = tracked.summary
                self._write(tracked)
            is_long = tracked.summary is not None and not tracked.summary.is_whole
            if is_long and not tracked.deliveries and is_wanted():
                finish_in_background(self._project.root)  # no watchdog sums it up
        elif tracked is not None:
            mark_as_indexed(tracked.folder)

    def _write(self, tracked: TrackedRun) -> None:
        if tracked.folder.parent.parent == self._project.home:  # else nothing can be written there
            self._metadata = tracked.run_metadata
            index_run(self._project, tracked.run, self._metadata, self._summary)
