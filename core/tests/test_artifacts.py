"""Do outputs come back from the artifact store as they were, or with a word on why not?"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from pathlib import Path

import attrs
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odd_values import Colour

from trackyard import OutputError
from trackyard.artifacts import ArtifactStore
from trackyard.materializers import MATERIALIZERS, materializer_for, materializer_named

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@attrs.define
class Model:
    weights: list


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(str(tmp_path / "artifacts"))


# Formats


@given(JSON)
def test_plain_value_comes_back_equal_and_of_the_same_type(value):
    materializer = materializer_for(value)
    loaded = materializer.load(materializer.save(value))

    assert repr(loaded) == repr(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "json"),
        (True, "json"),
        (5, "json"),
        (10**300, "json"),
        (-0.0, "json"),
        (math.inf, "json"),
        ("text", "json"),
        ("é\U0001f600", "json"),
        ("lone \ud800", "cloudpickle"),
        ({"\ud800": 1}, "cloudpickle"),
        ([1, [2.5, {"a": None}]], "json"),
        ({}, "json"),
        ("\ud83d\ude00", "cloudpickle"),
        (10**5000, "cloudpickle"),
        ((1, 2), "cloudpickle"),
        ([(1, 2)], "cloudpickle"),
        ({1: "a"}, "cloudpickle"),
        ({"a": (1,)}, "cloudpickle"),
        ({1, 2}, "cloudpickle"),
        (OrderedDict(a=1), "cloudpickle"),
        (numpy.float64(0.5), "cloudpickle"),
        (Path("a"), "cloudpickle"),
        (Model([1]), "cloudpickle"),
        (b"\0\xff", "bytes"),
        (bytearray(b"a"), "cloudpickle"),
    ],
    ids=lambda value: ascii(value)[:20] if type(value) is not int else "integer",
)
def test_value_comes_back_from_the_format_that_keeps_it_whole(store, value, name):
    stored = store.save("run/output", value)
    loaded = store.load(stored)

    assert stored.materializer == name
    assert loaded == value
    assert type(loaded) is type(value)


def test_nan_comes_back(store):
    assert math.isnan(store.load(store.save("a", math.nan)))


def test_code_comes_back(store):
    assert store.load(store.save("a", lambda x: x + 1))(1) == 2
    assert store.load(store.save("a", Colour.RED)) is Colour.RED
    assert store.load(store.save("a", Model)) is Model


def test_value_that_holds_itself_comes_back(store):
    value = [1]
    value.append(value)
    loaded = store.load(store.save("a", value))

    assert loaded[0] == 1
    assert loaded[1] is loaded


def test_value_that_is_nested_too_deeply_is_refused(store):
    value = []
    for _ in range(5000):
        value = [value]

    with pytest.raises(OutputError, match="an output of type list cannot be stored: "):
        store.save("a", value)


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6).reshape(2, 3),
        numpy.array(0.5),
        numpy.array([], dtype="float32"),
        numpy.array([1], dtype=">i2"),
        numpy.array(["a", "bc"]),
        numpy.array(["2026-01-01"], dtype="datetime64[ns]"),
        numpy.array([(1, 0.5)], dtype=[("a", "i4"), ("b", "f8")]),
        numpy.asfortranarray(numpy.ones((2, 3))),
    ],
    ids=lambda array: str(array.dtype),
)
def test_array_comes_back_in_numpys_own_format(store, array):
    stored = store.save("a", array)
    loaded = store.load(stored)

    assert stored.materializer == "numpy"
    assert stored.uri.endswith(".npy")
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    assert (loaded == array).all()


@pytest.mark.parametrize(
    "array",
    [numpy.array([{}], dtype=object), numpy.ma.array([1, 2], mask=[True, False])],
    ids=["objects", "masked"],
)
def test_array_that_numpys_format_does_not_keep_whole_is_pickled(store, array):
    stored = store.save("a", array)

    assert stored.materializer == "cloudpickle"
    assert type(store.load(stored)) is type(array)


def test_formats_are_found_by_name():
    assert [materializer_named(m.name) for m in MATERIALIZERS] == list(MATERIALIZERS)
    with pytest.raises(KeyError):
        materializer_named("parquet")


# The store


@pytest.mark.parametrize("url", ["artifacts", "artifacts/", "memory://test-artifacts"])
def test_output_lies_under_its_path_in_any_file_system(tmp_path, url):
    store = ArtifactStore(url if "://" in url else str(tmp_path / url))
    stored = store.save("run/output", {"a": 1})

    assert stored.uri == f"{store.url}/run/output.json"
    assert store.load(stored) == {"a": 1}
    assert stored.size == 8
    assert len(stored.sha256) == 64


@pytest.mark.parametrize("folder", ["a b", "a%20b", "a#b", "a?b", "é", "a::b"])
def test_store_may_lie_in_a_folder_of_any_name(tmp_path, folder):
    store = ArtifactStore(str(tmp_path / folder))
    stored = store.save("run/output", "text")

    assert store.load(stored) == "text"
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_changed_output_is_refused(store):
    stored = store.save("a", "text")
    Path(stored.uri).write_text('"changed"')

    with pytest.raises(OutputError, match=r"a\.json: has been changed since it was stored"):
        store.load(stored)


def test_missing_output_is_named(store):
    stored = store.save("a", "text")
    Path(stored.uri).unlink()

    with pytest.raises(OutputError, match=r"a\.json: cannot be read"):
        store.load(stored)


def test_pickle_from_an_untrusted_store_is_not_loaded(store):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the pickle was loaded",)

    stored = store.save("a", Bomb())
    untrusted = ArtifactStore(store.url, is_trusted=False)

    with pytest.raises(OutputError, match=r"a\.pkl: is a pickle, and .* is not marked as trusted"):
        untrusted.load(stored)
    assert untrusted.load(store.save("b", "text")) == "text"


def test_unknown_format_is_named(store):
    stored = attrs.evolve(store.save("a", "text"), materializer="parquet")

    with pytest.raises(OutputError, match="unknown format 'parquet'"):
        store.load(stored)


def test_output_that_cannot_be_loaded_is_named(store):
    stored = attrs.evolve(store.save("a", "text"), materializer="numpy")

    with pytest.raises(OutputError, match=r"a\.json: cannot be loaded: ValueError"):
        store.load(stored)


def test_output_that_cannot_be_stored_is_named(store):
    with pytest.raises(OutputError, match="an output of type lock cannot be stored: TypeError"):
        store.save("a", threading.Lock())


def test_store_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"file/run/a\.json: cannot be written"):
        ArtifactStore(str(tmp_path / "file")).save("run/a", 1)


@pytest.mark.parametrize("url", ["nosuch://bucket", "nosuch://bucket/a/"])
def test_unknown_file_system_is_named(url):
    with pytest.raises(OutputError, match=f"{url.rstrip('/')}.*cannot be written"):
        ArtifactStore(url).save("run/a", 1)
