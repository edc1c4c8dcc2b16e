"""How is a run that has ended opened again, so that everybody sees that it is?"""

from __future__ import annotations

import time
from pathlib import Path

from trackyard.contract.errors import TrackyardError
from trackyard.journal.descriptions import load_description
from trackyard.journal.entries import Entry
from trackyard.journal.reader import doubt_of, is_alive, latest_session
from trackyard.system.locks import exclusively
from trackyard.tracking.tracked_runs import TrackedRun


def open_session(tracked: TrackedRun) -> None:
    """Begin the next session of a run: from here on it has no end, whatever it had before.

    Whoever else resumes it at this moment, or finds its process dead, waits meanwhile.

    Args:
        tracked: The run, of which nothing was written in this session.

    Raises:
        TrackyardError: It is running by now, or its journal cannot be written.
    """
    folder, number = tracked.folder, tracked.run.resumed
    with exclusively(folder / "recovery.lock"):
        refuse_running(folder, tracked.run.name)
        if latest_session(folder) >= number:
            raise TrackyardError(f"run {tracked.run.name!r} was resumed elsewhere a moment ago")
        tracked.journal.append(Entry("resumed", time.time_ns(), None, {"number": number}))
    if not tracked.journal.has_entries:
        raise TrackyardError(f"run {tracked.run.name!r}: {folder} cannot be written")
    description = load_description(folder)
    tracked.take_over(description.trackers if description else ())


def refuse_running(folder: Path, name: str) -> None:
    """Refuse a run whose process lives, or may live.

    Args:
        folder: The run's folder.
        name: The run's name.

    Raises:
        TrackyardError: It does.
    """
    if is_alive(folder):
        doubt = doubt_of(folder)
        reason = f": {doubt}" if doubt else "; its process has to end it first, by run.end()"
        raise TrackyardError(f"run {name!r} is still running{reason}")
