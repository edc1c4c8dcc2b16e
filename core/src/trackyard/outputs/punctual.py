"""How long may a step wait for a file system behind a network?

Clients of object stores try for many minutes, and one that hangs may never return. What a step
waits for takes a minute a call; a call that takes longer is left behind, on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from trackyard.system.waiting import result_within

STALLED = 60.0  # seconds
# Bytes that are written in one call: each is a thread of its own.
_PIECE = 8 << 20

_T = TypeVar("_T")


def in_time(call: Callable[[], _T]) -> _T:
    """Give what a call gives.

    Args:
        call: What is called.

    Raises:
        TimeoutError: It hangs.
    """
    return result_within(STALLED, call, name="artifact-store")


class PunctualFile:
    """A file that is written, none of whose calls is waited for any longer than that.

    Args:
        file: The file.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._held = bytearray()
        self._is_lost = False

    def write(self, data: memoryview) -> None:
        """Write bytes, or hold them for a larger write.

        Args:
            data: The bytes.

        Raises:
            TimeoutError: It hangs.
        """
        self._held += data
        if len(self._held) >= _PIECE:
            held, self._held = self._held, bytearray()
            self._call(lambda: self._file.write(held))

    def close(self) -> None:
        """Write what is held, and the end; nothing where a call has failed.

        Raises:
            TimeoutError: It hangs.
        """
        if self._is_lost:
            return
        held, self._held = self._held, bytearray()

        def end() -> None:
            if held:
                self._file.write(held)
            self._file.close()

        self._call(end)

    def _call(self, call: Callable[[], object]) -> None:
        try:
            in_time(call)
        except BaseException as error:
            self._is_lost = True
            self._let_go(hangs=isinstance(error, TimeoutError) or not isinstance(error, Exception))
            raise

    def _let_go(self, *, hangs: bool) -> None:
        """Keep fsspec from sending it once more when the object is collected, in the step."""
        with suppress(Exception):  # each file system has errors of its own
            if not hangs:
                in_time(self._file.discard)
        with suppress(Exception):
            self._file.closed = True
