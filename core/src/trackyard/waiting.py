"""Is the answer to a question yes within some seconds, whatever it hangs on?"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


def is_true_within(seconds: float, question: Callable[[], bool]) -> bool:
    """Ask a question, and take no answer in time, or an error, for a no.

    The time-outs of sockets bound neither the look-up of a name nor an answer that drips: the
    question is asked on a thread, which is left behind where it hangs.

    Args:
        seconds: How long to wait.
        question: What is asked, of a server say.
    """
    answers: list[bool] = []

    def ask() -> None:
        try:
            answers.append(question())
        except Exception:  # what cannot be asked is not there
            answers.append(False)

    thread = Thread(target=ask, name="trackyard-question", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]
