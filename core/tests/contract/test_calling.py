"""Is it told to which active run a call belongs?"""

from __future__ import annotations

import os
from threading import get_ident

import attrs
import pytest

from trackyard.contract import step_of_caller
from trackyard.system.inside_hooks import inside_hook


@attrs.frozen(eq=False)
class Step:
    thread: int = attrs.field(factory=get_ident)
    process: int = attrs.field(factory=os.getpid)


MINE, INNER = Step(), Step()
OTHER, THIRD = Step(thread=-1), Step(thread=-2)
FORKED = Step(process=-1)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], None),
        ([OTHER], OTHER),
        ([OTHER, THIRD], None),
        ([MINE, OTHER], MINE),
        ([MINE, INNER, OTHER], INNER),
        ([FORKED], None),
        ([FORKED, OTHER], OTHER),
    ],
)
def test_the_innermost_run_of_the_thread_is_found_or_the_only_one(steps, found):
    assert step_of_caller(steps) is found


def test_a_forked_child_belongs_to_the_run_where_its_calls_reach_it():
    assert step_of_caller([FORKED], in_forks=True) is FORKED


def test_a_hook_belongs_to_none():
    with inside_hook():
        assert step_of_caller([MINE]) is None
