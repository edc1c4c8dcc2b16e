"""How do calls of an SDK itself become records of the run that its tracker tracks?"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from trackyard.contract.records import Record
from trackyard.delivery.capturing import CaptureJournal
from trackyard.journal.entries import Holder
from trackyard.system.inside_hooks import is_inside_hook
from trackyard.system.interruption import let_signals_through

logger = logging.getLogger("trackyard")


class RunCapture:
    """Writes what one SDK's calls log into the journal of a run: the `Capture` that a flavor gets.

    Args:
        journal: The run's.
        source: The tracker whose SDK it is.
        remote_id: The backend's own id of the run, where the flavor does not say another one.
    """

    def __init__(self, journal: CaptureJournal, source: str, remote_id: str) -> None:
        self._journal = journal
        self._source = source
        self._remote_id = remote_id
        self._positions: set[str] = set()
        self._has_failed = False

    def __call__(
        self, records: Sequence[Record], position: str = "", remote_id: str | None = None
    ) -> None:
        """Write the records of one call; see `Capture`."""
        if is_inside_hook() or (position and position in self._positions):
            return
        try:
            if position:
                self._positions.add(position)
            now = time.time_ns()
            remote_id = remote_id or self._remote_id
            self._journal.write(Holder(self._source, remote_id, position, now), records)
        except Exception as error:  # the SDK's call has succeeded, and must not raise for our sake
            let_signals_through(error)
            if not self._has_failed:
                self._has_failed = True
                logger.warning(
                    "experiment tracker %r: calls of its SDK reach no other tracker: %s: %s",
                    *(self._source, type(error).__name__, error),
                )
