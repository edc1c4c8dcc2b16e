"""How is what a run prints kept, so that a killed process loses nothing of it?

Each line goes to the operating system before the call that printed it returns. The line that is
not finished stands at the file's end, and is written anew when more of it comes. The first half of
what is kept is one file; the last half are files of a tenth, of which the oldest goes.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import RLock

from trackyard.console.lines import Clock, StreamName, folded, header, unfinished
from trackyard.redaction.redactor import Redactor
from trackyard.system.descriptors import OwnFile
from trackyard.system.files import make_private_folder, open_private
from trackyard.system.forks import leave_in_forked_child
from trackyard.system.interruption import let_signals_through

logger = logging.getLogger("trackyard")

FOLDER = "console"
# Characters of one line that are kept: what prints a file without line ends must not cost more.
LONGEST_LINE = 100_000
_TAIL_FILES = 5  # each of a tenth of the limit
_RETRY_AFTER = 1.0  # seconds until a disk that refused a line is asked again
_CHILD_SHARE = 10  # what is kept of a forked child, of which there may be many, is less
# A long line that is not finished is written anew when it has grown by so much.
_LONG, _GROWTH = 1000, 1.1
# The files that all runs of a process may keep open between two lines: whoever takes none of these
# places opens its file for each call, so that a hundred runs leave descriptors to the user.
_PLACES = deque([None] * 8)


class Console:
    """Keeps what one run prints. Its threads share it; a forked child gets files of its own.

    Nothing is made before something is printed. No method raises: what cannot be written is
    counted.

    Args:
        folder: The run's folder.
        redactor: Keeps secrets out of each line.
        limit: Bytes that are kept at most.
        on_open: Called once, before the first line.
        follow: Gives where the run's folder is now, which may be moved while the run lives.
    """

    def __init__(
        self,
        folder: Path,
        redactor: Redactor,
        limit: int,
        on_open: Callable[[], None] | None = None,
        *,
        follow: Callable[[], Path] | None = None,
    ) -> None:
        self._folder = folder
        self._follow = follow
        self._redactor = redactor
        self._limit = limit
        self._on_open = on_open
        self._forget()
        leave_in_forked_child(self)

    def _forget(self) -> None:
        """Begin without files, as a new process does."""
        self.lost = self._noted = 0
        self._problem = ""
        self._lock = RLock()
        self._clock = Clock()
        self._is_writing = self._is_closed = False
        self._deferred: deque[tuple[StreamName, str]] = deque()
        self._pending: dict[StreamName, str] = {}
        self._cut: dict[StreamName, int] = {}
        self._name = ""  # of its files, once there is one
        self._file: OwnFile | None = None
        self._has_place = False  # among those that keep their file open
        self._parked: Path | None = None  # the file that is closed until the next line
        self._number = self._lines = 0
        self._offset = 0  # where the next line begins in the file
        self._shown: tuple[StreamName, str] | None = None  # the unfinished line that stands there
        self._shown_size = 0  # its bytes
        self._retry_at = 0.0

    def leave_to_parent(self) -> None:
        """Leave the files to the process that this one was forked from."""
        if self._file is not None:
            self._file.close()
        self._give_place_back()
        self._limit //= _CHILD_SHARE
        self._forget()

    def write(self, stream: StreamName, text: str) -> None:
        """Keep a text that was printed; any thread may call this.

        Args:
            stream: Where to.
            text: What, also a part of a line.
        """
        with self._lock:
            if self._is_writing:  # a signal handler prints while this very thread is in here
                self._deferred.append((stream, text))
                return
            if self._is_closed:
                return
            self._is_writing = True
            try:
                self._take(stream, text)
                while self._deferred:
                    self._take(*self._deferred.popleft())
            finally:
                self._park()
                self._is_writing = False

    def close(self) -> None:
        """Finish the lines that are not; what comes from now on is not kept."""
        with self._lock:
            if self._is_closed or self._is_writing:
                return
            self._is_writing = True
            try:
                for stream, text in self._pending.items():
                    if text:
                        self._keep([self._line(stream, text)])
            finally:
                self._is_writing, self._is_closed = False, True
                if self._file is not None:
                    self._file.close()
                    self._file = None
                self._give_place_back()
            if self.lost:
                text = "%s: %d line(s) that were printed are not kept: %s"
                logger.warning(text, self._folder, self.lost, self._problem)

    def _take(self, stream: StreamName, text: str) -> None:
        if text == "\n" and self._shown is not None and self._shown[0] == stream:
            self._finish(stream)  # `print` writes a line's end by itself
            return
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = self._pending.get(stream, "") + lines[0]
            self._keep([self._line(stream, line) for line in lines])
            self._cut[stream] = 0
        else:
            rest = self._pending.get(stream, "") + rest
        rest = unfinished(rest)
        if len(rest) > LONGEST_LINE:
            self._cut[stream] = self._cut.get(stream, 0) + len(rest) - LONGEST_LINE
            rest = rest[:LONGEST_LINE]
        self._pending[stream] = rest
        if rest:
            self._show(stream, rest)
        elif self._shown is None:
            self._show_others(stream)

    def _finish(self, stream: StreamName) -> None:
        """Finish the line that stands there already, if all of it does."""
        shown = self._shown
        if shown is None or self._file is None or self._cut.get(stream):
            self._keep([self._line(stream, self._pending.get(stream, ""))])
        elif folded(self._pending[stream]) != shown[1]:
            self._keep([self._line(stream, self._pending[stream])])
        elif self._write(b"\n", self._offset + self._shown_size, 1, is_checked=True):
            self._note_lines(self._offset + self._shown_size + 1, 1)
        self._pending[stream] = ""
        self._show_others(stream)

    def _show_others(self, stream: StreamName) -> None:
        """Show the unfinished line of the other stream, which was written over."""
        for other, line in self._pending.items():
            if line and other != stream:
                self._show(other, line)

    def _line(self, stream: StreamName, line: str) -> tuple[StreamName, str]:
        line = folded(line)
        cut = self._cut.pop(stream, 0) + max(0, len(line) - LONGEST_LINE)
        if cut:
            line = f"{line[:LONGEST_LINE]}... ({cut} characters more)"
        return stream, line

    def _keep(self, lines: list[tuple[StreamName, str]]) -> None:
        """Write finished lines, for which the unfinished one makes room."""
        if not self._is_open(len(lines)):
            return
        data = self._encoded(lines)
        if self._write(data, self._offset, len(lines)):
            self._note_lines(self._offset + len(data), len(lines))

    def _note_lines(self, end: int, count: int) -> None:
        """Take account of lines that are written.

        Args:
            end: Where the last one ends in the file.
            count: How many.
        """
        self._offset, self._shown, self._shown_size = end, None, 0
        self._lines += count
        share = 2 if self._number == 0 else 2 * _TAIL_FILES
        if self._offset >= self._limit // share:
            self._next_file()

    def _show(self, stream: StreamName, text: str) -> None:
        """Write the line that is not finished behind the others."""
        shown = folded(text)
        before = self._shown[1] if self._shown and self._shown[0] == stream else ""
        is_little = len(before) > _LONG and len(shown) < len(before) * _GROWTH
        if (is_little and shown.startswith(before)) or not self._is_open(0):
            return
        data = self._encoded([(stream, shown)])[:-1]
        if self._write(data, self._offset, 0):
            self._shown, self._shown_size = (stream, shown), len(data)

    def _encoded(self, lines: list[tuple[StreamName, str]]) -> bytes:
        moment = self._clock.now()
        redacted = self._redactor.redact_texts([line for _, line in lines])
        if len(lines) == 1:
            text = f"{moment} {lines[0][0]} {redacted[0]}\n"
        else:
            pairs = zip(lines, redacted, strict=True)
            text = "".join([f"{moment} {stream} {text}\n" for (stream, _), text in pairs])
        return text.encode("utf-8", "backslashreplace")

    def _is_open(self, count: int) -> bool:
        """Open a file where there is none; tell whether there is one."""
        if self._file is not None:
            return True
        if time.monotonic() < self._retry_at:
            self.lost += count
            return False
        try:
            if not self._reopen():
                self._open()
        except OSError as error:
            let_signals_through(error)
            self._give_up(error, count)
        return self._file is not None

    def _write(self, data: bytes, offset: int, count: int, *, is_checked: bool = False) -> bool:
        """Write at a place of the file; tell whether that was possible.

        Args:
            data: What.
            offset: Where.
            count: How many lines that finishes.
            is_checked: The file was written a moment ago, by the same call of the user's.
        """
        assert self._file is not None
        try:
            number = self._file.number if is_checked else self._file.checked()
            if self._shown_size > len(data) and offset == self._offset:
                os.ftruncate(number, offset)
            if os.pwrite(number, data, offset) < len(data):
                os.ftruncate(number, offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            let_signals_through(error)
            self._give_up(error, count)
            return False
        return True

    def _path(self) -> Path:
        return self._folder / FOLDER / f"{self._name}.{self._number:06d}.log"

    def _park(self) -> None:
        """Close the file until the next line, where others have all places."""
        if self._file is None or self._has_place:
            return
        with suppress(IndexError):
            _PLACES.pop()
            self._has_place = True
            return
        self._file.close()
        self._file, self._parked = None, self._path()

    def _reopen(self) -> bool:
        """Go on in the file that was closed since the last line; tell whether it is there."""
        path, self._parked = self._parked, None
        if path is None:
            return False
        try:
            self._file = OwnFile(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError as error:
            let_signals_through(error)
            self._number += 1
            return False
        return True

    def _give_place_back(self) -> None:
        if self._has_place:
            self._has_place = False
            _PLACES.append(None)

    def _open(self) -> None:
        """Open the next file."""
        if self._number == 0 and self._lines == 0 and self._on_open is not None:
            self._on_open()
        if self._follow is not None:
            self._folder = self._follow()
        make_private_folder(self._folder / FOLDER)
        self._name = self._name or f"{time.time_ns()}-p{os.getpid()}-{os.urandom(2).hex()}"
        text = header(self._lines)
        if self.lost > self._noted:
            lost = f"{self.lost - self._noted} line(s) are not kept: {self._problem}"
            text += f"{self._clock.now()} note {lost}\n"
        file = OwnFile(open_private(self._path(), os.O_TRUNC))
        try:
            os.pwrite(file.checked(), text.encode(), 0)
        except OSError:
            file.close()
            raise
        self._file, self._noted = file, self.lost
        self._offset, self._shown, self._shown_size = len(text.encode()), None, 0

    def _next_file(self) -> None:
        """Have the next line begin a file; the oldest of the tail goes."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._parked = None
        self._number += 1
        oldest = self._number - _TAIL_FILES
        if oldest > 0:
            path = self._folder / FOLDER / f"{self._name}.{oldest:06d}.log"
            path.unlink(missing_ok=True)

    def _give_up(self, error: OSError, count: int) -> None:
        """Count what cannot be written; a file that had a part goes on in the next one."""
        self.lost += count
        self._problem = error.strerror or str(error)
        self._retry_at = time.monotonic() + _RETRY_AFTER
        if self._file is not None:
            self._file.close()
            self._file = None
            self._number += 1
        self._shown, self._shown_size = None, 0
