"""How is Neptune's SDK kept from telling each step what it does?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOGGERS = [logging.getLogger(name) for name in ("neptune", "bravado.client")]
_lock = Lock()
_inside: list[object] = []  # the blocks of all threads that are quiet now
_levels: list[int] = []  # what the first of them found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the SDK from telling each step what it does, and its client from telling the token.

    Threads that overlap are quiet until the last of them leaves.
    """
    block = object()
    with _lock:
        if not _inside:
            _levels[:] = [found.level for found in _LOGGERS]
            for found in _LOGGERS:
                found.setLevel(logging.CRITICAL)
        _inside.append(block)
    try:
        yield
    finally:
        with _lock:
            _inside.remove(block)
            if not _inside:
                for found, level in zip(_LOGGERS, _levels, strict=True):
                    found.setLevel(level)
