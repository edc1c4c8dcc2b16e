"""Does a question that hangs hold nobody?"""

from __future__ import annotations

import time
from threading import Event, current_thread

import pytest

from trackyard import is_true_within
from trackyard.system.waiting import PatientThread


@pytest.mark.parametrize("answer", [True, False])
def test_an_answer_in_time_counts(answer):
    assert is_true_within(30, lambda: answer) is answer


def test_a_question_that_hangs_is_left_behind():
    released, begun = Event(), time.monotonic()

    assert not is_true_within(0.05, lambda: released.wait(60))

    assert time.monotonic() - begun < 30
    released.set()


def test_a_question_that_raises_has_no_for_an_answer():
    assert not is_true_within(30, lambda: bool(1 / 0))


def test_calls_share_a_thread_until_one_hangs_and_raise_what_they_raise():
    patient, released = PatientThread("patient"), Event()
    first = patient.result_within(30, current_thread)
    with pytest.raises(ZeroDivisionError):
        patient.result_within(30, lambda: 1 / 0)
    assert patient.result_within(30, current_thread) is first is not current_thread()

    with pytest.raises(TimeoutError):
        patient.result_within(0.05, lambda: released.wait(60))
    assert patient.result_within(30, current_thread) is not first

    released.set()
    first.join(60)
    assert not first.is_alive()
