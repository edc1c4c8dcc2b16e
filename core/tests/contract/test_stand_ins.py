"""Does a stand-in count for names that a program has taken before?"""

from __future__ import annotations

import types

import pytest

from trackyard.contract import own_copy, process_values, standing_in

SDK = types.ModuleType("sdk")
exec(  # a module as SDKs have them
    "def init(project, *, mode='online'):\n    'Begin.'\n    return [project, mode]\n", vars(SDK)
)


def stand_in(*arguments, **keywords):
    return "instead", arguments, keywords


def test_all_names_of_a_function_reach_the_stand_in_and_its_copy_stays_as_it_is():
    init, original = SDK.init, own_copy(SDK.init)

    with process_values({}, standing_in(SDK.init, stand_in)):
        assert init("p", mode="offline") == ("instead", ("p",), {"mode": "offline"})
        with process_values({}, standing_in(SDK.init, stand_in)):  # of a run that overlaps it
            assert SDK.init is init
        assert SDK.init("p")[0] == "instead"
        assert original("p") == ["p", "online"]

    assert init("p") == SDK.init("p") == ["p", "online"]
    assert (original.__doc__, original.__name__) == ("Begin.", "init")
    with pytest.raises(TypeError, match="project"):
        init()


def test_what_is_no_plain_function_stays():
    value = 1

    def enclosing():
        return value

    assert standing_in(enclosing, stand_in) == standing_in(len, stand_in) == []
    assert own_copy(len) is len
