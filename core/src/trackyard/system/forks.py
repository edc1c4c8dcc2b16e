"""What does a forked child let go of that belongs to its parent?

A fork copies open files and locks that are held: a child that keeps a file open keeps its `flock`
alive after the parent's death, and a lock that another thread held stays held for ever.
"""

from __future__ import annotations

import os
import sys
import traceback
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Inherited(Protocol):
    """An object that a forked child must not go on using as it is."""

    def leave_to_parent(self) -> None:
        """Let go of what belongs to the parent; called in the child, which has one thread."""


# Python can take a fork handler back no more: one serves all objects, for as long as they live.
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_registered = False


def leave_in_forked_child(inherited: Inherited) -> None:
    """Have an object's `leave_to_parent` called in each child that is forked from now on."""
    global _registered  # noqa: PLW0603 - see above
    if not _registered:
        os.register_at_fork(after_in_child=_leave_all)
        _registered = True
    _inherited.add(inherited)


@contextmanager
def only_in_this_process() -> Iterator[None]:
    """End a child that is forked in the block and leaves it, as a `multiprocessing` child ends.

    It would go on with what follows, which is its parent's to do.
    """
    process, code = os.getpid(), 1
    try:
        yield
        code = 0
    except SystemExit as error:
        if os.getpid() == process:
            raise
        code = error.code if isinstance(error.code, int) else error.code is not None
    except BaseException:
        if os.getpid() == process:
            raise
        traceback.print_exc()
    if os.getpid() != process:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # what is registered for the exit is the parent's, too


def _leave_all() -> None:
    for inherited in list(_inherited):
        inherited.leave_to_parent()
