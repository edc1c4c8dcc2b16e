"""A matrix that is cut still has each value by default, each pair in `slow`, and all in `long`."""

from __future__ import annotations

import itertools

from matrices import cut, first_by_default

AXES = ["abc", (1, 2), ("x", "y", "z"), (True, False)]


def of_tier(params, tier):
    return [p.values for p in params if [mark.name for mark in p.marks] == tier]


def test_every_value_is_there_by_default_and_every_pair_in_slow():
    params = cut(*AXES)
    default, slow, rest = of_tier(params, []), of_tier(params, ["slow"]), of_tier(params, ["long"])

    assert [p.values for p in params] == list(itertools.product(*AXES))
    assert len(default) == 3
    for place, axis in enumerate(AXES):
        assert {values[place] for values in default} == set(axis)
    for one, two in itertools.combinations(range(len(AXES)), 2):
        pairs = {(values[one], values[two]) for values in default + slow}
        assert pairs == set(itertools.product(AXES[one], AXES[two]))
    assert len(rest) > len(default + slow)


def test_a_seed_gives_the_same_combinations_each_time():
    assert of_tier(cut(*AXES, seed=3), []) == of_tier(cut(*AXES, seed=3), [])
    assert len({tuple(of_tier(cut(*AXES, seed=seed), [])) for seed in range(9)}) > 1


def test_first_values_run_by_default():
    first, second, third = first_by_default(["a", "b", "c"], 2)

    assert (first, second) == ("a", "b")
    assert (third.values, [mark.name for mark in third.marks]) == (("c",), ["slow"])
