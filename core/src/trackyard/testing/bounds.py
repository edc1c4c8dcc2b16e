"""How does a check end whose plugin does not return, and how does it say where that stands?"""

from __future__ import annotations

import linecache
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, current_thread, get_ident, main_thread
from types import FrameType

# Seconds after which what has swallowed the interruption is interrupted again.
_AGAIN_AFTER = 5.0


class Interrupted(BaseException):
    """Raised in a check that has taken too long, wherever it stands."""


class HasNotEnded(Exception):
    """Raised by a check that was interrupted: where it stood."""


@contextmanager
def ended_within(seconds: float) -> Iterator[None]:
    """Interrupt a block that takes too long, also where it waits for a socket or a lock of its own.

    The alarm is left alone: core has it interrupt steps and activations. In other threads than the
    main one nothing can be interrupted, and in a call that never comes back to Python neither.

    Args:
        seconds: How long it may take.

    Raises:
        HasNotEnded: It has taken longer, whatever it has made of the interruption.
    """
    if current_thread() is not main_thread() or seconds == math.inf:
        yield
        return
    places: list[str] = []
    # A list, since an interruption amid an event's own code would leave its lock in disorder.
    over: list[bool] = []

    def interrupt(_: int, frame: FrameType | None) -> None:
        if not over:
            places.append(place_of(frame))
            raise Interrupted

    before, ended = signal.signal(signal.SIGUSR2, interrupt), Event()
    arguments = (get_ident(), seconds, ended)
    watch = Thread(target=_interrupt, args=arguments, name="trackyard-check-bound", daemon=True)
    watch.start()
    try:
        yield
    except Interrupted:
        pass
    finally:
        over.append(True)
        ended.set()
        watch.join()
        signal.signal(signal.SIGUSR2, before)
        if places:
            raise HasNotEnded(f"it had not ended after {seconds:g} s: {places[0]}")


def _interrupt(thread: int, seconds: float, ended: Event) -> None:
    wait = seconds
    while not ended.wait(wait):
        signal.pthread_kill(thread, signal.SIGUSR2)
        wait = _AGAIN_AFTER


def place_of(frame: FrameType | None) -> str:
    """Say where code stands: the hook that does not return, and the line that it waits in.

    Args:
        frame: The innermost frame.
    """
    stacks = [_stack(each) for each in (frame, *sys._current_frames().values())]  # noqa: SLF001 - has no public name
    for stack in stacks:  # a hook may run in a tracker's own thread, for which the check waits
        for each in stack:
            if each.f_code.co_name.startswith("tracker_"):
                inner = f", in {_line(stack[0])}" if each is not stack[0] else ""
                return f"{each.f_code.co_name} does not return; it is at {_line(each)}{inner}"
    return f"it is at {_line(stacks[0][0])}" if stacks[0] else "it is in no code of Python's"


def _stack(frame: FrameType | None) -> list[FrameType]:
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _line(frame: FrameType) -> str:
    file, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, number).strip()
    return f"{Path(file).name}:{number}" + (f" `{text}`" if text else "")
