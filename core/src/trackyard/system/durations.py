"""How long is a time such as 90s, 12h, 30d or 4w?"""

from __future__ import annotations

import re

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def seconds_in(text: str) -> float | None:
    """Give the seconds in a text such as 90s, 12h, 30d or 4w; None where it is no such text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    return float(found[1]) * UNITS[found[2] or "s"] if found else None
