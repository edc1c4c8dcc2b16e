"""How is a matrix of cases cut, so that each kind is tested by default and all of them in time?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pytest


def first_by_default(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Give values, or tuples of them, for `parametrize`: the first ones run by default.

    The others are `slow`.
    """
    every = list(values)
    rest = [value if isinstance(value, tuple) else (value,) for value in every[count:]]
    return every[:count] + [pytest.param(*values, marks=pytest.mark.slow) for values in rest]


def cut(*axes: Sequence[Hashable], seed: int = 0) -> list[Any]:
    """Give all combinations for `parametrize`, each in the first tier that needs it.

    By default each value of each axis occurs once at least; `slow` adds each pair of values of two
    axes, and what is then left is `long`.

    Args:
        axes: The values of each argument.
        seed: Chooses among the combinations that would do.
    """
    every = list(itertools.product(*axes))
    order = random.Random(seed).sample(every, len(every))
    by_default = _covering(order, 1)
    in_pairs = [*by_default, *_covering(order, 2, by_default)]
    marks = {values: [] if values in by_default else [pytest.mark.slow] for values in in_pairs}
    rest = [
        pytest.mark.long(reason=f"all {len(every)} combinations; {len(in_pairs)} have each pair")
    ]
    return [pytest.param(*values, marks=marks.get(values, rest)) for values in every]


def _covering(
    order: Sequence[tuple[Any, ...]], size: int, given: Sequence[tuple[Any, ...]] = ()
) -> list[tuple[Any, ...]]:
    """Choose combinations until every part of a size, such as a pair, is in one of them."""

    def parts(values: tuple[Any, ...]) -> set[tuple[Any, ...]]:
        return set(itertools.combinations(enumerate(values), size))

    wanting = set().union(*map(parts, order)) - set().union(*map(parts, given))
    chosen = []
    while wanting:
        best = max(order, key=lambda values: len(parts(values) & wanting))
        chosen.append(best)
        wanting -= parts(best)
    return chosen
