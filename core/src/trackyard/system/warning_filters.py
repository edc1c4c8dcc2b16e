"""How does a call give its value where the user's filters make errors of warnings?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

_T = TypeVar("_T")

# Filters are the process's: two that are put back in another order would stay.
_LOCK = Lock()


def despite_filters(call: Callable[..., _T], *arguments: Any) -> _T:
    """Call, and once more where a warning was raised as an error: then it is shown.

    Filters are not touched before, since all threads share them.

    Args:
        call: What is called; nothing may be left of it where it raises.
        *arguments: Its arguments.
    """
    try:
        return call(*arguments)
    except Warning:
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("default")
            return call(*arguments)
