"""How does a run stand on a tracker, and when has a tracker all of it?

A child of the run's process may outlive it, and writes its journal for as long as it lives: what
it logs after the run's end is sent then, by the next command. Until it is dead the run stays
marked as pending.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import attrs

from trackyard.delivery.state import DeliveryState, load_state
from trackyard.journal.children import count, count_late, has_living_children
from trackyard.journal.ending import find_end, is_of_recovery
from trackyard.journal.pending import (
    mark_as_complete,
    mark_as_lacking,
    mark_as_pending,
    mark_as_whole,
)
from trackyard.journal.reader import JournalReader
from trackyard.system.files import read_whole

# In a tracker's folder of a run, from its flavor: new ids by old ones, as in `run 1` and `2`.
MOVED = "moved.json"
_MOST_IDS, _LONGEST_ID = 100, 200


@attrs.frozen
class TrackerReport:
    """How one run stands on one tracker.

    Attributes:
        tracker: The tracker's name.
        url: The run's address there, if it is known.
        is_complete: The tracker has everything, the end included.
        delivered, pending, quarantined: Numbers of records.
        has_more: More are pending than were counted.
        native: How many records calls of its own SDK have put there.
        changes: What had to be changed for the backend, with how often.
        problem: The last error as one line, or an empty text.
        lost: How many log calls a full or damaged disk or a lost machine cost, so far as known.
        has_end: The tracker has the run's end; children may have logged after it, and records may
            wait that it has not taken.
        is_kept_offline: Its SDK keeps the run on this machine until `trackyard sync`.
        abandoned: Hooks that hung, and whose thread was left alone or whose process was killed.
        accepted: How much of what is pending, refused or lost somebody has accepted by name.
        deleted: What the tracker says of the run's deletion there, or an empty text.
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
    accepted: int = 0
    deleted: str = ""
    native: int = 0
    has_more: bool = False

    @property
    def lacking(self) -> int:
        """How much the tracker does not have: records, log calls, and the run's end."""
        return self.pending + self.quarantined + self.lost + (not self.has_end)

    @property
    def is_settled(self) -> bool:
        """The tracker has everything, or somebody has accepted by name that it has not."""
        return self.lacking <= self.accepted


def report_of(
    tracker: str, state: DeliveryState, folder: Path, most: int | None = None
) -> TrackerReport:
    """Say how a run stands on a tracker, from what is noted on disk.

    Args:
        tracker: The tracker's name.
        state: The state of the delivery.
        folder: The tracker's folder of the run.
        most: Count no further where more records than so many are pending; all by default.
    """
    if state.is_ended and not state.is_end_of_recovery:
        left = count_late(folder.parent, state.cursor, all_ranks=state.all_ranks)
    else:
        reader = JournalReader(folder.parent, state.cursor)
        left = count(reader, all_ranks=state.all_ranks, most=most)
    return TrackerReport(
        tracker=tracker,
        url=state.url,
        is_complete=state.is_ended
        and not left.records
        and not state.apart
        and not _is_superseded(state, folder.parent),
        delivered=state.delivered,
        pending=left.records + state.apart,
        quarantined=state.quarantined,
        changes={**state.changes, **_moved(folder)},
        problem=state.problem,
        lost=state.lost + left.lost,
        is_kept_offline=state.is_kept_offline,
        has_end=state.is_ended or state.is_end_sent,
        abandoned=state.abandoned,
        accepted=state.accepted,
        deleted=state.deleted,
        native=state.native,
        has_more=left.has_more,
    )


def _moved(folder: Path) -> dict[str, int]:
    """Say which ids of what native calls made are others in the backend, as its flavor notes it."""
    try:
        ids = json.loads(read_whole(folder / MOVED))
    except (OSError, ValueError):
        return {}
    known = ids.items() if isinstance(ids, dict) else ()
    said = [f"{str(old)[:_LONGEST_ID]} is {str(new)[:_LONGEST_ID]} there" for old, new in known]
    return dict.fromkeys(said[:_MOST_IDS], 1)


def is_whole(state: DeliveryState, run_folder: Path) -> bool:
    """Tell whether a tracker has the run's end and all that was written before and after it.

    It also is where somebody has accepted by name what the tracker lacks.

    Args:
        state: What is noted of the delivery to this tracker.
        run_folder: The run's folder, with its journal.
    """
    if state.accepted and report_of("", state, run_folder / "tracker").is_settled:
        return True
    if not state.is_ended or state.apart or _is_superseded(state, run_folder):
        return False
    if state.is_end_of_recovery:  # the run's own process may have lived, and written on
        left = count(JournalReader(run_folder, state.cursor), all_ranks=state.all_ranks)
    else:
        left = count_late(run_folder, state.cursor, all_ranks=state.all_ranks)
    return not left.records


def _is_superseded(state: DeliveryState, run_folder: Path) -> bool:
    """Tell whether the run's own process has ended it by now, and the tracker has another end."""
    if not state.is_end_of_recovery:
        return False
    found = find_end(run_folder)
    return found is not None and not is_of_recovery(found.writer)


def are_whole(run_folder: Path, tracker_folders: Iterable[str]) -> bool:
    """Tell whether each tracker has all of a run, by what is noted in its folder.

    Args:
        run_folder: The run's folder.
        tracker_folders: The names of its trackers' folders.
    """
    states = [load_state(run_folder / name) for name in tracker_folders]  # a newer one is said
    return all(is_whole(state, run_folder) for state in states)


def complete(run_folder: Path, tracker_folders: Iterable[str]) -> None:
    """Note that every tracker has the whole run, unless a child still may, or did, log into it.

    What one of them refused, or what is lost, is noted for `trackyard sync`.

    Args:
        run_folder: The run's folder.
        tracker_folders: The names of its trackers' folders.
    """
    names = list(tracker_folders)
    mark_as_complete(run_folder)
    reports = (report_of(name, load_state(run_folder / name), run_folder / name) for name in names)
    if any(not report.is_settled for report in reports):
        mark_as_lacking(run_folder)
    else:
        mark_as_whole(run_folder)
    # Looked at afterwards: a child takes its lock before it marks the run.
    if has_living_children(run_folder) or not are_whole(run_folder, names):
        mark_as_pending(run_folder)
