"""Does a question that hangs hold nobody?"""

from __future__ import annotations

import time
from threading import Event

import pytest

from trackyard import is_true_within


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
