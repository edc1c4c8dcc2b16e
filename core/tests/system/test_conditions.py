"""Is a lock free again, whatever a signal's handler raises at whatever moment?"""

from __future__ import annotations

import sys
import threading

import pytest

from trackyard.system.conditions import Condition, Event


class Late(Exception):
    """What a handler raises."""


def interrupted_as_the_lock_is_taken(condition):
    """Use a condition, and raise as soon as Python could run a handler; tell if it did."""

    def handle(frame, event, argument):
        if event == "c_return" and argument.__name__ == "__enter__":
            sys.setprofile(None)
            raise Late

    before = sys.getprofile()
    sys.setprofile(handle)
    try:
        with condition:
            pass
    except Late:
        return True
    finally:
        sys.setprofile(before)
    return False


def is_free(lock):
    """Tell whether another thread can take it."""
    taken = []

    def take():
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]


def test_no_handler_comes_between_the_lock_and_the_block():
    condition = Condition()

    assert not interrupted_as_the_lock_is_taken(condition)
    assert is_free(condition)


def test_python_s_own_condition_stays_locked():
    """Once it does not, ours can go."""
    condition = threading.Condition()

    assert interrupted_as_the_lock_is_taken(condition)
    assert not is_free(condition)


def test_condition_waits_and_wakes():
    condition, seen = Condition(), []

    def wait():
        with condition:
            condition.wait_for(lambda: seen, timeout=30)
            seen.append("woken")

    thread = threading.Thread(target=wait)
    thread.start()
    with condition:
        seen.append("told")
        condition.notify_all()
    thread.join()

    assert seen == ["told", "woken"]


def test_a_block_that_raises_gives_the_lock_back():
    condition = Condition()
    with pytest.raises(Late), condition:
        raise Late

    assert is_free(condition)


def test_event_is_set_and_cleared():
    event = Event()
    assert not event.wait(0)
    event.set()
    assert event.wait(0)
    assert not interrupted_as_the_lock_is_taken(event._cond)
    event.clear()
    assert not event.is_set()
