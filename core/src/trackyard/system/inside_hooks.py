"""Does this code run in a hook, on behalf of a run that must not be logged to from there?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# What a hook logs would be delivered to it, and so on for ever.
_is_inside: ContextVar[bool] = ContextVar("trackyard_inside_hook", default=False)


def is_inside_hook() -> bool:
    """Tell whether this code was called by a hook of a tracker's worker."""
    return _is_inside.get()


@contextmanager
def inside_hook() -> Iterator[None]:
    """Mark what runs in the block as a hook's."""
    token = _is_inside.set(True)
    try:
        yield
    finally:
        _is_inside.reset(token)
