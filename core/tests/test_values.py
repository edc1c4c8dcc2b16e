"""Is there any value that makes a log call raise, or that is logged as something else?"""

from __future__ import annotations

import argparse
import decimal
import enum
import fractions
import math
import threading
import types
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import attrs
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackyard.values import to_number, to_pairs, to_param, to_step, to_text

MOST = 2**63 - 1


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def _fail(self, *_):
        raise RuntimeError("hostile")

    __float__ = __int__ = __index__ = __str__ = __repr__ = __eq__ = __hash__ = __bool__ = _fail
    __len__ = __iter__ = __getitem__ = __contains__ = __lt__ = __gt__ = __abs__ = __format__ = _fail


class HostileMapping(Mapping):
    """A mapping that raises when it is read."""

    def __getitem__(self, key):
        raise RuntimeError(key)

    def __iter__(self):
        raise RuntimeError

    def __len__(self):
        raise RuntimeError


class HostileText(str):
    """A text whose own methods raise."""

    __slots__ = ()

    def __str__(self):
        raise RuntimeError

    __repr__ = __eq__ = __len__ = __hash__ = __str__


class Scalar:
    """A scalar as torch and jax have them: `.item()` works, what else may fail."""

    def __init__(self, value, error=None):
        self.value = value
        self.error = error

    def item(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def __float__(self):
        if self.error is not None:
            raise self.error
        return float(self.value)


class Endless(Mapping):
    """A mapping that another thread always changes while it is read."""

    def __getitem__(self, key):
        return 1

    def __len__(self):
        return 1

    def __iter__(self):
        yield "a"
        raise RuntimeError("dictionary changed size during iteration")


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class OddClass:
    """An object that lies about its class, as proxies do when they are not bound."""

    @property
    def __class__(self):
        raise RuntimeError("unbound")


ODD = {
    "none": None,
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "minus zero": -0.0,
    "true": True,
    "65 bits": 2**64,
    "beyond float": 10**400,
    "beyond decimals": 10**5000,
    "minus beyond decimals": -(10**5000),
    "complex": 1j,
    "decimal": decimal.Decimal("1e400"),
    "signalling nan": decimal.Decimal("sNaN"),
    "fraction": fractions.Fraction(1, 3),
    "fraction beyond float": fractions.Fraction(-(10**400)),
    "text": "a",
    "lone surrogate": "\ud800",
    "nul": "a\0b",
    "hostile text": HostileText("a"),
    "bytes": b"\xff",
    "numpy scalar": numpy.float32(0.5),
    "numpy array": numpy.zeros((2, 2)),
    "numpy of one": numpy.array([0.5]),
    "numpy of none": numpy.array([]),
    "numpy complex": numpy.complex64(1j),
    "numpy date": numpy.datetime64("2026-01-01"),
    "numpy objects": numpy.array([Hostile], dtype=object),
    "requires grad": Scalar(0.5, RuntimeError("Can't call numpy() on Tensor that requires grad")),
    "on a device": Scalar(0.5, TypeError("can't convert cuda:0 device type tensor to numpy")),
    "traced": Scalar(RuntimeError("traced"), RuntimeError("traced")),
    "item of text": Scalar("a", TypeError()),
    "item of list": Scalar([1], TypeError()),
    "hostile": Hostile(),
    "hostile class": Hostile,
    "hostile mapping": HostileMapping(),
    "odd class": OddClass(),
    "endless": Endless(),
    "enum": Colour.RED,
    "int enum": Level.HIGH,
    "namespace": argparse.Namespace(a=1),
    "function": len,
    "module": types,
    "generator": (x for x in ()),
    "lock": threading.Lock(),
    "nested": {"a": {"b": [1, Hostile()]}},
    "exception": ValueError("a"),
}


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
    ["1", b"1", None, [], [1.0], {}, numpy.zeros(2), numpy.array([]), Colour.RED, 1j],
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
        ({1: 2, None: 3}, [("1", 2), ("None", 3)]),
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


def test_mapping_that_never_holds_still_is_given_up():
    assert to_pairs(Endless()) is None
