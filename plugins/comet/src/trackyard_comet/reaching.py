"""Is a server there, as far as is known: asked once, and not by every step while it is away?"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from trackyard import home
from trackyard_comet.server import is_reachable

# Seconds for which a server that did not answer is not asked again.
_REMEMBERED = 60.0


def is_away(url: str) -> tuple[bool, bool]:
    """Tell whether a server is away, and whether that is news.

    A probe of a server that hangs takes a second, which not each step of a pipeline shall wait.
    """
    path = home() / "comet-away.json"
    away = _read(path)
    age = time.time() - away.get(url, 0.0)
    if 0 <= age < _REMEMBERED:
        return True, False
    if is_reachable(url):
        return False, False
    with suppress(OSError):  # where it cannot be written each step asks
        path.write_text(json.dumps({**away, url: time.time()}), encoding="utf-8")
    return True, True


def _read(path: Path) -> dict[str, float]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
