"""How does a run stand on a tracker?"""

from __future__ import annotations

from pathlib import Path

import attrs

from trackyard.delivery.state import DeliveryState
from trackyard.journal.entries import dropped_in
from trackyard.journal.reader import JournalReader


@attrs.frozen
class TrackerReport:
    """How one run stands on one tracker.

    Attributes:
        tracker: The tracker's name.
        url: The run's address there, if it is known.
        is_complete: The tracker has everything, the end included.
        delivered, pending, quarantined: Numbers of records.
        changes: What had to be changed for the backend, with how often.
        problem: The last error as one line, or an empty text.
        lost: How many log calls a full or damaged disk or a lost machine cost, so far as known.
        is_kept_offline: Its SDK keeps the run on this machine until `trackyard sync`.
        abandoned: Hooks that hung, and whose thread was left alone or whose process was killed.
    """

    tracker: str
    url: str | None
    is_complete: bool
    delivered: int
    pending: int
    quarantined: int
    changes: dict[str, int]
    problem: str = ""
    lost: int = 0
    is_kept_offline: bool = False
    abandoned: int = 0


def report_of(tracker: str, state: DeliveryState, folder: Path) -> TrackerReport:
    """Say how a run stands on a tracker, from what is noted on disk.

    Args:
        tracker: The tracker's name.
        state: The state of the delivery.
        folder: The tracker's folder of the run.
    """
    pending, lost = 0, state.lost
    if not state.is_ended:
        reader = JournalReader(folder.parent, state.cursor)
        while entries := reader.read(1000):
            pending += sum(len(entry.records()) for _, entry in entries)
            lost += sum(dropped_in(entry) for _, entry in entries)
        lost += reader.lost
    return TrackerReport(
        tracker=tracker,
        url=state.url,
        is_complete=state.is_ended,
        delivered=state.delivered,
        pending=pending,
        quarantined=state.quarantined,
        changes=state.changes,
        problem=state.problem,
        lost=lost,
        is_kept_offline=state.is_kept_offline,
        abandoned=state.abandoned,
    )
