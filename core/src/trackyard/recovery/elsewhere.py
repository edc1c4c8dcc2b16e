"""How is something sent to the trackers of a run whose journal is on another machine?

A team's store has what that machine's folder had of them: addresses and ids, no secrets. Laid out
in a folder for a moment it is a run like any other, with the few records that are to be sent and
the run's end behind them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Failure
from trackyard.delivery.reports import TrackerReport
from trackyard.hooks.discovery import load_plugins
from trackyard.journal.descriptions import RunDescription, TrackerDescription, load_description
from trackyard.journal.entries import Entry
from trackyard.journal.remains import lay_out_text
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import Project
from trackyard.project.trackers import Trackers
from trackyard.recovery.catching_up import Limits, Owed, catch_up
from trackyard.recovery.trusting import tracker_for

# What core notes of the delivery counts for the journal that is elsewhere.
_OF_DELIVERY = ("delivery.json", "aside.jsonl", "quarantine.jsonl")


def lay_out_elsewhere(left: str, id: str, target: Path) -> RunDescription | None:
    """Lay out what a run's machine has left in a team's store; None where that is nothing.

    Args:
        left: What it left, see `journal.remains`.
        id: The run's id.
        target: The folder to make that of the run in.

    Raises:
        NewerFormatError: A newer Trackyard wrote it.
    """
    folder = target / id
    lay_out_text(left, folder)
    description = load_description(folder)
    for tracker in description.trackers if description else ():
        for name in _OF_DELIVERY:
            (folder / tracker.folder / name).unlink(missing_ok=True)
    return description


def send_from_here(
    project: Project,
    left: str,
    id: str,
    entries: Iterable[Entry],
    end: tuple[int, Failure | None],
    *,
    patience: float = 10.0,
) -> list[TrackerReport]:
    """Send records of a run, and its end, to each of its trackers that can be reached from here.

    Trackers are those of this project's configuration: what a store says chooses none.

    Args:
        project: The project.
        left: What the run's machine has left in the store.
        id: The run's id.
        entries: What is to be sent.
        end: When it ended, in nanoseconds since the epoch, and why it did not finish, or None.
        patience: Seconds to go on with a tracker that fails.

    Returns:
        How each tracker has taken it; `problem` says why one has not.
    """
    with tempfile.TemporaryDirectory(prefix="trackyard-") as place:
        runs = Path(place) / "runs"
        description = lay_out_elsewhere(left, id, runs)
        if description is None:
            return []
        folder = runs / id
        journal = JournalWriter(folder, "recovery")
        for entry in entries:
            journal.append(entry)
        journal.end(Entry("end", end[0], None, end[1]))
        owed = [Owed.of(description, known, folder) for known in description.trackers]
        trackers = Trackers(project)
        for one in owed:
            problem = _why_not(description, one.tracker, project, trackers)
            if problem:
                one.report = attrs.evolve(one.before, problem=problem)
        catch_up(owed, project, load_plugins()[0], Limits(patience))
        return [one.now() for one in owed]


def _why_not(
    run: RunDescription, known: TrackerDescription, project: Project, trackers: Trackers
) -> str:
    """Say why a tracker takes nothing of this run from here; an empty text where it does."""
    try:
        able = tracker_for(run, known, project, trackers).capabilities
    except TrackyardError as error:
        return str(error)
    if able.needs_folder or able.idempotence != "natural":
        return f"flavor {known.table['flavor']!r} goes on with a run on its own machine alone"
    return ""


def failure_in(row: Mapping[str, Any]) -> Failure | None:
    """Give why a run did not finish, as far as the store knows.

    Args:
        row: Its `status` and `error`.
    """
    if row["status"] not in ("failed", "killed", "crashed"):
        return None
    kind, _, message = str(row["error"] or row["status"].capitalize()).partition(": ")
    return Failure(row["status"], kind, message)
