"""Is there anything in a project that recovery may have to do?

The watchdog asks so after each script, most of which leave nothing. It costs the listings of four
folders, and imports next to nothing.
"""

from __future__ import annotations

import os

from trackyard.journal.pending import INDEXED, UNFINISHED


def has_leftovers(home: str) -> bool:
    """Tell whether a run, a driver's mark or the index may need what recovery does.

    A mark of what lives counts, too: whether it does is the next question.

    Args:
        home: The project's `.trackyard`.
    """
    if any(_names_in(home, folder) for folder in UNFINISHED):
        return True
    names = _names_in(home)
    if "runs" in names and INDEXED not in names:
        return True
    return any(name.endswith(".json") for name in _names_in(home, "drivers"))


def _names_in(*folder: str) -> list[str]:
    try:
        return os.listdir(os.path.join(*folder))  # noqa: PTH118, PTH208 - without `pathlib`
    except OSError:
        return []
