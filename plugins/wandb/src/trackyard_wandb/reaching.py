"""Does a run go offline, since no server is there? It is asked once, not by every step."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from pathlib import Path

from trackyard import home, is_true_within
from trackyard_wandb.server import PROBE, WandbServer

logger = logging.getLogger("trackyard")

# Seconds for which a server that did not answer is not asked again.
_REMEMBERED = 60.0


def is_out_of_reach(url: str, api_key: str | None) -> bool:
    """Tell whether runs cannot go to a server now; where that is news, say so in one line."""
    if api_key is None:
        problem, is_news = "no API key is configured", True
    else:
        is_offline, is_news = _is_away(url)
        if not is_offline:
            return False
        problem = f"{url} does not answer"
    if is_news:
        logger.warning("W&B: %s; runs are kept offline now, upload: trackyard sync", problem)
    return True


def _is_away(url: str) -> tuple[bool, bool]:
    """Tell whether a server is away, and whether that is news.

    A probe of a server that hangs takes a second, which not each step of a pipeline shall wait.
    """
    path = home() / "wandb-away.json"
    away = _read(path)
    age = time.time() - away.get(url, 0.0)
    if 0 <= age < _REMEMBERED:
        return True, False
    if is_true_within(PROBE, WandbServer(url, None, PROBE).is_there):
        return False, False
    with suppress(OSError):  # where it cannot be written each step asks
        path.write_text(json.dumps({**away, url: time.time()}), encoding="utf-8")
    return True, True


def _read(path: Path) -> dict[str, float]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
