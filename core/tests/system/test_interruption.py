"""Does what a signal's handler raises come through where we are at work?"""

import signal
import threading
import time
from threading import Thread

import pytest

from trackyard.system.interruption import start_thread


class TooLate(Exception):
    """A time limit of the user's own."""


@pytest.fixture
def alarm_as_a_thread_starts(monkeypatch):
    """Raise in the moment in which a new thread runs, and its starter does not know of it yet."""

    def handle(_number, _frame):
        raise TooLate

    # Its name since Python 3.13, and the one before.
    names = "_start_joinable_thread", "_start_new_thread"
    name = next(name for name in names if hasattr(threading, name))
    start = getattr(threading, name)

    def interrupted(run, *arguments, **named):
        start(run, *arguments, **named)
        while run.__self__ in threading._limbo:
            time.sleep(0.001)
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    monkeypatch.setattr(threading, name, interrupted)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_an_alarm_as_a_thread_starts_comes_through_as_it_was_raised(alarm_as_a_thread_starts):
    over = threading.Event()
    thread = Thread(target=over.wait, daemon=True)
    with pytest.raises(TooLate):
        start_thread(thread)
    over.set()
    thread.join()
