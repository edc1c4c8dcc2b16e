"""How does a run learn that its process is told to stop?"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import CO_VARARGS
from threading import Lock, Thread, Timer, current_thread, get_ident, main_thread
from types import FrameType

from trackyard.system.conditions import Event

_AGAIN_AFTER = 5.0  # seconds
# Seconds within which a thread begins, also where hundreds of others run.
_BEGINS_WITHIN = 10.0
_LONGEST = 1e8  # seconds: three years, which every system's timers take


class Terminated(SystemExit):
    """SIGTERM has come: the step ends here, and the process with exit code 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __reduce__(self) -> tuple[type[Terminated], tuple[()]]:
        return Terminated, ()


class StepTimeoutError(TimeoutError):
    """A step took longer than its `timeout`."""

    def __init__(self) -> None:
        super().__init__("the step took longer than its timeout")

    def __reduce__(self) -> tuple[type[StepTimeoutError], tuple[()]]:
        return StepTimeoutError, ()


def came_from_signal(error: BaseException) -> bool:
    """Tell whether a signal's handler raised this, such as a time limit of the user's own.

    It interrupts whatever Python code happens to run, and belongs to whoever called that. A handler
    is known by its second argument, the frame that it interrupts.
    """
    if isinstance(error, StepTimeoutError):
        return True  # it may have been sent to a thread, where there are no handlers
    trace = error.__traceback__
    while trace is not None:
        if _is_handler(trace.tb_frame):
            return True
        trace = trace.tb_next
    return False


def let_signals_through(error: BaseException) -> None:
    """Raise what a signal's handler raised, in a place that goes on after other errors."""
    if came_from_signal(error):
        raise error


def start_thread(thread: Thread) -> None:
    """Start a thread; what a signal's handler raises meanwhile comes through.

    Python itself raises KeyError instead, where the thread has left its list of those to start.

    Raises:
        RuntimeError: The system gives no thread.
        MemoryError: There is none for it. Python itself would wait for ever, where the thread has
            begun and found none to say so.
    """
    interrupted = None
    setattr(thread, "_started", _Begun())  # noqa: B010 - threading has no other place for it
    try:
        thread.start()
    except KeyError as error:
        interrupted = error.__context__
        if interrupted is None or not came_from_signal(interrupted):
            raise
    if interrupted is not None:
        raise interrupted


class _Begun(Event):
    """Whether a thread has begun, which nobody awaits for ever."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(_BEGINS_WITHIN if timeout is None else timeout) and timeout is None:
            raise MemoryError("the thread has not begun")
        return self.is_set()


def _is_handler(frame: FrameType) -> bool:
    code, interrupted = frame.f_code, frame.f_back
    if interrupted is None:
        return False
    values: list[object] = []
    for name in code.co_varnames[: code.co_argcount + bool(code.co_flags & CO_VARARGS)]:
        value = frame.f_locals.get(name)
        values += value if type(value) is tuple else (value,)
    return any(value is interrupted for value in values)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `StepTimeoutError` in a block that takes too long, or at the end of one that did.

    A call that never comes back to Python cannot be interrupted: it is, once it does. In other
    threads than the main one that holds for a sleep, too.
    """
    if seconds is None:
        yield
        return
    began = time.monotonic()
    is_ours = signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    limit = _alarm if is_ours and current_thread() is main_thread() else _timer
    with limit(min(seconds, _LONGEST)):
        yield
    if time.monotonic() - began > seconds:  # code that catches everything has swallowed it
        raise StepTimeoutError


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    try:
        signal.signal(signal.SIGALRM, _raise_timeout)
        # Again and again: code that catches everything must not swallow it for good.
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_AFTER)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    thread, lock = get_ident(), Lock()
    # Lists, since an error that comes amid an event's own code would leave its lock in disorder.
    begun: list[bool] = []
    over: list[bool] = []

    def fire() -> None:
        while not begun:
            time.sleep(0.001)
        with lock:
            if not over:
                _raise_in_thread(thread)

    timer = Timer(seconds, fire)
    timer.daemon = True
    start_thread(timer)
    try:
        begun.append(True)
        yield
    finally:
        try:
            with lock:
                over.append(True)
        except StepTimeoutError:
            over.append(True)  # it was on its way, and would have come after the block
        timer.cancel()


def _raise_timeout(_number: int, _frame: FrameType | None) -> None:
    raise StepTimeoutError


def _raise_in_thread(thread: int) -> None:
    import ctypes

    # Never taken back by a null pointer: where code is traced Python 3.11 loops for ever then.
    error = ctypes.py_object(StepTimeoutError)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


@contextmanager
def termination_as_exit(note: Callable[[int], None]) -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that its run is marked as killed.

    Only where nobody else handles it, and only in the main thread, where Python allows it. A
    second SIGTERM ends the process at once.

    Args:
        note: Called first, with the signal's number: a scheduler kills what takes too long to end.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        note(number)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
