"""Which values do formats get wrong, and when are two values the same?"""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import math
import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import attrs

from trackyard.testing.contract import BrokenContract

# What happened when files were loaded: see `went_off`.
TRAPS: list[str] = []

_GIVE_SAME = (
    "give the suite a fixture `same`: a function of two values that tells whether they are the same"
)


def went_off() -> None:
    """Note that loading a file has run code which the file names."""
    TRAPS.append("a trap")


class Trap:
    """A value whose pickle runs code when it is loaded."""

    def __reduce__(self) -> Any:
        return went_off, ()


class Color(enum.IntEnum):
    """An enumeration, whose members are numbers, too."""

    RED = 1


class Point(NamedTuple):
    """A tuple, and more."""

    x: float
    y: float


@attrs.frozen
class Record:
    """A class of a user's."""

    name: str
    values: list[float]


class Text(str):
    """A text, and more."""

    __slots__ = ()


class Number(float):
    """A number, and more."""


class Items(list[Any]):
    """A list, and more."""


class Hostile:
    """A value that answers no question."""

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError("hostile")

    __eq__ = __ne__ = __len__ = __bool__ = __iter__ = __getitem__ = __getattr__ = _refuse
    __contains__ = __str__ = __repr__ = __hash__ = __array__ = __float__ = _refuse


def edge_values() -> dict[str, Any]:
    """Give values that are lost in formats which seem to hold them."""
    found = {**_plain()}
    for module, values in (("numpy", _of_numpy), ("pandas", _of_pandas), ("polars", _of_polars)):
        if importlib.util.find_spec(module) is not None:
            found |= {f"{module}: {name}": value for name, value in values().items()}
    return found


