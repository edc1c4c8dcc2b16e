"""How does one process at a time do something, and how do others see that it lives?

A `flock` on a file of its own: the system frees it with its process, however that dies.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trackyard.system.descriptors import OwnFile, opened
from trackyard.system.forks import leave_in_forked_child

# A link would have a file made, or held, wherever it leads.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

logger = logging.getLogger("trackyard")


class FileLock:
    """A lock of this process alone; a forked child does not hold it.

    Args:
        path: The file, which stays when the lock is released.

    Attributes:
        is_held: This process has the lock.
        file: The file while it is open.
    """

    def __init__(self, path: Path) -> None:
        self.is_held = False
        self._path = path
        self.file: OwnFile | None = None
        leave_in_forked_child(self)

    def acquire(self) -> bool:
        """Take the lock; False where another process has it.

        A disk that takes no files, or knows no locks, has no other process's lock either.
        """
        self.release()  # what there was no memory to close holds it
        try:
            self.file = OwnFile(os.open(self._path, _FLAGS, 0o600))
            fcntl.flock(self.file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        except OSError as error:
            logger.debug("%s: goes on without a lock: %s", self._path, error)
        self.is_held = True
        return True

    def release(self) -> None:
        """Give the lock back."""
        self.is_held = False
        if self.file is not None:
            self.file.close()
            self.file = None

    def leave_to_parent(self) -> None:
        """Close the file only; the lock itself belongs to the parent's, which stays open."""
        self.release()


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Let one process at a time into a block; the others wait."""
    with opened(os.open(path, _FLAGS, 0o600)) as file:
        fcntl.flock(file.number, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock on a file."""
    try:
        number = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    with opened(number) as file:
        try:
            fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
