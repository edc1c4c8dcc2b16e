"""Do outputs come back from the artifact store as they were, or with a word on why not?"""

from __future__ import annotations

import io
import math
import os
import resource
import signal
import sys
import threading
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import cloudpickle
import fsspec
import numpy
import pandas
import polars
import polars.testing
import pyarrow
import pytest
from hypothesis import given, strategies as st
from odd_values import Colour
from PIL import Image
from s3_server import s3_server

from trackyard import ConfigError, OutputError, pipeline, step
from trackyard.hooks.discovery import load_materializers
from trackyard.outputs.arrays import NumpyMaterializer
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.formats import Materializers
from trackyard.outputs.plain import JsonMaterializer

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


@pytest.mark.slow
@given(JSON)
def test_plain_value_comes_back_equal_and_of_the_same_type(value):
    materializer = next(Materializers().fitting(value))
    file = io.BytesIO()
    materializer.save(value, file)
    file.seek(0)

    assert repr(materializer.load(file)) == repr(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "json"),
        (True, "json"),
        (5, "json"),
        (10**300, "json"),
        (-0.0, "json"),
        (math.inf, "json"),
        ("text", "text"),
        ("line\r\nline\n", "text"),
        ("é\U0001f600", "text"),
        ("lone \ud800", "cloudpickle"),
        ({"\ud800": 1}, "cloudpickle"),
        ([1, [2.5, {"a": None}]], "json"),
        ({}, "json"),
        ("\ud83d\ude00", "cloudpickle"),
        (10**5000, "cloudpickle"),
        (list(range(250_000)), "json"),
        ([[0.5] * 3, None] * 150_000, "json"),
        ((1, 2), "values"),
        ((), "values"),
        ([(1, 2)], "values"),
        ({1: "a"}, "values"),
        ({"a": (1,), None: {2.5: [()]}, (1, "b"): frozenset([b"c"])}, "values"),
        ({"tuple": (1,)}, "values"),
        ({1, 2, "a", None}, "values"),
        (frozenset(), "values"),
        (complex(-0.0, math.inf), "values"),
        (datetime(2026, 1, 2, 3, 4, 5, 6), "values"),
        (datetime(2026, 1, 2, tzinfo=UTC, fold=1), "values"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3))), "values"),
        (datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), "cloudpickle"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(0), "here")), "cloudpickle"),
        ((date(2026, 1, 2), time(1, 2), timedelta(-1, 2, 3)), "values"),
        ((Decimal("1.50"), UUID(int=5)), "values"),
        ({"a": object}, "cloudpickle"),
        ((1, Model([1])), "cloudpickle"),
        (("lone \ud800",), "cloudpickle"),
        (OrderedDict(a=1), "cloudpickle"),
        (numpy.float64(0.5), "values"),
        (numpy.float32(0.1), "values"),
        (numpy.bool_(True), "values"),
        (numpy.str_("ab"), "values"),
        (numpy.datetime64("2026-01-01", "ns"), "values"),
        ({"loss": numpy.float32(0.1), "n": numpy.int8(3)}, "values"),
        (Path("a"), "values"),
        ([Path("a")], "values"),
        (Model([1]), "cloudpickle"),
        (b"\0\xff", "bytes"),
        (bytearray(b"a"), "values"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_comes_back_from_the_format_that_keeps_it_whole(store, value, name):
    stored = store.save("run/output", value)
    loaded = store.load(stored)

    assert stored.materializer == name
    assert loaded == value
    assert type(loaded) is type(value)
    assert types_in(loaded) == types_in(value)


def types_in(value):
    """Give the types of all that a value holds."""
    inner = list(value.items()) if type(value) is dict else value
    if type(inner) in (list, tuple, set, frozenset):
        return type(value), sorted((types_in(item) for item in inner), key=repr)
    return type(value)


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

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # Python's own: a library that other tests use may have raised it
    try:
        with pytest.raises(OutputError, match="an output of type list cannot be stored: "):
            store.save("a", value)
    finally:
        sys.setrecursionlimit(limit)


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
        numpy.arange(1_500_000.0).reshape(3, 500_000),
        numpy.arange(600_000).astype("datetime64[s]"),
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


def frame(**columns):
    return pandas.DataFrame(columns or {"a": [1, 2], "b": ["x", None]})


@pytest.mark.parametrize(
    "table",
    [
        frame(),
        frame(when=pandas.to_datetime(["2026-01-01", None], utc=True)),
        frame(kind=pandas.Categorical(["a", "b"], categories=["b", "a"], ordered=True)),
        frame(number=pandas.array([1, None], dtype="Int64"), half=numpy.float32([0.5, 1])),
        frame().set_index("b"),
        frame().iloc[[1]],
        frame().iloc[:0],
        pandas.DataFrame(index=pandas.MultiIndex.from_tuples([("a", 1)], names=["x", "y"])),
    ],
    ids=lambda table: ",".join(map(str, table.dtypes)) or "empty",
)
def test_pandas_frame_comes_back_from_parquet(store, table):
    stored = store.save("a", table)
    loaded = store.load(stored)

    assert (stored.materializer, stored.uri.endswith(".parquet")) == ("pandas", True)
    pandas.testing.assert_frame_equal(loaded, table, check_freq=False)


@pytest.mark.parametrize(
    "table",
    [
        pandas.DataFrame({"a": [(1, 2)]}),
        pandas.DataFrame({"a": [1, "mixed"]}, dtype=object),
        pandas.Series([1, "mixed"], dtype=object),
        pandas.DataFrame([[1]], columns=pandas.to_datetime(["2026-01-01"])),
    ],
    ids=["tuples", "mixed", "mixed series", "dates as names"],
)
def test_pandas_object_that_parquet_does_not_keep_whole_is_pickled(store, table):
    stored = store.save("a", table)
    loaded = store.load(stored)

    assert stored.materializer == "cloudpickle"
    assert type(loaded) is type(table)
    assert loaded.equals(table)


@pytest.mark.parametrize(
    "table",
    [
        pandas.DataFrame({1: [1], 5: ["a"]}),
        pandas.DataFrame(numpy.eye(3)),
        pandas.DataFrame({1: [1], "a": [2]}).rename_axis("row").rename_axis("column", axis=1),
        pandas.DataFrame([[1, 2]], columns=["a", "a"]),
        pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        pandas.DataFrame({0: [1, 2]}, index=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    ],
    ids=["numbers", "range", "mixed", "twice", "levels", "unnamed levels"],
)
def test_pandas_frame_with_any_names_comes_back_from_parquet(store, table):
    table.attrs["own"] = {"note": 1}
    stored = store.save("a", table)
    loaded = ArtifactStore(store.url, is_trusted=False).load(stored)

    assert stored.materializer == "pandas-labelled"
    pandas.testing.assert_frame_equal(loaded, table, check_column_type="exact")
    assert type(loaded.columns) is type(table.columns)
    assert loaded.attrs == table.attrs


@pytest.mark.parametrize(
    "series",
    [
        pandas.Series([1, 2]),
        pandas.Series([0.5, None], name="loss", index=["a", "b"]),
        pandas.Series(["a", None], name=3),
        pandas.Series([], dtype="Int64", name=("a", 1)),
        pandas.Series([1], index=pandas.to_datetime(["2026-01-01"]), name="a").rename_axis("day"),
        pandas.Series(pandas.Categorical(["a"], categories=["b", "a"])),
        pandas.Series([1, 2], index=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    ],
    ids=lambda series: str(series.name),
)
def test_pandas_series_comes_back_from_parquet(store, series):
    stored = store.save("a", series)
    loaded = ArtifactStore(store.url, is_trusted=False).load(stored)

    assert stored.materializer == "pandas-labelled"
    pandas.testing.assert_series_equal(loaded, series, check_index_type="exact")
    assert type(loaded.name) is type(series.name)


@pytest.mark.parametrize(
    "series",
    [
        polars.Series([1, None]),
        polars.Series("a", [[1.5], []]),
        polars.Series("a", ["x", "y"], dtype=polars.Enum(["y", "x"])),
    ],
    ids=lambda series: str(series.dtype),
)
def test_polars_series_comes_back_from_parquet(store, series):
    stored = store.save("a", series)
    loaded = ArtifactStore(store.url, is_trusted=False).load(stored)

    assert stored.materializer == "polars-series"
    polars.testing.assert_series_equal(loaded, series)


def test_polars_frame_comes_back_from_parquet(store):
    table = polars.DataFrame(
        {"a": [1, None], "b": ["x", "y"], "c": [[1], [2, 3]]}, schema_overrides={"a": polars.Int8}
    )
    stored = store.save("a", table)

    assert stored.materializer == "polars"
    assert store.load(stored).equals(table)
    assert store.load(stored).schema == table.schema
    with pytest.raises(OutputError, match="type DataFrame cannot be stored"):  # nor does pickle
        store.save("b", polars.DataFrame({"a": [object()]}))


def test_arrow_table_comes_back_from_parquet(store):
    table = pyarrow.table({"a": [1, 2], "b": [["x"], []]}).replace_schema_metadata({"own": "note"})
    stored = store.save("a", table)

    assert stored.materializer == "arrow"
    assert store.load(stored).equals(table, check_metadata=True)


def test_file_and_folder_come_back_with_their_content(store, tmp_path):
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights.bin").write_bytes(b"\0\1")
    file = store.load(store.save("file", tmp_path / "model" / "deep" / "weights.bin"))
    folder = store.load(store.save("folder", tmp_path / "model"))

    assert (file.name, file.read_bytes()) == ("weights.bin", b"\0\1")
    assert (folder.name, (folder / "deep" / "weights.bin").read_bytes()) == ("model", b"\0\1")
    assert not file.is_relative_to(tmp_path)


def test_link_is_stored_with_what_it_leads_to(store, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights.bin").write_bytes(b"\0\1")
    model = tmp_path / "model"
    model.mkdir()
    (model / "best").symlink_to(tmp_path / "deep" / "weights.bin")
    (model / "all").symlink_to(tmp_path / "deep")
    (model / "again").symlink_to("all")
    (tmp_path / "latest").symlink_to(model / "best")
    file = store.load(store.save("file", tmp_path / "latest"))
    folder = store.load(store.save("folder", model))

    assert (file.name, file.is_symlink(), file.read_bytes()) == ("latest", False, b"\0\1")
    for name in ("best", "all/weights.bin", "again/weights.bin"):
        assert (folder / name).read_bytes() == b"\0\1"
        assert not (folder / name).is_symlink()


def _dangling(folder):
    (folder / "gone").symlink_to("nowhere")


def _loop(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "up").symlink_to(folder)


def _pipe(folder):
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    ("add", "problem"),
    [
        (_dangling, "gone: cannot be stored: No such file or directory"),
        (_loop, "up: cannot be stored: the link leads back to .*model"),
        (_pipe, "pipe: cannot be stored: it is no file and no folder"),
    ],
)
def test_folder_that_would_not_come_back_whole_is_refused(store, tmp_path, add, problem):
    model = tmp_path / "model"
    model.mkdir()
    add(model)

    with pytest.raises(OutputError, match=problem):
        store.save("a", model)
    assert list(Path(store.url).iterdir()) == []


def test_link_that_leads_nowhere_is_refused(store, tmp_path):
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")

    for name in ("gone", "self"):
        with pytest.raises(OutputError, match=f"{name}: cannot be stored: "):
            store.save("a", tmp_path / name)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_image_comes_back_with_its_pixels(store, mode):
    image = Image.effect_noise((5, 4), 50).convert(mode)
    stored = store.save("a", image)
    loaded = store.load(stored)

    assert (stored.materializer, loaded.mode) == ("image", mode)
    assert type(loaded) is Image.Image
    assert loaded == image
    assert store.save("b", image.convert("CMYK")).materializer == "cloudpickle"


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "bmp"])
def test_image_of_a_file_comes_back_with_its_class_and_notes(store, tmp_path, form):
    exif = Image.Exif()
    exif[0x010E] = "a note"
    Image.effect_noise((9, 7), 50).convert("RGB").save(
        tmp_path / "image", format=form, exif=exif, dpi=(72, 72)
    )
    image = Image.open(tmp_path / "image")
    stored = store.save("a", image)
    (tmp_path / "image").unlink()
    loaded = store.load(stored)

    assert stored.materializer == ("cloudpickle" if form == "tiff" else "image")
    assert (type(loaded), loaded == image) == (type(image), True)
    assert loaded.info == image.info
    assert form != "jpeg" or loaded.getexif()[0x010E] == "a note"


def test_image_with_a_palette_keeps_it(store):
    image = Image.effect_noise((5, 4), 50).convert("P")
    image.info["transparency"] = 0

    assert store.load(store.save("a", image)) == image


def test_formats_are_found_by_name():
    own = Materializers()
    for value in (1, "a", b"a", numpy.ones(1), frame(), object()):
        best = next(own.fitting(value))
        assert own.named(best.name) is best
    with pytest.raises(KeyError):
        own.named("parquet")


MATERIALIZER = """
class Complex:
    name = "complex"
    suffix = ".cpx"

    def can_save(self, value):
        return type(value) is complex

    def save(self, value, file):
        file.write(repr(value).encode())

    def load(self, file):
        return complex(file.read().decode())
"""


def test_installed_package_brings_a_format(project, install):
    install("acme", {"acme": MATERIALIZER}, materializers={"complex": "acme:Complex"})

    @step
    def imaginary() -> complex:
        return 1j

    @pipeline
    def numbers():
        imaginary()

    output = numbers().steps["imaginary"].outputs["output"]
    assert (output.materializer, output.uri.endswith(".cpx"), output.load()) == (
        "complex",
        True,
        1j,
    )


def test_installed_format_that_is_none_is_named(project, install, caplog):
    install("acme", {"acme": "class Odd: pass\n"}, materializers={"odd": "acme:Odd"})

    assert load_materializers() == ()
    assert "acme:Odd" not in caplog.text
    assert "'odd' from acme 1.0: is no materializer, it lacks 'can_save', 'load'" in caplog.text


def test_format_that_fails_says_so_and_leaves_the_value_to_the_next(store, caplog):
    class Failing:
        name, suffix = "failing", ".no"

        def can_save(self, value):
            return True

        def save(self, value, file):
            file.write(b"half")
            raise ValueError("not this one")

        def load(self, file):
            raise AssertionError

    failing = ArtifactStore(store.url, materializers=Materializers(lambda: [Failing()]))
    stored = failing.save("a", Model([1]))

    assert stored.materializer == "cloudpickle"
    assert failing.load(stored) == Model([1])
    assert "format 'failing' cannot hold an output of type Model, another" in caplog.text
    assert [path.name for path in Path(store.url).iterdir()] == ["a.pkl"]


def test_format_whose_name_is_taken_is_left_out(caplog):
    class Own(JsonMaterializer):
        name = "numpy"

    class Mine(JsonMaterializer):
        name = "mine"

    formats = Materializers(lambda: [Own(), Mine(), Mine()])

    assert type(formats.named("numpy")) is NumpyMaterializer
    assert type(formats.named("mine")) is Mine
    assert caplog.text.count("there is another one of that name; rename it") == 2


# Outputs of one step


def test_outputs_of_a_step_never_share_a_file(project):
    @step
    def several() -> tuple[
        Annotated[int, "output_1"],
        Annotated[int, "my model"],
        Annotated[int, "Model"],
        Annotated[int, "model"],
        Annotated[int, "output-3"],
    ]:
        return 1, 2, 3, 4, 5

    @pipeline
    def naming():
        several()

    outputs = naming().steps["several"].outputs
    assert [output.load() for output in outputs.values()] == [1, 2, 3, 4, 5]
    files = {Path(output.uri).name.lower() for output in outputs.values()}
    assert len(files) == 5
    assert "output_1.json" in files


# The store


@pytest.mark.parametrize("url", ["artifacts", "artifacts/", "memory://test-artifacts"])
def test_output_lies_under_its_path_in_any_file_system(tmp_path, url):
    store = ArtifactStore(url if "://" in url else str(tmp_path / url))
    stored = store.save("run/output", {"a": 1})

    assert stored.uri == f"{store.url}/run/output.json"
    assert store.load(stored) == {"a": 1}
    assert stored.size == 8
    assert len(stored.sha256) == 64


@pytest.fixture(scope="module")
def bucket():
    with s3_server() as address:
        options = {"endpoint_url": address, "key": "test", "secret": "test"}
        fsspec.filesystem("s3", **options).mkdir("trackyard-test")
        yield "s3://trackyard-test/outputs", options


def test_output_lies_in_a_bucket(bucket, monkeypatch):
    url, options = bucket
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    store = ArtifactStore(url)
    large = numpy.arange(3_000_000.0)  # more than one part of an upload

    stored = store.save("run/array", large)
    assert (stored.uri, stored.size) == (f"{url}/run/array.npy", large.nbytes + 128)
    assert (store.load(stored) == large).all()
    assert fsspec.filesystem("s3", **options).info(stored.uri)["size"] == stored.size
    assert store.load(store.save("run/text", "text")) == "text"


@pytest.mark.parametrize("folder", ["a b", "a%20b", "a#b", "a?b", "é", "a::b"])
def test_store_may_lie_in_a_folder_of_any_name(tmp_path, folder):
    store = ArtifactStore(str(tmp_path / folder))
    stored = store.save("run/output", "text")

    assert store.load(stored) == "text"
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_changed_output_is_refused(store):
    stored = store.save("a", "text")
    Path(stored.uri).write_text('"changed"')

    with pytest.raises(OutputError, match=r"a\.txt: has been changed since it was stored"):
        store.load(stored)


def test_changed_output_is_none_that_the_store_has(store):
    stored = store.save("a", "text")
    Path(stored.uri).write_text("tex")

    assert not store.has(stored)


def test_store_may_be_moved(store, tmp_path):
    stored = store.save("run/a", "text")
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    moved = ArtifactStore(str(tmp_path / "elsewhere"))

    assert moved.load(stored) == "text"
    assert moved.has(stored)
    with pytest.raises(OutputError, match=r"artifacts/run/a\.txt: cannot be read"):
        store.load(stored)


def test_half_a_file_is_not_kept_where_the_store_is_full(store, tmp_path):
    array = numpy.ones(4 << 20, dtype="u1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written: .*File too large"):
            store.save("a", array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)

    assert list(Path(store.url).iterdir()) == []


def test_missing_output_is_named(store):
    stored = store.save("a", "text")
    Path(stored.uri).unlink()

    with pytest.raises(OutputError, match=r"a\.txt: cannot be read"):
        store.load(stored)


def test_pickle_from_an_untrusted_store_is_not_loaded(store):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the pickle was loaded",)

    stored = store.save("a", Bomb())
    untrusted = ArtifactStore(store.url, is_trusted=False)

    with pytest.raises(OutputError, match=r"a\.pkl: is a pickle, .* not marked as trusted"):
        untrusted.load(stored)
    assert untrusted.load(store.save("b", "text")) == "text"


def test_pickle_that_this_process_has_just_stored_is_loaded_again(store):
    untrusted = ArtifactStore(store.url, is_trusted=False)

    assert untrusted.load(untrusted.save("a", {1, 2})) == {1, 2}


def test_store_has_what_may_be_loaded_from_it(store):
    pickled, text = store.save("a", lambda: 1), store.save("b", "text")
    untrusted = ArtifactStore(store.url, is_trusted=False)

    assert (store.has(pickled), store.has(text)) == (True, True)
    assert (untrusted.has(pickled), untrusted.has(text)) == (False, True)
    untrusted.trust(pickled)
    assert untrusted.has(pickled)
    Path(text.uri).unlink()
    assert not store.has(text)


def test_damaged_pickle_is_not_loaded(store):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the pickle was loaded",)

    stored = store.save("a", {1, 2})
    Path(stored.uri).write_bytes(cloudpickle.dumps(Bomb()))

    with pytest.raises(OutputError, match="has been changed since it was stored"):
        store.load(stored)


def test_unknown_format_is_named(store):
    stored = attrs.evolve(store.save("a", "text"), materializer="parquet")

    with pytest.raises(OutputError, match="unknown format 'parquet'"):
        store.load(stored)


def test_output_that_cannot_be_loaded_is_named(store):
    stored = attrs.evolve(store.save("a", "text"), materializer="numpy")

    with pytest.raises(OutputError, match=r"a\.txt: cannot be loaded: ValueError"):
        store.load(stored)


def test_output_that_cannot_be_stored_is_named(store):
    with pytest.raises(OutputError, match="an output of type lock cannot be stored: TypeError"):
        store.save("a", threading.Lock())


def test_store_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"file/run/a\.json: cannot be written"):
        ArtifactStore(str(tmp_path / "file")).save("run/a", 1)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nosuch://bucket", "artifact_store nosuch://bucket: cannot be used: .*nosuch"),
        ("taken/folder", "taken/folder: cannot be used: .*(directory|exists)"),
        ("s3://", "'s3://' is no folder and no whole URL; write such as"),
        ("s3:/bucket", "'s3:/bucket' is no folder"),
        ("memory:outputs", "'memory:outputs' is no folder"),
        ("", "'' is no folder"),
    ],
)
def test_store_that_cannot_be_used_is_named_before_a_step_runs(project, value, problem):
    (project.root / "taken").touch()
    project.configure(f'[stacks.default]\nartifact_store = "{value}"\n')

    @step
    def never():
        pytest.fail("it was run")

    with pytest.raises(ConfigError, match=problem):
        pipeline(never)()


def test_store_may_lie_in_the_home_folder_or_in_memory(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project.root / "home"))
    one = pipeline(step(lambda: 1))
    for value, place in (("~/outputs", project.root / "home" / "outputs"), ("memory://", "memory")):
        project.configure(f'[stacks.default]\nartifact_store = "{value}"\n')
        (found,) = one().steps.values()
        assert found.outputs["output"].uri.startswith(str(place))
        assert found.outputs["output"].load() == 1


@pytest.mark.parametrize("url", ["nosuch://bucket", "nosuch://bucket/a/"])
def test_unknown_file_system_is_named(url):
    with pytest.raises(OutputError, match=f"{url.rstrip('/')}.*cannot be written"):
        ArtifactStore(url).save("run/a", 1)
