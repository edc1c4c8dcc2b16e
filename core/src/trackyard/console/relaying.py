"""How is kept what a process writes that we start, while it goes where it went before?

The process gets a pipe in place of a file or a pipe, and a pseudo-terminal in place of a terminal;
its stdin and its controlling terminal stay what they are. What it writes is passed on byte by
byte. Where both of its streams go to the same place they share one of ours: the order stays.
"""

from __future__ import annotations

import codecs
import errno
import fcntl
import os
import select
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Literal, Self

from trackyard.system.descriptors import is_ready
from trackyard.system.interruption import start_thread

# Gets what is written, with the stream's name.
Keep = Callable[[Literal["out", "err"], str], None]

_CHUNK = 64 * 1024
_OUTPUT = 1  # where the flags of output stand in what `tcgetattr` gives


class Relay:
    """Passes on what a process writes to its stdout and stderr.

    Use it as a context: start the process in it with `stdout` and `stderr`, call `begin`, and wait
    for the process. On leaving, what the process has written is passed on; what it started and
    left behind goes on writing where it did, unkept.

    Args:
        keep: Gets what is written, with the stream's name, such as `Console.write`; None passes
            nothing on, and the process writes to where this one does.

    Attributes:
        keep: As given; whoever changes it calls `catch_up` first.
    """

    def __init__(self, keep: Keep | None) -> None:
        self.keep = keep
        self._channels: dict[int, _Channel] = {}

    def __enter__(self) -> Self:
        if self.keep is None:
            return self
        same: dict[tuple[int, ...], _Channel] = {}
        for number, stream in ((1, "out"), (2, "err")):
            with suppress(OSError, termios.error):  # closed, or no terminal is left: as it was
                status = os.fstat(number)
                place = (status.st_dev, status.st_ino, status.st_rdev)
                if place not in same:
                    same[place] = _Channel(number, stream, self)  # type: ignore[arg-type]
                self._channels[number] = same[place]
        return self

    @property
    def stdout(self) -> int | None:
        """What the process gets as its stdout; None for that of this process."""
        return self._channels[1].inner if 1 in self._channels else None

    @property
    def stderr(self) -> int | None:
        """What it gets as its stderr, likewise."""
        return self._channels[2].inner if 2 in self._channels else None

    @property
    def has_terminal(self) -> bool:
        """Tell whether one of them is a pseudo-terminal."""
        return any(channel.is_terminal for channel in self._channels.values())

    def begin(self) -> None:
        """Begin to pass on: the process has been started."""
        for channel in set(self._channels.values()):
            channel.begin()

    def resize(self) -> None:
        """Give pseudo-terminals the size that the terminals have now."""
        for channel in set(self._channels.values()):
            channel.resize()

    def catch_up(self) -> None:
        """Return when everything is passed on that the process has written by now."""
        for channel in set(self._channels.values()):
            channel.catch_up()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for channel in set(self._channels.values()):
            channel.end()


class _Channel:
    """One pipe or pseudo-terminal, what is read from it, and where that goes."""

    def __init__(self, target: int, stream: Literal["out", "err"], relay: Relay) -> None:
        self.is_terminal = os.isatty(target)
        self._target = target
        self._stream = stream
        self._relay = relay
        self._reading = Lock()  # from a look at what is there until it is kept
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._has_ended = False  # nobody holds the other end any more
        self._settings: list[Any] | None = None
        self._outer, self.inner = os.openpty() if self.is_terminal else os.pipe()
        self._woken, self._wake = os.pipe()
        self._thread = Thread(target=self._pass_on, name="trackyard-console", daemon=True)
        if self.is_terminal:
            self._settings = termios.tcgetattr(target)
            self._settings[_OUTPUT] &= ~termios.OPOST  # the terminal itself does that
            termios.tcsetattr(self.inner, termios.TCSANOW, self._settings)
            self._settings = termios.tcgetattr(self.inner)
            self.resize()

    def begin(self) -> None:
        self._close_inner()
        start_thread(self._thread)

    def resize(self) -> None:
        if self.is_terminal:
            with suppress(OSError):
                size = fcntl.ioctl(self._target, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self._outer, termios.TIOCSWINSZ, size)

    def catch_up(self) -> None:
        while self._thread.is_alive():
            with self._reading:
                if not is_ready(self._outer, 0):
                    return
            time.sleep(0.001)

    def end(self) -> None:
        """Pass on what is left; whoever still writes has a `cat` to do it from now on."""
        self._close_inner()
        os.close(self._wake)
        if self._thread.ident is not None:
            self._thread.join()
            if not self._has_ended:
                self._hand_over()
        os.close(self._woken)
        os.close(self._outer)

    def _close_inner(self) -> None:
        if self.inner >= 0:
            os.close(self.inner)
            self.inner = -1

    def _hand_over(self) -> None:
        # The shell ends at once, so that nobody has to wait for `cat`.
        with suppress(OSError):
            subprocess.run(
                ["sh", "-c", "exec 3<&0; cat <&3 &"],  # noqa: S607 - where it is, the system says
                check=False,
                stdin=self._outer,
                stdout=self._target,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _pass_on(self) -> None:
        poll = select.poll()
        poll.register(self._outer, select.POLLIN | select.POLLHUP)
        poll.register(self._woken, select.POLLHUP)
        is_over = False
        while not self._has_ended:
            ready = [number for number, _ in poll.poll(0 if is_over else None)]
            if self._woken in ready:
                poll.unregister(self._woken)
                is_over = True
            if self._outer in ready:
                with self._reading:
                    self._pass_some_on()
            elif is_over:
                break
        self._keep(self._decoder.decode(b"", final=True))
        with suppress(OSError):
            self._follow_settings()

    def _pass_some_on(self) -> None:
        data = self._read()
        if not data:
            self._has_ended = True
            return
        try:
            self._follow_settings()
            _write(self._target, data)
        except OSError:  # nobody reads there any more
            self._has_ended = True
            self._let_it_know()
        else:
            self._keep(self._decoder.decode(data))

    def _let_it_know(self) -> None:
        """Have the process find nobody who reads, as it would without us."""
        if not self.is_terminal:
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(null, self._outer, inheritable=False)
            os.close(null)

    def _read(self) -> bytes:
        try:
            return os.read(self._outer, _CHUNK)
        except OSError:  # what a pseudo-terminal says when its other end is closed
            return b""

    def _keep(self, text: str) -> None:
        keep = self._relay.keep
        if keep is not None and text:
            keep(self._stream, text)

    def _follow_settings(self) -> None:
        """Set the terminal as the process has set its own: without echo, say."""
        if self._settings is None:
            return
        try:
            settings = termios.tcgetattr(self._outer)
            if settings != self._settings:
                own = termios.tcgetattr(self._target)
                own = [*settings[:_OUTPUT], own[_OUTPUT], *settings[_OUTPUT + 1 :]]
                termios.tcsetattr(self._target, termios.TCSADRAIN, own)
                self._settings = settings
        except termios.error as error:
            raise OSError(*error.args) from error


def _write(number: int, data: bytes) -> None:
    """Write all of it, however slowly it is read there."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(number, view) :]
        except BlockingIOError:
            is_ready(number, for_writing=True)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise
