"""When was a run open, and how did each of these times end?"""

from __future__ import annotations

import time
from pathlib import Path

import attrs

from trackyard.contract.records import Failure
from trackyard.journal.ending import End, find_end, read_status
from trackyard.journal.reader import JournalReader, latest_session, writers_in


@attrs.frozen
class Opening:
    """One session of a run. Times are nanoseconds since the epoch.

    Attributes:
        status: As it ended.
        started_at: When it began.
        ended_at: When it ended, or None where it goes on, or nobody knows.
    """

    status: str
    started_at: int
    ended_at: int | None

    @property
    def seconds(self) -> float:
        """How long it was, to now where it goes on; 0 where nobody knows when it ended."""
        now = time.time_ns() if self.status == "running" else self.started_at
        return ((self.ended_at or now) - self.started_at) / 1e9


def openings_of(folder: Path, started_at: int) -> list[Opening]:
    """Give the sessions of a run, the first one first; a run that was not resumed has one.

    Args:
        folder: The run's folder.
        started_at: When the run was started, in nanoseconds since the epoch.
    """
    latest = latest_session(folder)
    earlier = [
        _ended(find_end(folder, number), _start_of(folder, number, started_at))
        for number in range(latest)
    ]
    status, end = read_status(folder)
    last = Opening(status, _start_of(folder, latest, started_at), end.timestamp if end else None)
    return [*earlier, last]


def paused_before(folder: Path, started_at: int) -> int:
    """Give for how many nanoseconds a run was not open until its latest session began.

    Args:
        folder: The run's folder.
        started_at: When the run was started, in nanoseconds since the epoch.
    """
    *earlier, last = openings_of(folder, started_at)
    open_for = sum((one.ended_at or one.started_at) - one.started_at for one in earlier)
    return max(0, last.started_at - started_at - open_for)


def _ended(end: End | None, started_at: int) -> Opening:
    if end is None:
        return Opening("crashed", started_at, None)
    failure: Failure | None = end.entry.data
    return Opening(failure.status if failure else "finished", started_at, end.entry.timestamp)


def _start_of(folder: Path, number: int, started_at: int) -> int:
    """Give when a session began, by what stands first in its files."""
    if not number:
        return started_at
    reader = JournalReader(folder, wants={*writers_in(folder, number)}.__contains__)
    return min((entry.timestamp for _, entry in reader.read(1)), default=started_at)
