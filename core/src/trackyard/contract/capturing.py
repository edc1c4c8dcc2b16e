"""What does core give a flavor, so that the calls of its SDK become records of the run?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from trackyard.contract.records import FinalStatus, Record


class Capture(Protocol):
    """Writes what one call of the SDK logged to the run's journal, as one entry.

    From there the other trackers of the run get it, and the commands that show runs. The tracker
    whose SDK was called has it already, and is not sent it again, as long as it is about the same
    remote run. Call it after the SDK has taken the call. It never raises, may be called from any
    thread, and does nothing for what the flavor's own hooks log.
    """

    def __call__(
        self, records: Sequence[Record], position: str = "", remote_id: str | None = None
    ) -> None:
        """Write the records of one call.

        Args:
            records: What the call logged, with the SDK's own steps and times (nanoseconds). Files
                are copied before this returns.
            position: A text that no other call of this run has, where the same call may be
                captured twice: an entry whose position the journal has is not written again.
            remote_id: The backend's own id of the run that the SDK logged to; by default the one
                that `tracker_remote_id` gives.
        """

    def set_status(self, status: FinalStatus) -> None:
        """Note under which status the SDK's own call has ended the run; it ends with the step."""

    def start_run(
        self,
        name: str,
        adopt: Callable[[Path], object],
        tags: Mapping[str, str] | None = None,
    ) -> Capture | None:
        """Have a further run that the SDK has made become a child run of this one.

        It is journaled, shown and sent to the other trackers as any child run is. A flavor that has
        `tracker_read_native` is asked for what its files hold of this run, too.

        Args:
            name: Its name.
            adopt: Called with the folder that the flavor's hooks get as `run.folder`: it notes
                there which run of the backend this is, so that `tracker_start_run` makes no other.
            tags: Labels of the run.

        Returns:
            What takes the records of that run; None where it cannot be followed.
        """

    def end_run(self, status: FinalStatus = "finished") -> None:
        """End a run that `start_run` has started; one that is left open ends with the step."""
