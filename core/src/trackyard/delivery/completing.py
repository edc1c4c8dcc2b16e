"""When has a tracker all of a run, also where children of the run's process outlive it?

A child writes its journal for as long as it lives: what it logs after the run's end is sent then,
by the next command. Until it is dead the run stays marked as pending.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trackyard.delivery.state import DeliveryState, load_state
from trackyard.journal.children import count_late, has_living_children
from trackyard.journal.pending import mark_as_complete, mark_as_pending


def is_whole(state: DeliveryState, run_folder: Path) -> bool:
    """Tell whether a tracker has the run's end and all that was written before and after it."""
    if not state.is_ended:
        return False
    return not count_late(run_folder, state.cursor, all_ranks=state.all_ranks).records


def are_whole(run_folder: Path, tracker_folders: Iterable[str]) -> bool:
    """Tell whether each tracker has all of a run, by what is noted in its folder."""
    return all(is_whole(load_state(run_folder / name), run_folder) for name in tracker_folders)


def complete(run_folder: Path, tracker_folders: Iterable[str]) -> None:
    """Note that every tracker has the whole run, unless a child still may, or did, log into it."""
    mark_as_complete(run_folder)
    # Looked at afterwards: a child takes its lock before it marks the run.
    if has_living_children(run_folder) or not are_whole(run_folder, tracker_folders):
        mark_as_pending(run_folder)
