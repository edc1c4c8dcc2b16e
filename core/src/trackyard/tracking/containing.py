"""What becomes of tracking for which no memory, no thread or no depth of calls is left?

The step goes on. What cannot be kept is counted, in its run, and the end says it. What stands here
imports nothing that is not light.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec

from trackyard.system.starving import is_starved

_P = ParamSpec("_P")

logger = logging.getLogger("trackyard")

# Let go one by one where there is no memory, so that what follows, and the user's code, has some:
# a little more than Python asks the system for at once. Pages that nobody touches cost nothing.
_RESERVE = [bytearray(1_500_000) for _ in range(3)]


def contained(
    active: list[Any] | None = None,
) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Count a log call that cannot be made, in its run; the step goes on, and the end says it.

    Args:
        active: Of a function, the runs of which the last one counts it; of a method None, as it is
            its own run's.
    """

    def contain(call: Callable[_P, None]) -> Callable[_P, None]:
        @wraps(call)
        def contained_call(*arguments: _P.args, **keywords: _P.kwargs) -> None:
            try:
                call(*arguments, **keywords)
            except (RecursionError, MemoryError):
                # A call of anything would fail here, too.
                runs: Any = arguments if active is None else active
                if runs:
                    run = runs[0] if active is None else runs[-1]
                    run._tracked.journal.dropped += 1  # noqa: SLF001 - see above

        return contained_call

    return contain


def is_ours_to_bear(error: BaseException) -> bool:
    """Tell whether tracking goes without something: the system had nothing left for it.

    Args:
        error: What tracking has raised; what a signal's handler raised is the user's.
    """
    if not isinstance(error, Exception) or not is_starved(error):
        return False
    if _RESERVE:
        _RESERVE.pop()
    from trackyard.system.interruption import came_from_signal

    return not came_from_signal(error)


@contextmanager
def spared(what: str) -> Iterator[None]:
    """Go on without a part of a run's tracking that the system has nothing left for, and say so.

    Args:
        what: The part, as in "the system has nothing left for ...".
    """
    try:
        yield
    except Exception as error:
        if not is_ours_to_bear(error):
            raise
        say_spared(what, error)


def say_spared(what: str, error: BaseException) -> None:
    """Warn that a part of tracking is left out, where there is memory for that.

    Args:
        what: The part.
        error: What it has raised.
    """
    with suppress(MemoryError, RecursionError, RuntimeError, ImportError, SystemError):
        kind, text = type(error).__name__, str(error)
        reason = f"{kind}: {text}" if text else kind
        logger.warning("the system has nothing left for %s: %s; the code goes on", what, reason)


def leave_spared(leave: Callable[..., bool | None], *error: Any) -> bool | None:
    """Leave a run's block; what the user's code has raised in it comes through, and nothing else.

    Args:
        leave: The block's `__exit__`.
        error: What it gets: kind, exception and traceback, or three times None.
    """
    try:
        return leave(*error)
    except Exception as raised:
        if raised is error[1] or not is_ours_to_bear(raised):
            raise
        say_spared("a run's end", raised)
        return False
