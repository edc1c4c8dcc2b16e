"""Is there anything in a project that recovery may have to do?

The watchdog asks so after each script, most of which leave nothing. It costs the listings of four
folders, and imports next to nothing.
"""

from __future__ import annotations

from pathlib import Path

from trackyard.journal.pending import (
    is_indexed,
    pending_folders,
    to_be_indexed_folders,
    to_be_shared_folders,
)


def has_leftovers(home: Path) -> bool:
    """Tell whether a run, a driver's mark or the index may need what recovery does.

    A mark of what lives counts, too: whether it does is the next question.

    Args:
        home: The project's `.trackyard`.
    """
    marked = pending_folders(home) or to_be_indexed_folders(home) or to_be_shared_folders(home)
    if marked or not is_indexed(home):
        return True
    return any((home / "drivers").glob("*.json"))
