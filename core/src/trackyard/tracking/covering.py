"""To which run does belong what a thread of this process prints?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from trackyard.console.keeping import Console
from trackyard.console.streams import CoveredStreams

# The streams are those of the whole process, and runs overlap.
_covered: list[CoveredStreams] = []


@contextmanager
def covered(
    console: Console | None, innermost: Callable[[], Any], active: Sequence[Any]
) -> Iterator[None]:
    """Have what is printed in the block kept, by the run of the thread that prints.

    A thread that a run started has that run where there is no doubt which one that is.

    Args:
        console: Where the block's run keeps it; None where it does not.
        innermost: Gives the calling thread's own run, if any.
        active: All runs of the process, the latest last.
    """

    def find() -> Console | None:
        run = innermost()
        if run is None and active and all(other.thread == active[0].thread for other in active):
            run = active[-1]
        found: Console | None = run._tracked.console if run is not None else None  # noqa: SLF001 - a part of it
        return found

    if console is None:
        yield
        return
    if not _covered:
        _covered.append(CoveredStreams(find))
    streams, user = _covered[0], object()
    try:
        try:
            streams.cover(user)
            yield
        finally:
            streams.uncover(user)
    finally:
        streams.uncover(user)  # again: what a signal's handler raised may have cut that short
