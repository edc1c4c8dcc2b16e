"""How is Neptune's SDK kept from telling each step what it does?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the SDK from telling each step what it does, and its client from telling the token."""
    loggers = [logging.getLogger(name) for name in ("neptune", "bravado.client")]
    levels = [found.level for found in loggers]
    for found in loggers:
        found.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for found, level in zip(loggers, levels, strict=True):
            found.setLevel(level)
