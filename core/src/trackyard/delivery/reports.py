"""How does a run stand on a tracker?"""

from __future__ import annotations

from pathlib import Path

import attrs

from trackyard.delivery.state import DeliveryState
from trackyard.journal.children import count, count_late
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
        has_end: The tracker has the run's end; children may have logged after it.
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
    has_end: bool = False
    abandoned: int = 0


def report_of(tracker: str, state: DeliveryState, folder: Path) -> TrackerReport:
    """Say how a run stands on a tracker, from what is noted on disk.

    Args:
        tracker: The tracker's name.
        state: The state of the delivery.
        folder: The tracker's folder of the run.
    """
    if state.is_ended:
        left = count_late(folder.parent, state.cursor, all_ranks=state.all_ranks)
    else:
        left = count(JournalReader(folder.parent, state.cursor), all_ranks=state.all_ranks)
    return TrackerReport(
        tracker=tracker,
        url=state.url,
        is_complete=state.is_ended and not left.records,
        delivered=state.delivered,
        pending=left.records,
        quarantined=state.quarantined,
        changes=state.changes,
        problem=state.problem,
        lost=state.lost + left.lost,
        is_kept_offline=state.is_kept_offline,
        has_end=state.is_ended,
        abandoned=state.abandoned,
    )
