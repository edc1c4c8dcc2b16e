"""Is a server there, as far as is known: asked once, and not by every step while it is away?"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from pathlib import Path

from trackyard import home, is_true_within
from trackyard_neptune.settings import server_url

logger = logging.getLogger("trackyard")

# Seconds that the server may take to say that it is there.
PROBE = 1.0
# Seconds for which a server that did not answer is not asked again.
_REMEMBERED = 60.0


def has_no_server(token: str | None) -> bool:
    """Tell whether runs have to be kept offline, and why, in one line."""
    if token is None:
        problem, is_news = "no API token is configured", True
    else:
        url = server_url(token)
        is_offline, is_news = is_away(url)
        if not is_offline:
            return False
        problem = f"{url} does not answer"
    if is_news:
        logger.warning("Neptune: %s; runs are kept offline now, upload: trackyard sync", problem)
    return True


def is_away(url: str) -> tuple[bool, bool]:
    """Tell whether a server is away, and whether that is news.

    A probe of a server that hangs takes a second, which not each step of a pipeline shall wait.
    """
    path = home() / "neptune-away.json"
    away = _read(path)
    age = time.time() - away.get(url, 0.0)
    if 0 <= age < _REMEMBERED:
        return True, False
    if is_reachable(url):
        return False, False
    with suppress(OSError):  # where it cannot be written each step asks
        path.write_text(json.dumps({**away, url: time.time()}), encoding="utf-8")
    return True, True


def is_reachable(url: str) -> bool:
    """Tell whether a server answers within a second, and is one of Neptune's."""
    import requests  # not part of the second

    def answers() -> bool:
        answer = requests.get(f"{url}/api/backend/swagger.json", timeout=PROBE, stream=True)
        with answer:
            return bool(answer.ok)

    return is_true_within(PROBE, answers)


def _read(path: Path) -> dict[str, float]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
