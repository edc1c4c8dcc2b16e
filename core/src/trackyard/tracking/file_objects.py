"""What does an open file hold that a log call is given in place of its content?"""

from __future__ import annotations

import os
import stat
from typing import Any

from trackyard.system.interruption import let_signals_through


def content_of(value: Any, *kinds: type) -> Any:
    """Give all that a file holds, from its start, and leave it where it was; of others the value.

    What cannot go back to its start, or never ends, is not read: a pipe would hold up the step.

    Args:
        value: Any value.
        kinds: What may be read: `bytes`, `str` or both; of another file the value is given, too.
    """
    try:
        if not hasattr(value, "read") or not value.seekable() or not _has_end(value):
            return value
        place = value.tell()
        value.seek(0)
        try:
            content = value.read()
        finally:
            value.seek(place)
    except Exception as error:  # it is closed, or only to be written
        let_signals_through(error)
        return value
    return content if type(content) in kinds else value


def _has_end(file: Any) -> bool:
    """Tell whether a file is in memory or on a disk."""
    try:
        number = file.fileno()
    except (AttributeError, OSError):  # it is no file of the system's
        return True
    return stat.S_ISREG(os.fstat(number).st_mode)
