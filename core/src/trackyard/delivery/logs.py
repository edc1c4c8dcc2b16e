"""What does a worker's log hold? What its SDK prints, line by line, without secrets.

A worker's standard output and error are a socket that a thread of the worker reads, and what is
left in it when the worker dies its runner reads: from a socket one can take what one has written.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

from trackyard.redaction.redactor import Redactor
from trackyard.system.files import open_private
from trackyard.system.interruption import start_thread

_LONGEST = 1 << 16  # of a line: a secret that is cut in two would not be found
_MOST = 16 << 20  # of a log
# Seconds after which what has no line's end, such as a question, is taken for whole.
_QUIET = 1.0
_PAUSE = 0.05
_TOO_LONG = b"(a line of more than 65536 bytes)\n"
_FULL = b"(what comes later is not kept: this log has 16 MiB)\n"


class WorkerLog:
    """Writes what comes through a socket to a file, without secrets.

    Args:
        printed: The number of the socket's end for reading, which it closes.
        file: The log.
        redactors: They know the secrets of the worker's trackers.
    """

    def __init__(self, printed: int, file: Path, redactors: Iterable[Redactor] = ()) -> None:
        self._printed = socket.socket(fileno=printed)
        self.file = open_private(file, os.O_APPEND)
        self._size = os.fstat(self.file).st_size
        self._redactor = Redactor()
        self._is_too_long = False
        self._lock = Lock()
        for redactor in redactors:
            self.know(redactor)

    def know(self, redactor: Redactor) -> None:
        """Keep further secrets out, each line of one that has several."""
        lines = (line for secret in redactor.secrets for line in secret.splitlines())
        known = Redactor((*self._redactor.secrets, *redactor.secrets, *lines))
        if known.secrets != self._redactor.secrets:
            self._redactor = known

    def redact(self, text: str) -> str:
        """Give a text without the secrets that are known."""
        return self._redactor.redact(text)

    def follow(self) -> None:
        """Go on until the process ends, in a thread of its own."""
        start_thread(Thread(target=self._follow, name="trackyard-log", daemon=True))

    def drain(self) -> None:
        """Write what has come up to this moment, whole lines or not."""
        if not self._lock.acquire(timeout=_QUIET):
            return
        # Its children may go on writing; more than this was not there.
        for _ in range(_MOST // _LONGEST):
            if not self._take(is_last=True):
                break
        self._lock.release()

    def close(self) -> None:
        """Write what is left, and give both files back."""
        self.drain()
        self._printed.close()
        os.close(self.file)

    def _follow(self) -> None:
        poll = select.poll()  # select.select knows no number above 1023
        poll.register(self._printed, select.POLLIN)
        waited = 0.0
        while True:
            poll.poll()
            with self._lock:
                taken = self._take(is_last=waited >= _QUIET)
            if taken is None:
                return  # the SDK has closed standard output and error
            waited = 0.0 if taken else waited + _PAUSE
            if not taken:
                time.sleep(_PAUSE)

    def _take(self, *, is_last: bool) -> int | None:
        """Write the whole lines of what has come, and only then take it from the socket.

        Returns:
            How many bytes were taken; None where there can be no more.
        """
        try:
            chunk = self._printed.recv(_LONGEST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:  # there is nothing
            return 0
        # A bar of progress ends its line by a carriage return.
        size = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if size:
            lines = chunk[:size]
            if self._is_too_long:
                lines = b"".join(lines.splitlines(keepends=True)[1:])
            self._is_too_long = False
            self._write(lines)
        elif len(chunk) == _LONGEST:
            size = _LONGEST
            if not self._is_too_long:
                self._write(_TOO_LONG)
            self._is_too_long = True
        elif is_last and chunk:
            size = len(chunk)
            if not self._is_too_long:
                self._write(chunk + b"\n")
        if size:
            self._printed.recv(size)
        return size if chunk else None

    def _write(self, data: bytes) -> None:
        if not data or self._size > _MOST:
            return
        text = data.decode("utf-8", "surrogateescape")
        written = self._redactor.redact(text).encode("utf-8", "surrogateescape")
        self._size += len(written)
        with suppress(OSError):  # a full disk takes no more of it
            os.write(self.file, written if self._size <= _MOST else _FULL)
