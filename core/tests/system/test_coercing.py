"""Is there any value that makes a log call raise, or that is logged as something else?"""

from __future__ import annotations

import argparse
import decimal
import fractions
import math
import threading
import types
from collections import OrderedDict, UserDict
from typing import NamedTuple

import attrs
import numpy
import pytest
from hypothesis import given, strategies as st
from odd_values import ODD, Colour, Endless, Hostile, HostileText, Level, Scalar

from trackyard.system.coercing import to_number, to_pairs, to_param, to_step, to_text

MOST = 2**63 - 1


@pytest.mark.parametrize("name", ODD)
def test_no_value_raises(name):
    check_total(ODD[name])


@given(st.from_type(object))
def test_no_object_raises(value):
    check_total(value)


def check_total(value):
    number, step, text, param = to_number(value), to_step(value), to_text(value), to_param(value)
    pairs = to_pairs(value)

    assert number is None or type(number) is float
    assert step is None or type(step) in (int, float)
    assert type(text) is str
    assert param is None or type(param) in (str, int, float, bool)
    assert pairs is None or all(type(key) is str for key, _ in pairs)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (True, 1.0),
        (-0.5, -0.5),
        (2**53, 2.0**53),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (decimal.Decimal("0.5"), 0.5),
        (decimal.Decimal("-1e400"), -math.inf),
        (fractions.Fraction(1, 4), 0.25),
        (fractions.Fraction(10**400), math.inf),
        (fractions.Fraction(-(10**400)), -math.inf),
        (numpy.float16(0.5), 0.5),
        (numpy.int64(3), 3.0),
        (numpy.bool_(True), 1.0),
        (numpy.array(0.5), 0.5),
        (numpy.array([0.5]), 0.5),
        (numpy.array([[0.5]]), 0.5),
        (Scalar(0.5, RuntimeError()), 0.5),
        (Scalar(True, RuntimeError()), 1.0),
        (Scalar(10**400, RuntimeError()), math.inf),
        (Level.HIGH, 3.0),
    ],
)
def test_what_counts_as_a_number(value, expected):
    assert to_number(value) == expected


def test_nan_stays_nan():
    assert math.isnan(to_number(math.nan))
    assert math.isnan(to_number(numpy.float32("nan")))


@pytest.mark.parametrize(
    "value",
    [
        "1",
        b"1",
        None,
        [],
        [1.0],
        {},
        numpy.zeros(2),
        numpy.array([]),
        numpy.ma.masked,
        Colour.RED,
        1j,
    ],
)
def test_what_does_not_count_as_a_number(value):
    assert to_number(value) is None


@given(st.floats() | st.integers() | st.booleans())
def test_plain_numbers_are_kept(value):
    number = to_number(value)

    assert number == value or math.isnan(value) or abs(value) > 2**53
    assert type(number) is float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (5, 5),
        (-5, -5),
        (True, 1),
        (5.0, 5),
        (0.5, 0.5),
        (numpy.int32(5), 5),
        (Scalar(5, RuntimeError()), 5),
        (math.nan, None),
        (math.inf, None),
        ("5", None),
        ([5], None),
        (2**63, MOST),
        (-(2**64), -MOST - 1),
        (1e300, MOST),
    ],
)
def test_step_is_whole_where_it_can_be(value, expected):
    step = to_step(value)

    assert (step, type(step)) == (expected, type(expected))


@given(st.integers() | st.floats())
def test_step_fits_into_64_bits(value):
    step = to_step(value)

    assert step is None or -MOST - 1 <= step <= MOST


def test_integer_that_python_does_not_write_as_decimals_is_kept():
    assert to_number(10**5000) == math.inf
    assert to_step(10**5000) == MOST
    assert to_param(10**5000) == to_text(10**5000) == hex(10**5000)


def test_hostile_object_is_no_number_and_has_a_text():
    assert to_number(Hostile()) is None
    assert to_step(Hostile()) is None
    assert to_pairs(Hostile()) is None
    assert to_text(Hostile()) == to_param(Hostile()) == "<unrepresentable Hostile>"
    assert (
        to_text(HostileText("a")) == to_param(HostileText("a")) == "<unrepresentable HostileText>"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (1.5, "1.5"),
        (None, "None"),
        (b"a", "b'a'"),
        (type("A", (), {"__str__": lambda _: 5, "__repr__": lambda _: "it"})(), "it"),
    ],
)
def test_anything_has_a_text(value, expected):
    assert to_text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (5, 5),
        (True, True),
        (None, None),
        (0.5, 0.5),
        (MOST, MOST),
        (2**64, str(2**64)),
        (numpy.float64(0.5), 0.5),
        (numpy.int64(5), 5),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        (Scalar(0.5, RuntimeError()), 0.5),
        (Scalar(2**64), str(2**64)),
        ([1, "a"], "[1, 'a']"),
        (Colour.RED, "Colour.RED"),
        (Level.HIGH, "3"),
        (decimal.Decimal("0.10"), "0.10"),
    ],
)
def test_param_is_plain_where_it_can_be(value, expected):
    param = to_param(value)

    assert (param, type(param)) == (expected, type(expected))


class Point(NamedTuple):
    x: int


@attrs.define
class Slotted:
    a: int = 1


class Series:
    """A thing with keys, as pandas' Series: its attributes are not what it holds."""

    def __init__(self):
        self._manager = "inner"

    def keys(self):
        return ["a"]

    def __getitem__(self, key):
        return 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 1}, [("a", 1)]),
        ({1: 2, None: 3}, [("1", 2), (None, 3)]),
        (OrderedDict(a=1), [("a", 1)]),
        (types.MappingProxyType({"a": 1}), [("a", 1)]),
        ([("a", 1), ("b", 2)], [("a", 1), ("b", 2)]),
        ({"a": 1}.items(), [("a", 1)]),
        (argparse.Namespace(a=1, keys=2), [("a", 1), ("keys", 2)]),
        (types.SimpleNamespace(a=1), [("a", 1)]),
        (Series(), [("a", 1)]),
        ({}, []),
        ([], []),
    ],
)
def test_what_has_keys_and_values(values, expected):
    assert to_pairs(values) == expected


@pytest.mark.parametrize("values", [5, None, "abc", ["abc"], [1, 2], Point(1), len, int])
def test_what_has_no_keys_and_values(values):
    assert to_pairs(values) is None


def test_dict_that_another_thread_changes_is_read():
    shared = OrderedDict((str(number), number) for number in range(2000))
    stop = threading.Event()

    def change():
        while not stop.is_set():
            shared["new"] = 1
            del shared["new"]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        results = [to_pairs(shared) for _ in range(200)]
    finally:
        stop.set()
        thread.join()

    assert all(pairs is not None and len(pairs) >= 2000 for pairs in results)


def test_mapping_that_changes_while_it_is_read_is_read_again():
    class Busy(UserDict):
        times = 3

        def __iter__(self):
            self.times -= 1
            if self.times > 0:
                raise RuntimeError("dictionary changed size during iteration")
            return super().__iter__()

    assert to_pairs(Busy(a=1)) == [("a", 1)]


def test_mapping_that_never_holds_still_is_given_up():
    assert to_pairs(Endless()) is None
