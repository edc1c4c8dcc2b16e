"""Is a descriptor still the file that was opened, or has somebody else's file taken its number?

Code that closes descriptors which are not its own (`os.closerange`, a double close) frees our
numbers, and the next files of others get them. Before anything is done to a descriptor that was
kept for long, it is asked which file it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A new file gets the lowest number that is free, so that few programs come as far as this one.
_HIGH = 512


class OwnFile:
    """An open file that is kept for long.

    Args:
        number: Its descriptor, opened just now.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = identity_of(number)

    @property
    def inode(self) -> int:
        """The number of the file in its file system."""
        return 0 if self._identity is None else self._identity[1]

    def is_ours(self) -> bool:
        """Tell whether the descriptor is still the file that it was opened for."""
        return self._identity is not None and identity_of(self.number) == self._identity

    def checked(self) -> int:
        """Give the descriptor.

        Raises:
            OSError: It was closed by somebody else.
        """
        if not self.is_ours():
            raise OSError(errno.EBADF, "its file was closed by somebody else")
        return self.number

    def lies_at(self, path: Path) -> bool:
        """Tell whether a path leads to the file, or whether that cannot be known any more."""
        try:
            status = path.stat()
        except OSError:
            return False
        return not self.is_ours() or (status.st_dev, status.st_ino) == self._identity

    def path(self) -> Path | None:
        """Give where the file lies now, if it was moved; None where that cannot be known."""
        if not self.is_ours():
            return None
        try:
            if sys.platform == "darwin":
                told = fcntl.fcntl(self.number, fcntl.F_GETPATH, bytes(1024))
                path = Path(os.fsdecode(told.rstrip(b"\0")))
            else:
                path = Path(f"/proc/self/fd/{self.number}").readlink()
            return path if path.stat().st_ino == self.inode else None
        except OSError:
            return None

    def close(self) -> None:
        """Close it, unless somebody else's file has its number."""
        if self.is_ours():
            os.close(self.number)
        self._identity = None


class FollowedFolder:
    """A folder that is found where it was renamed to, whatever has taken its name since.

    Args:
        path: The folder. Where the system has no descriptor left for it, it is what lies there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: OwnFile | None = None
        with suppress(OSError):
            self._file = OwnFile(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            weakref.finalize(self, self._file.close).atexit = False

    @property
    def path(self) -> Path:
        """Where it lies now, as far as that can be known."""
        if self._file is not None and not self._file.lies_at(self._path):
            self._path = self._file.path() or self._path
        return self._path


@contextmanager
def opened(number: int) -> Iterator[OwnFile]:
    """Give a file that was opened just now; close it, unless somebody else's file has its number.

    Args:
        number: Its descriptor.
    """
    file = OwnFile(number)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def high_numbers() -> Iterator[None]:
    """Have what a library opens meanwhile get numbers that no other file gets soon.

    It would go on with a number that was closed by somebody else, and write into the file that
    has it by then. Nothing is changed where the system has no numbers left.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = _HIGH if limit == resource.RLIM_INFINITY else min(_HIGH, limit // 2)
    taken: list[int] = []
    try:
        with suppress(OSError):
            taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            while taken[-1] < most:
                taken.append(os.dup(taken[0]))
        yield
    finally:
        _close_all(taken)


def _close_all(numbers: list[int]) -> None:
    """Close descriptors, neighbours with one call of the system."""
    first = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            os.closerange(numbers[first], numbers[place - 1] + 1)
            first = place


def is_ready(number: int, seconds: float | None = None, *, for_writing: bool = False) -> bool:
    """Wait until a descriptor can be read or written, or nobody has its other end any more.

    `select.select` knows no number above 1023, and a program may have a thousand files open.

    Args:
        number: The descriptor.
        seconds: How long at most; for ever by default.
        for_writing: It is to be written, not read.
    """
    poll = select.poll()
    poll.register(number, select.POLLOUT if for_writing else select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def identity_of(number: int) -> tuple[int, int] | None:
    """Give device and inode of an open file, or None where the descriptor is closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def others_of(number: int) -> list[int]:
    """Give the other descriptors of this process that are open for the same file."""
    identity = identity_of(number)
    try:
        numbers = [int(path.name) for path in Path("/dev/fd").iterdir()]
    except OSError:
        return []
    return [other for other in numbers if other != number and identity_of(other) == identity]
