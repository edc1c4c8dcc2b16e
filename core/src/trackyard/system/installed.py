"""What has this user seen the installed distributions declare, so that nobody reads all of them?

To read some hundred of them, and to import what reads them, takes a tenth of a short program's
time. What was found is kept in the user's folder for caches, with the times of all files that it
is from: it holds until one of them is another.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from trackyard.system.files import make_private_folder, write_whole

FORMAT = 1
_KINDS = (".dist-info", ".egg-info")
_FILES = ("", "/entry_points.txt", "/METADATA")


def has_none(place: str) -> bool:
    """Tell whether there is certainly no distribution in a place of `sys.path`.

    Args:
        place: The place.
    """
    if place.endswith((".egg", "/")) or not _are_finders_usual():
        return False
    try:
        return not _names_in(place)
    except FileNotFoundError:
        return True
    except OSError:  # an archive, say
        return False


def recall(place: str, prefix: str) -> list[Any] | None:
    """Give what was kept of a place, if it still holds.

    Args:
        place: The place.
        prefix: What was looked for there.
    """
    with suppress(OSError, ValueError, TypeError, KeyError):
        if (file := _file_of(place, prefix)) is None:
            return None
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            kept = json.load(opened)
        is_ours = found.st_uid == os.getuid() and not found.st_mode & stat.S_IWOTH
        if is_ours and kept["format"] == FORMAT and kept["state"] == _state_of(place):
            return list(kept["found"])
    return None


def remember(place: str, prefix: str, found: Sequence[Any]) -> None:
    """Keep what was found in a place; a folder that cannot be written keeps nothing.

    Args:
        place: The place.
        prefix: What was looked for there.
        found: What JSON can hold.
    """
    with suppress(OSError, ValueError, TypeError):
        if (file := _file_of(place, prefix)) is not None:
            make_private_folder(file.parent)
            kept = {"format": FORMAT, "state": _state_of(place), "found": found}
            write_whole(file, json.dumps(kept))


def _file_of(place: str, prefix: str) -> Path | None:
    """Give where it is kept; None of a place that is none of this Python's own."""
    if not place.startswith((sys.prefix, sys.base_prefix)) or not _are_finders_usual():
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    if not os.path.isabs(cache):  # noqa: PTH117
        return None
    name = hashlib.sha256(f"{place}\n{prefix}".encode()).hexdigest()[:16]
    return Path(cache) / "trackyard" / "entry-points" / f"{name}.json"


def _state_of(place: str) -> str:
    """Give a text that is another one as soon as a distribution there is."""
    times: list[Any] = []
    for name in sorted(_names_in(place)):
        for file in _FILES:
            try:
                found = os.stat(f"{place}/{name}{file}")  # noqa: PTH116 - a thousand of them
            except OSError:
                continue
            times.append((name, file, found.st_mtime_ns, found.st_size, found.st_ino))
    return hashlib.sha256(repr(times).encode()).hexdigest()


def _names_in(place: str) -> list[str]:
    return [name for name in os.listdir(place or ".") if name.lower().endswith(_KINDS)]  # noqa: PTH208


def _are_finders_usual() -> bool:
    """Tell whether nobody but Python and importlib-metadata finds distributions here."""
    finders = (one for one in sys.meta_path if hasattr(one, "find_distributions"))
    return all(
        one is PathFinder or type(one).__module__.partition(".")[0] == "importlib_metadata"
        for one in finders
    )
