"""Values that are odd, hostile or huge, by what is odd about them."""

from __future__ import annotations

import argparse
import decimal
import enum
import fractions
import math
import threading
import types
from collections.abc import Mapping
from typing import NamedTuple

import numpy


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


class Beyond:
    """Too large for a float, and comparable with nothing."""

    def __float__(self):
        raise OverflowError


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
    "beyond": Beyond(),
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


class Fit(NamedTuple):
    """What a step may give."""

    model: str
    score: float
