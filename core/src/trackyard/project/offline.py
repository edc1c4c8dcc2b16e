"""Does a run with `mode = "auto"` go offline, since its server is not there?"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trackyard.project.configuration import home
from trackyard.system.files import write_whole
from trackyard.system.waiting import is_true_within

logger = logging.getLogger("trackyard")

# Seconds that a server may take to show that it is there, with the look-up of its name.
PROBE = 1.0
# Seconds for which one that did not is not asked again: each step of a pipeline would wait.
_REMEMBERED = 60.0


def is_out_of_reach(
    service: str, url: str, is_there: Callable[[], bool], problem: str = ""
) -> bool:
    """Tell whether runs cannot go to a server now; where that is news, say so in one line.

    A flavor keeps the run offline then, and `trackyard sync` uploads it.

    Args:
        service: The service's name, for the line.
        url: The server's address.
        is_there: Asks the server. It has a second; what it raises means no.
        problem: What makes asking needless, such as a missing key.
    """
    known = f"{service}: {problem}" if problem else url
    is_news = not _is_remembered(known)
    if not problem:
        if is_news and is_true_within(PROBE, is_there):
            return False
        problem = f"{url} does not answer"
    if is_news:
        _remember(known)
        logger.warning(
            "%s: %s; runs are kept offline now, upload: trackyard sync", service, problem
        )
    return True


def _is_remembered(known: str) -> bool:
    return 0 <= time.time() - _read().get(known, 0.0) < _REMEMBERED


def _remember(known: str) -> None:
    with suppress(OSError):  # where it cannot be written each step asks
        write_whole(_file(), json.dumps({**_read(), known: time.time()}))


def _read() -> dict[str, float]:
    try:
        noted = json.loads(_file().read_text(encoding="utf-8"))
        return {known: float(at) for known, at in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _file() -> Path:
    return home() / "servers-away.json"