def strange_values() -> dict[str, Any]:
    """Give values that cannot even be looked at: the question whether they fit has to be no."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    return {"hostile": Hostile(), "one that holds itself": endless, "a deeply nested one": deep}


def _plain() -> dict[str, Any]:
    pair = namedtuple("pair", "a b")  # noqa: PYI024 - a class that is nowhere to be found
    return {
        "None": None,
        "True": True,
        "one": 1,
        "a large number": 2**80,
        "minus zero": -0.0,
        "NaN": float("nan"),
        "infinity": float("-inf"),
        "a tiny number": 5e-324,
        "complex": complex(-0.0, float("inf")),
        "no text": "",
        "text": "Zoë 🎉 \r\n\t\0 e\u0301",
        "half a character": "\ud800",
        "a long text": "ä" * 3_000_000,
        "no bytes": b"",
        "bytes": bytes(range(256)),
        "bytearray": bytearray(b"\0\xff"),
        "no items": [],
        "no keys": {},
        "nothing in a tuple": (),
        "nothing in a set": set(),
        "nested": {"a": [1, [2.5, {"b": [None, True, ""]}]], "": {}},
        "numbers": [float("nan"), -0.0, float("inf"), 1e300, 0.1],
        "many numbers": [number / 7 for number in range(200_000)],
        "keys of other types": {1: "a", "1": "b", None: "c", (1, 2): "d", 2.5: "e"},
        "keys in an order": {"b": 1, "a": 2},
        "tuples in lists": [(1, (2,)), [3]],
        "sets": [{"a", "b", "c", "d"}, frozenset({1, 2.5})],
        "moments": [datetime(2026, 1, 2, 3, 4, 5, 678, UTC), date(2026, 1, 2), timedelta(1, 2, 3)],
        "a moment without a zone": datetime(2026, 1, 2, 3, 4, 5, 678, fold=1),
        "a decimal": Decimal("1.10"),
        "a fraction": Fraction(1, 3),
        "a range": range(3),
        "an enumeration": Color.RED,
        "a named tuple": Point(1.0, -0.0),
        "a named tuple of nowhere": pair(1, 2),
        "an object": Record("a", [float("nan")]),
        "a text of another class": Text("a"),
        "a number of another class": Number(1.5),
        "a list of another class": Items([1]),
        "an ordered dict": OrderedDict(a=1),
        "numbers that are more": [True, Color.RED, Number(2.5)],
    }


def _of_numpy() -> dict[str, Any]:
    import numpy

    return {
        "floats": numpy.array([[float("nan"), -0.0], [float("inf"), 5e-324]]),
        "float32": numpy.arange(5, dtype="float32"),
        "int8": numpy.array([-128, 127], dtype="int8"),
        "big-endian": numpy.array([1, 2], dtype=">i4"),
        "no items": numpy.empty((0, 3)),
        "no dimensions": numpy.array(2.5),
        "texts": numpy.array(["Zoë", ""]),
        "truth": numpy.array([True, False]),
        "moments": numpy.array(["2026-01-02", "NaT"], dtype="datetime64[ns]"),
        "structured": numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        "columns first": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
        "every second": numpy.arange(10)[::2],
        "objects": numpy.array([None, "a", (1, 2)], dtype=object),
        "masked": numpy.ma.masked_array([1, 2], [True, False], fill_value=-7),
        "large": numpy.arange(2_000_000, dtype="float64"),
        "a number": numpy.float32(1.1),
        "a moment": numpy.datetime64("2026-01-02T03:04:05"),
    }


def _of_pandas() -> dict[str, Any]:
    import pandas

    frame = pandas.DataFrame({"a": [1.5, float("nan"), -0.0], "b": ["Zoë", "", "c"]})
    parts = [["x", "y"], [1, 2]]
    return {
        "frame": frame,
        "no rows": frame.iloc[:0],
        "no columns": pandas.DataFrame(index=[1, 2]),
        "an index with a name": frame.set_index(pandas.Index([3, 1, 2], name="key")),
        "an index of moments": frame.set_index(
            pandas.date_range("2026-01-01", periods=3, tz="UTC")
        ),
        "an index of two levels": pandas.DataFrame(
            {"a": range(4)}, index=pandas.MultiIndex.from_product(parts, names=["first", "second"])
        ),
        "rows from five on": frame.set_index(pandas.RangeIndex(5, 8)),
        "categories": pandas.DataFrame({"a": pandas.Categorical(["x"], ["x", "never"])}),
        "nullable": pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64")}),
        "numbers as names": pandas.DataFrame({0: [1], 1: [2]}),
        "a name that comes twice": pandas.DataFrame([[1, 2]], columns=["a", "a"]),
        "objects": pandas.DataFrame({"a": [1, "b", None]}),
        "small numbers": pandas.DataFrame({"a": [1]}, dtype="int8"),
        "notes": _with_notes(pandas.DataFrame({"a": [1]})),
        "series": frame["a"],
        "series with a number as name": pandas.Series([1, 2], name=3, index=["x", "y"]),
    }


def _with_notes(frame: Any) -> Any:
    frame.attrs["unit"] = "m"
    return frame


def _of_polars() -> dict[str, Any]:
    import polars

    frame = polars.DataFrame({"a": [1.5, float("nan"), None], "b": ["Zoë", "", None]})
    return {
        "frame": frame,
        "no rows": frame.clear(),
        "lists": polars.DataFrame({"a": [[1, 2], [], None]}),
        "categories": polars.DataFrame({"a": polars.Series(["x", "y"], dtype=polars.Categorical)}),
        "moments": polars.DataFrame({"a": [datetime(2026, 1, 2, tzinfo=UTC)]}),
        "series": frame["a"],
    }


def is_same(first: Any, second: Any) -> bool:
    """Tell whether two values are equal and of the same type, to the last bit; NaN is NaN.

    Args:
        first: What was saved.
        second: What came back.
    """
    if type(first) is not type(second):
        return False
    library = type(first).__module__.partition(".")[0]
    compare = _COMPARE.get(library)
    if compare is not None:
        return compare(first, second)
    for kinds, compare_kind in _COMPARE_KINDS:
        if isinstance(first, kinds):
            return compare_kind(first, second)
    if attrs.has(type(first)) or dataclasses.is_dataclass(first):
        return is_same(_fields(first), _fields(second))
    if first is second:  # a function, or what is compared by its identity
        return True
    cls: Any = type(first)
    if cls.__eq__ is object.__eq__:
        raise BrokenContract(
            f"two values of {cls.__name__} are never equal, since the class has no "
            f"`__eq__`; {_GIVE_SAME}"
        )
    try:
        return bool(first == second) and _shown(first) == _shown(second)
    except Exception as error:  # of the author's class
        name, said = type(first).__name__, f"{type(error).__name__}: {error}"
        raise BrokenContract(
            f"two values of {name} cannot be compared by == ({said}); {_GIVE_SAME}"
        ) from error


def _shown(value: Any) -> str:
    """Write a value down without the addresses that Python shows of objects in it."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _is_same_float(first: float, second: float) -> bool:
    return (math.isnan(first) and math.isnan(second)) or first.hex() == second.hex()


