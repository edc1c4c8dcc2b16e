"""How do writes to files fail inside a flavor's hook, and nowhere else?

Files that Python opens or moves are meant; what a library in C writes, such as SQLite, is not.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

from trackyard.testing.faulty import is_running

WriteFault = Literal[
    "no space (ENOSPC)",
    "no descriptors (EMFILE)",
    "half a write",
    "after a write",
    "before it is moved",
    "after it is moved",
]
_NUMBERS = {"no descriptors (EMFILE)": errno.EMFILE}
_WRITING = set("wax+")


class FailingFiles:
    """Lets the k-th file that a hook opens to write fail.

    Args:
        hook: The hook, which the flavor announces (see `faulty`).
        fault: What happens.
        number: Which of the files, counted from 1.

    Attributes:
        met: How often it happened.
        seen: How many files the hook has opened to write, or moved.
    """

    def __init__(self, hook: str, fault: WriteFault, number: int = 1) -> None:
        self.met = self.seen = 0
        self._hook = hook
        self._fault = fault
        self._left = number

    def open(self, original: Any, file: Any, mode: str, arguments: Any, keywords: Any) -> Any:
        """Open a file as `original` does, or fail.

        Args:
            original: What opens files.
            file: The file.
            mode: How it is opened.
            arguments: What else `original` takes.
            keywords: Likewise, by name.
        """
        is_due = not isinstance(file, int) and _WRITING & set(mode) and is_running(self._hook)
        if is_due:
            self.seen += 1
        if not is_due or self._moves or not self._is_next():
            return original(file, mode, *arguments, **keywords)
        if self._fault in ("half a write", "after a write"):
            return _Torn(original(file, mode, *arguments, **keywords), self._fault)
        number = _NUMBERS.get(self._fault, errno.ENOSPC)
        raise OSError(number, os.strerror(number), os.fspath(file))

    def move(self, original: Any, arguments: Any, keywords: Any) -> Any:
        """Move a file as `original` does, or fail.

        Args:
            original: What moves files.
            arguments: What it takes.
            keywords: Likewise, by name.
        """
        is_due = is_running(self._hook)
        if is_due:
            self.seen += 1
        if not is_due or not self._moves or not self._is_next():
            return original(*arguments, **keywords)
        if self._fault == "after it is moved":
            original(*arguments, **keywords)
        raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(arguments[-1]))

    @property
    def _moves(self) -> bool:
        return self._fault.endswith("moved")

    def _is_next(self) -> bool:
        self._left -= 1
        self.met += self._left == 0
        return self._left == 0


class _Torn:
    """A file whose first write fails, when half of it, or all, is there."""

    def __init__(self, file: Any, fault: WriteFault) -> None:
        self._file = file
        self._fault = fault

    def write(self, data: Any) -> int:
        self._file.write(data[: len(data) // 2] if self._fault == "half a write" else data)
        self._file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writelines(self, lines: Any) -> None:
        lines = list(lines)
        self.write(lines[0][:0].join(lines) if lines else "")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)


@contextmanager
def failing_files(hook: str, fault: WriteFault, number: int = 1) -> Iterator[FailingFiles]:
    """Let a write of a hook fail while this is open.

    Args:
        hook: The hook.
        fault: What happens.
        number: Which of the files that it opens to write.
    """
    failing, original = FailingFiles(hook, fault, number), builtins.open
    movers = {name: getattr(os, name) for name in ("replace", "rename")}

    def wrapped(file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        return failing.open(original, file, mode, arguments, keywords)

    def moving(mover: Any) -> Any:
        return lambda *arguments, **keywords: failing.move(mover, arguments, keywords)

    builtins.open = io.open = wrapped  # pathlib opens by the second
    for name, mover in movers.items():
        setattr(os, name, moving(mover))
    try:
        yield failing
    finally:
        builtins.open = io.open = original
        for name, mover in movers.items():
            setattr(os, name, mover)
