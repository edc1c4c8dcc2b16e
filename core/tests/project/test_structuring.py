"""What is made of tables: what a signal's handler raises meanwhile is no mistake in them."""

from __future__ import annotations

import signal

import attrs
import pytest

from trackyard.project.structuring import structure


class Late(Exception):
    """The time is over."""


@pytest.fixture
def alarm():
    def raise_late(*_):
        raise Late

    before = signal.signal(signal.SIGALRM, raise_late)
    yield lambda _: signal.raise_signal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("of_type", ["{}", "{} | list[str]", "list[{}]", "dict[str, {}]"])
def test_what_a_signals_handler_raises_comes_through(alarm, of_type):
    @attrs.frozen
    class Inner:
        value: int = attrs.field(converter=alarm)

    value = {"value": 1}
    given = {"list[{}]": [value], "dict[str, {}]": {"key": value}}.get(of_type, value)
    wanted = eval(of_type.format("Inner"), {"Inner": Inner})
    outer = attrs.make_class("Outer", {"field": attrs.field(type=wanted)})

    with pytest.raises(Late):
        structure({"field": given}, outer, "here")
