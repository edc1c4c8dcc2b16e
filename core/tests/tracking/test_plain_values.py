"""Does JSON hold of any value what it says, and is it named where that cannot be?"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy
import pandas
import polars
import pyarrow
import pydantic
import pytest
from odd_values import ODD
from omegaconf import OmegaConf

from trackyard.tracking.json_texts import encoded, json_text, value_in
from trackyard.tracking.plain_values import PlainValues


class Label(enum.Enum):
    CAT = 0


class Size(enum.IntEnum):
    BIG = 2


@dataclasses.dataclass(slots=True)
class Optimizer:
    lr: float = 0.1


@attrs.frozen
class Layers:
    sizes: tuple[int, ...] = (1, 2)


class Model(pydantic.BaseModel):
    name: str = "m"
    optimizer: Optimizer = Optimizer()


class Point(NamedTuple):
    x: int
    y: int


CONFIGURATION = OmegaConf.create({"lr": 0.1, "again": "${lr}", "layers": [1, 2]})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({numpy.int64(0): numpy.int64(2)}, {"0": 2}),
        ({("a", "b"): 1, Label.CAT: 2}, {"('a', 'b')": 1, "Label.CAT": 2}),
        (
            {datetime.date(2024, 1, 1): 1, Path("a/b"): 2, b"k": 3},
            {"2024-01-01": 1, "a/b": 2, "k": 3},
        ),
        ({None: 1, True: 2, 0.5: 3}, {"null": 1, "true": 2, "0.5": 3}),
        (numpy.arange(2000), list(range(2000))),
        (numpy.array([[1.5], [2.5]]), [[1.5], [2.5]]),
        (numpy.array(5), 5),
        (numpy.float32(0.1), float(numpy.float32(0.1))),
        (numpy.uint64(2**64 - 1), 2**64 - 1),
        (numpy.zeros(1, dtype=[("a", int)]), {"a": [0]}),
        (numpy.array(["2024-01-01", "NaT"], "datetime64[D]"), ["2024-01-01", None]),
        (numpy.ma.array([1, 2], mask=[False, True]), [1, None]),
        ([numpy.ma.masked], [None]),
        (numpy.zeros(1, dtype=[("a", int)])[0], {"a": 0}),
        (pandas.Categorical(["a", None]), ["a", None]),
        (pandas.DataFrame({"a": ["x", None], "b": [1.5, None]}).iloc[:, :1], {"a": ["x", None]}),
        (pandas.Series([1, 2], index=["a", "b"], dtype="category"), {"a": 1, "b": 2}),
        (collections.UserString("ab"), "ab"),
        (pandas.Series(range(100)), list(range(100))),
        (pandas.Series([1, 2], index=["a", "b"]), {"a": 1, "b": 2}),
        (pandas.DataFrame({"a": [2**60], "b": [0.5]}), {"a": [2**60], "b": [0.5]}),
        (pandas.DataFrame({"a": [1]}, index=["x"]), {"index": ["x"], "a": [1]}),
        (pandas.array([1, None], dtype="Int64"), [1, None]),
        ([pandas.NaT, pandas.NA, numpy.datetime64("NaT")], [None, None, None]),
        (polars.DataFrame({"a": [1]}), {"a": [1]}),
        (pyarrow.table({"a": [1]}), {"a": [1]}),
        (pyarrow.scalar(5), 5),
        (Optimizer(), {"lr": 0.1}),
        (Layers(), {"sizes": [1, 2]}),
        (Model(), {"name": "m", "optimizer": {"lr": 0.1}}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (argparse.Namespace(a=1), {"a": 1}),
        (CONFIGURATION, {"lr": 0.1, "again": 0.1, "layers": [1, 2]}),
        (collections.deque([1]), [1]),
        ({3, 1, 2}, [1, 2, 3]),
        (range(3), [0, 1, 2]),
        (Size.BIG, 2),
        (datetime.datetime(2024, 1, 1, 12), "2024-01-01T12:00:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        (1 + 2j, "(1+2j)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_is_kept_whole_and_nothing_is_named(value, plain):
    values = PlainValues()

    assert values.plain(value) == plain
    assert values.notes == []


@pytest.mark.parametrize(
    ("value", "plain", "note"),
    [
        ({1: "a", "1": "b"}, {"1": "a", "1 (2)": "b"}, "keys whose text is '1' were kept apart"),
        (OmegaConf.create({"a": "???", "b": 1}), {"b": 1}, "'a' is '???' and was left out"),
        (OmegaConf.create({"a": "${b}"}), {"a": "${b}"}, "'a' was kept unresolved"),
        (pandas.Series([1, 2], index=["a", "a"]), [1, 2], "an index that has a label twice"),
        (
            pandas.DataFrame([[1, 2, 3]], columns=["a", "a", "a (2)"]),
            {"a": [1], "a (3)": [2], "a (2)": [3]},
            "columns named 'a' got numbers",
        ),
        (
            pyarrow.table([[1], [2]], names=["a", "a"]),
            {"a": [1], "a (2)": [2]},
            "columns named 'a' got numbers",
        ),
        (object, "<class 'object'>", ""),
        (iter([1]), None, "a list_iterator was kept as its text"),
    ],
)
def test_what_is_changed_is_named_with_what_to_do(value, plain, note):
    values = PlainValues()
    found = values.plain(value)

    assert plain is None or found == plain
    assert "; ".join(values.notes).startswith(note)


def test_what_holds_itself_is_cut_and_named():
    values, value = PlainValues(), []
    value.append(value)

    assert values.plain(value) == ["<cycle>"]
    assert values.notes == ["what holds itself was cut there"]


@pytest.mark.parametrize("name", ODD)
def test_any_value_is_written_and_read(name):
    values, value = PlainValues(for_json=True), ODD[name]

    first, second = value_in(encoded(json_text(values.plain([value, {"a": value}]), values)))
    assert repr(second) == repr({"a": first})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_without_a_name_in_json_reads_back(number):
    values = PlainValues(for_json=True)
    text = json_text(values.plain({"NaN": [number, 'a "NaN" and [NaN]', 1.5]}), values)

    assert repr(value_in(text)) == repr({"NaN": [number, 'a "NaN" and [NaN]', 1.5]})
    assert values.notes == []


def test_text_that_reads_back_as_a_number_is_named():
    values = PlainValues(for_json=True)
    json_text(values.plain(["NaN", math.inf]), values)

    assert values.notes == ['the text "NaN" reads back as a number; give it another text']


def test_lone_surrogates_read_back():
    assert value_in(encoded(json_text(["a\ud800"], PlainValues(for_json=True)))) == ["a\ud800"]


@pytest.mark.parametrize("root", [{"a": 1}, [1, 2], {"b": {"c": (1,)}}])
def test_root_model_is_what_it_holds(root):
    values = PlainValues()

    assert values.plain(pydantic.RootModel(root)) == values.plain(root)
    assert values.fields(pydantic.RootModel({"a": 1})) == {"a": 1}
