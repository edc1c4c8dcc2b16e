"""What becomes of a log call for which no memory, or no depth of calls, is left?"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

_P = ParamSpec("_P")


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
