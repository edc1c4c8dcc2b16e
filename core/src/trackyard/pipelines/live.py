"""How do lines stay at the bottom of a terminal while other code writes there, too?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, Thread
from typing import Any, TextIO

from trackyard.system.conditions import Event
from trackyard.system.interruption import start_thread

# Seconds between two drawings, and those that a print of the step's may wait for one at most.
_PERIOD, _PATIENCE = 0.25, 0.2


class LiveLines:
    """Draws lines below what is written, again and again, and takes them away at the end.

    The cursor stays before the first of them, so that what goes around us, such as a C library's
    output, is written over them and not behind. What Python writes takes them away first. They
    wait while the last line is not complete: a progress bar of the step's, or a prompt.

    Args:
        stream: The terminal.
        lines: Gives the lines for a width; each fits it.
    """

    def __init__(self, stream: TextIO, lines: Callable[[int], list[str]]) -> None:
        self._stream = stream
        self._lines = lines
        self._lock = RLock()
        self._process = os.getpid()
        self._is_drawn = False
        self._is_line_complete = True
        self._stopped = Event()
        self._replaced: dict[str, _Beside] = {}

    def start(self) -> None:
        """Begin to draw."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and _is_terminal(stream):
                self._replaced[name] = beside = _Beside(stream, self)
                setattr(sys, name, beside)
        start_thread(Thread(target=self._draw_often, name="trackyard-progress", daemon=True))

    def stop(self) -> None:
        """Take the lines away and draw no more."""
        self._stopped.set()
        with self._cleared():
            pass
        for name, beside in self._replaced.items():
            if getattr(sys, name) is beside:
                setattr(sys, name, beside.stream)

    def write(self, text: str) -> None:
        """Write a text to the terminal; raises what the stream raises."""
        self.write_beside(self._stream, text)
        self._stream.flush()

    def write_beside(self, stream: TextIO, text: str) -> int:
        """Write a text to a stream that goes to the same terminal.

        Args:
            stream: The stream, in place of which this was called.
            text: What is written to it.
        """
        with self._cleared():
            if text:
                self._is_line_complete = text.endswith("\n")
            return stream.write(text)

    def wait_for_a_line(self) -> None:
        """Draw nothing until the next complete line: something goes around us, such as a prompt."""
        with self._cleared():
            self._is_line_complete = False

    def _draw_often(self) -> None:
        while not self._stopped.wait(_PERIOD):
            with self._lock:
                if self._is_line_complete and not self._stopped.is_set():
                    self._draw()

    def _draw(self) -> None:
        width = _width(self._stream) - 1  # a full line would go on in the next
        lines = self._lines(width)
        clear = "\x1b[J" if self._is_drawn else ""
        back = f"\r\x1b[{len(lines) - 1}A" if len(lines) > 1 else "\r"
        text = "\n".join(lines)
        try:
            self._stream.write(f"{clear}{text}{back}" if lines else clear)
            self._stream.flush()
        except (OSError, ValueError):  # a terminal that is gone must not fail a training run
            self._stopped.set()
        self._is_drawn = bool(lines)

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        """Take the lines away for a write, which no terminal that hangs may hold up for long."""
        if self._process != os.getpid() or not self._lock.acquire(timeout=_PATIENCE):
            yield
            return
        try:
            if self._is_drawn:
                self._is_drawn = False
                self._stream.write("\x1b[J")
                self._stream.flush()
            yield
        finally:
            self._lock.release()


class _Beside:
    """A stream that takes live lines away before it writes; in all else it is the stream."""

    def __init__(self, stream: TextIO, live: LiveLines) -> None:
        self.stream = stream
        self._live = live

    def write(self, text: str) -> int:
        return self._live.write_beside(self.stream, text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def fileno(self) -> int:
        # Who asks for it writes around us: a child process, or `input()` with its prompt.
        self._live.wait_for_a_line()
        return self.stream.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def _width(stream: TextIO) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
