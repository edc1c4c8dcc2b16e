"""What comes of a call within some seconds, whatever it hangs on?"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar, cast

from trackyard.system.interruption import start_thread

_T = TypeVar("_T")


def result_within(seconds: float, call: Callable[[], _T], *, name: str = "call") -> _T:
    """Give what a call gives, or raise what it raises.

    It is made on a thread, which is left behind where it hangs.

    Args:
        seconds: How long to wait.
        call: What is called.
        name: What the thread is called, for those who look at one that hangs.

    Raises:
        TimeoutError: It takes longer.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # it is raised where it is waited for
            errors.append(error)

    thread = Thread(target=work, name=f"trackyard-{name}", daemon=True)
    start_thread(thread)
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]


class PatientThread:
    """Makes calls one after the other, each within its seconds, on a thread that is kept.

    To start a thread takes longer than most calls. One that hangs is left behind.

    Args:
        name: What the thread is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._work: SimpleQueue[Callable[[], None] | None] | None = None

    def result_within(self, seconds: float, call: Callable[[], _T]) -> _T:
        """Give what a call gives, or raise what it raises.

        Args:
            seconds: How long to wait.
            call: What is called.

        Raises:
            TimeoutError: It takes longer.
        """
        answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

        def work() -> None:
            try:
                answer.put((call(), None))
            except BaseException as error:  # it is raised where it is waited for
                answer.put((None, error))

        with self._lock:
            if self._work is None:
                self._work = _served(self._name)
            self._work.put(work)
            try:
                value, error = answer.get(timeout=seconds)
            except Empty:
                self._work.put(None)  # it ends once it is through
                self._work = None
                raise TimeoutError(f"no answer within {seconds:g} s") from None
        if error is not None:
            raise error
        return cast("_T", value)


def _served(name: str) -> SimpleQueue[Callable[[], None] | None]:
    """Start a thread that does what is put into a queue, up to a None."""
    queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def serve() -> None:
        while (work := queue.get()) is not None:
            work()

    start_thread(Thread(target=serve, name=f"trackyard-{name}", daemon=True))
    return queue


def is_true_within(seconds: float, question: Callable[[], bool]) -> bool:
    """Ask a question, and take no answer in time, or an error, for a no.

    The time-outs of sockets bound neither the look-up of a name nor an answer that drips.

    Args:
        seconds: How long to wait.
        question: What is asked, of a server say.
    """
    try:
        return result_within(seconds, question)
    except Exception:  # what cannot be asked is not there
        return False
