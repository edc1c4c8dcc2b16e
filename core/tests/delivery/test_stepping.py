"""Does each point of a backend that does not take every step get one of its own?"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from trackyard import Capabilities
from trackyard.delivery import stepping
from trackyard.delivery.stepping import Steps

STEPS = st.one_of(
    st.none(),
    st.integers(-5, 12),
    st.sampled_from([0.5, 3.0, 2**53, 2**53 + 1, 2**63 - 1, 2**70, -(2**70)]),
)
ONE = Capabilities(points_per_step="one", least_step=0, needs_step=True, step_rule="integer")


def given_by(capabilities, steps):
    changes = Counter()
    fitted = Steps(capabilities, changes)
    return [fitted.fitted("loss", step) for step in steps], changes


@given(st.lists(STEPS, max_size=60))
def test_no_two_points_of_a_key_share_a_step(steps):
    found, _ = given_by(ONE, steps)

    assert len({*found}) == len(steps)
    assert all(type(step) is int and 0 <= step < 2**63 for step in found)


@given(st.lists(STEPS, max_size=40), st.randoms(use_true_random=False))
def test_steps_that_are_taken_are_the_same_in_whichever_order_points_come(steps, chance):
    others = list(steps)
    chance.shuffle(others)

    assert {*given_by(ONE, steps)[0]} == {*given_by(ONE, others)[0]}


@pytest.mark.parametrize("rule", ["any", "float", "increasing"])
@given(steps=st.lists(STEPS, max_size=60))
def test_steps_stay_apart_by_every_rule(rule, steps):
    one = Capabilities(points_per_step="one", needs_step=True, step_rule=rule)
    found, _ = given_by(one, steps)

    assert len({*found}) == len(steps)
    assert rule != "increasing" or found == sorted(found)
    assert rule != "float" or all(float(step) == step for step in found)


def test_what_is_free_is_left_alone():
    found, changes = given_by(ONE, [5, 3, 9, 0, 5, 5, 4])

    assert found == [5, 3, 9, 0, 6, 7, 4]
    assert changes == {"points whose step had one were sent at the next free step": 2}


def test_points_without_a_step_are_numbered_where_one_is_needed():
    found, changes = given_by(Capabilities(needs_step=True, least_step=1), [None, None, None])

    assert found == [1, 2, 3]
    assert changes == {"points without a step were numbered": 3}


def test_steps_below_the_least_are_raised_to_it():
    found, changes = given_by(Capabilities(least_step=0), [-3, 0, 2, None])

    assert found == [0, 0, 2, None]
    assert changes == {"steps below 0 were raised to it": 1}


def test_each_key_has_its_own_steps():
    steps = Steps(ONE, Counter())

    assert [steps.fitted(key, 1) for key in ("a", "b", "a", "b")] == [1, 1, 2, 2]


def test_loop_of_any_length_takes_no_room(monkeypatch):
    monkeypatch.setattr(stepping, "_MOST_STRETCHES", 10)
    found, _ = given_by(ONE, [*range(0, 1000, 2), 999, 999])

    assert found[-2:] == [999, 1000]
    assert len({*found}) == 502


def test_what_the_sdk_has_put_there_is_not_free():
    steps = Steps(ONE, Counter())
    steps.pass_over("loss", 1)

    assert steps.fitted("loss", 1) == 2
