"""To which run does belong what a thread of this process prints?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from trackyard.console.following import followed_files
from trackyard.console.keeping import Console
from trackyard.console.streams import CoveredStreams

# The streams are those of the whole process, and runs overlap.
_covered: list[CoveredStreams] = []


def cover(
    user: object,
    console: Console | None,
    innermost: Callable[[], Any],
    active: Sequence[Any],
) -> None:
    """Have what is printed kept from now on, by the run of the thread that prints.

    A thread that a run started has that run where there is no doubt which one that is.

    Args:
        user: Who wants it, until `uncover` is called.
        console: Where the user's run keeps it; None where it does not.
        innermost: Gives the calling thread's own run, if any.
        active: All runs of the process, the latest last.
    """

    def find() -> Console | None:
        run = innermost()
        if run is None and active and all(other.thread == active[0].thread for other in active):
            run = next(filter(_covered[0].is_used_by, reversed(active)), None)
        if run is None or not _covered[0].is_used_by(run):  # what SDKs print as they end
            return None
        found: Console | None = run._tracked.console  # noqa: SLF001 - a part of it
        return found

    if console is None:
        return
    if not _covered:
        _covered.append(CoveredStreams(find))
    _covered[0].cover(user)


def uncover(user: object) -> None:
    """Leave the streams as they were, once nobody wants them covered; twice is no error.

    Args:
        user: Who wants it no more.
    """
    for streams in _covered:
        streams.uncover(user)


@contextmanager
def followed(console: Console | None, *, has_own_files: bool) -> Iterator[None]:
    """Keep what code of C and programs write to this process's stdout and stderr, too.

    Args:
        console: What keeps it; the streams are covered already.
        has_own_files: These are files that no other process prints to; else nothing is done.
    """
    if console is None or not has_own_files:
        yield
        return
    with followed_files(console) as files:
        _covered[0].files.update(files)
        try:
            yield
        finally:
            _covered[0].files.clear()
