"""How do threads wait for each other where a signal's handler may raise at any moment?

`threading.Condition` takes its lock in a method in Python. What a handler raises as that returns
leaves the lock locked for ever: `with` has not begun yet. Here `with` takes the lock itself, and
between that and its block the interpreter runs no handler.
Source: `Condition.__enter__` in CPython's `threading.py`; `BEFORE_WITH` in its `ceval.c`.
"""

from __future__ import annotations

import threading
from operator import attrgetter
from typing import Any


class Condition(threading.Condition):
    """A condition that no signal leaves locked."""

    # `with` looks both up at the class, and calls what it gets: the lock's own methods.
    __enter__: Any = property(attrgetter("_lock.__enter__"))
    __exit__: Any = property(attrgetter("_lock.__exit__"))


class Event(threading.Event):
    """An event that no signal leaves locked."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = Condition(threading.Lock())