def _is_same_sequence(first: Any, second: Any) -> bool:
    return len(first) == len(second) and all(map(is_same, first, second))


_COMPARE_KINDS: tuple[tuple[Any, Callable[[Any, Any], bool]], ...] = (
    (float, _is_same_float),
    (complex, lambda a, b: is_same((a.real, a.imag), (b.real, b.imag))),
    (list | tuple, _is_same_sequence),
    (dict, lambda a, b: is_same(list(a.items()), list(b.items()))),
    (set | frozenset, lambda a, b: bool(a == b)),
    (datetime, lambda a, b: (repr(a), a.fold) == (repr(b), b.fold)),
)


def _fields(value: Any) -> list[Any]:
    cls: Any = type(value)
    fields: Any = attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)
    return [getattr(value, field.name) for field in fields]


def _same_of_numpy(first: Any, second: Any) -> bool:
    import numpy

    if first.dtype != second.dtype or numpy.shape(first) != numpy.shape(second):
        return False
    if first.dtype.hasobject:
        return is_same(first.tolist(), second.tolist())
    if first.flags.writeable and not second.flags.writeable:  # the next step could not change it
        return False
    if isinstance(first, numpy.ma.MaskedArray):
        fills = [numpy.asarray(array.fill_value).tobytes() for array in (first, second)]
        is_like = fills[0] == fills[1] and first.hardmask == second.hardmask
        is_masked_alike = bool(numpy.all(first.mask == second.mask))
        return is_like and is_masked_alike and _same_of_numpy(first.data, second.data)
    return bool(first.tobytes() == second.tobytes())


def _same_of_pandas(first: Any, second: Any) -> bool:
    import pandas

    compare = {
        pandas.DataFrame: pandas.testing.assert_frame_equal,
        pandas.Series: pandas.testing.assert_series_equal,
    }.get(type(first))
    if compare is None:
        return bool(first.equals(second))
    try:
        compare(first, second, check_exact=True, check_index_type="exact", check_freq=False)
    except AssertionError:
        return False
    return first.attrs == second.attrs and all(map(is_same, _floats(first), _floats(second)))


def _floats(table: Any) -> Iterator[Any]:
    columns = [table] if table.ndim == 1 else [column for _, column in table.items()]
    for column in columns:
        if getattr(column.dtype, "kind", "") == "f" and hasattr(column.dtype, "newbyteorder"):
            yield column.to_numpy()


def _same_of_polars(first: Any, second: Any) -> bool:
    schemas = [getattr(value, "schema", None) or value.dtype for value in (first, second)]
    return schemas[0] == schemas[1] and bool(first.equals(second))


def _same_of_pyarrow(first: Any, second: Any) -> bool:
    is_schema = first.schema.equals(second.schema, check_metadata=True)
    return is_schema and is_same(first.to_pydict(), second.to_pydict())


def _same_of_pillow(first: Any, second: Any) -> bool:
    known = [(value.mode, value.size, value.tobytes(), value.info) for value in (first, second)]
    return bool(known[0] == known[1])


_COMPARE = {
    "numpy": _same_of_numpy,
    "pandas": _same_of_pandas,
    "polars": _same_of_polars,
    "pyarrow": _same_of_pyarrow,
    "PIL": _same_of_pillow,
}
