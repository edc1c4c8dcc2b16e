"""Who runs this process?"""

from __future__ import annotations

import getpass


def user_name() -> str | None:
    """Give the name of the user; None for a container's that has none."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return None
