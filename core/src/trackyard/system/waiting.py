"""What comes of a call within some seconds, whatever it hangs on?"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

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
