"""How does a helper process end in time, whatever an SDK has left in it?

Python waits at its end for threads that are no daemons, and for exit handlers: an SDK's may wait
for a server, or for memory, for hours, while nobody is there any more who would end the helper.
"""

from __future__ import annotations

import os
import time
from threading import Thread

# Seconds for what SDKs do at the end: what they were given is delivered by then.
_PATIENCE = 10.0


def end_soon(seconds: float = _PATIENCE) -> None:
    """Have this process end within some seconds, however it does.

    Args:
        seconds: How long at most.
    """
    try:
        Thread(target=_end, args=(seconds,), name="trackyard-end", daemon=True).start()
    except (RuntimeError, MemoryError):
        os._exit(1)


def _end(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(1)
