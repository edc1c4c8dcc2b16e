"""To which of a flavor's active runs do calls of its SDK belong that are made here?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from threading import get_ident
from typing import Protocol, TypeVar

from trackyard.system.inside_hooks import is_inside_hook


class _Step(Protocol):
    """What a flavor keeps of a run while it is active."""

    @property
    def thread(self) -> int: ...
    @property
    def process(self) -> int: ...


_S = TypeVar("_S", bound=_Step)


def step_of_caller(steps: Sequence[_S], *, in_forks: bool = False) -> _S | None:
    """Give the active run whose code is running: the innermost of the thread, or the only one.

    Args:
        steps: What the flavor keeps of the active runs, in the order in which they have begun; each
            has the `thread` and the `process` of its block.
        in_forks: Children that are forked from the process of a block log to its run, too.

    Returns:
        None in a hook, and where it cannot be told.
    """
    if is_inside_hook():
        return None
    own = [step for step in steps if in_forks or step.process == os.getpid()]
    thread = get_ident()
    inner = next((step for step in reversed(own) if step.thread == thread), None)
    return own[0] if inner is None and len(own) == 1 else inner
