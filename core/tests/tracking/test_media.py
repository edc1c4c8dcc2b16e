"""Do files, texts, tables, figures and images become files of the run?"""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy
import pandas
import PIL.Image
import polars
import pyarrow.parquet
import pytest
from recorder import Recorder

from trackyard import Client, hookimpl, start_run

DAY = datetime.datetime(2024, 1, 2)  # pandas itself warns where there is a zone


@pytest.fixture
def log(project, caplog):
    """Give a function that makes one call in a run and gives the artifacts and warnings."""
    project.add_tracker("local", Recorder)

    def log(call, *arguments, **keywords):
        with start_run() as run:
            getattr(run, call)(*arguments, **keywords)
        return project.logged("artifacts"), [record.message for record in caplog.records]

    return log


def content(artifacts):
    ((_, _, _, _, text),) = artifacts
    return json.loads(text)


# Files


def test_file_is_copied_as_it_was_when_it_was_logged(project, caplog):
    project.add_tracker("local", Recorder)
    file = project.root / "model.bin"
    with start_run() as run:
        file.write_text("first")
        run.log_artifact(file)
        file.write_text("second")
        run.log_artifact(str(file), "models/second.bin")
        file.unlink()

    assert project.logged("artifacts") == [
        ["model.bin", "file", "application/octet-stream", None, "first"],
        ["models/second.bin", "file", "application/octet-stream", None, "second"],
    ]


def test_every_file_of_a_folder_is_logged(project, log):
    folder = project.root / "outputs"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("b")
    (folder / "link.txt").symlink_to(folder / "a.txt")
    os.mkfifo(folder / "fifo")
    artifacts, warnings = log("log_artifact", folder, "results")

    assert [(a[0], a[4]) for a in artifacts] == [
        ("results/a.txt", "a"),
        ("results/deep/b.txt", "b"),
        ("results/link.txt", "a"),
    ]
    assert warnings == ["log_artifact: results/fifo is no file and no folder, and was left out"]


def test_links_of_a_folder_are_followed_and_what_leads_nowhere_or_back_is_named(project, log):
    folder = project.root / "outputs"
    (folder / "empty").mkdir(parents=True)
    (project.root / "blob").write_text("weights")
    (folder / "model.bin").symlink_to(project.root / "blob")
    (folder / "gone").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    artifacts, (warning,) = log("log_artifact", folder)

    assert [(a[0], a[4]) for a in artifacts] == [("outputs/model.bin", "weights")]
    assert warning == (
        "log_artifact: outputs/empty is an empty folder, and was left out; "
        "outputs/gone is a link that leads nowhere, and was left out; "
        "outputs/loop is a link that leads back to a folder it lies in, and was left out"
    )


def test_empty_folder_is_named(project, log):
    (project.root / "outputs").mkdir()
    artifacts, warnings = log("log_artifact", project.root / "outputs")

    assert artifacts == []
    assert warnings == ["log_artifact: outputs is empty: there is no file to log"]


def test_working_directory_is_logged_under_its_name(project, log, monkeypatch):
    folder = project.root / "outputs"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    monkeypatch.chdir(folder)
    artifacts, _ = log("log_artifact", ".")

    assert [a[0] for a in artifacts] == ["outputs/a.txt"]


@pytest.mark.parametrize("path", ["missing.txt", "", "\0", "a" * 5000, "\ud800", None, 5, b"file"])
def test_file_that_is_not_there_is_named_and_skipped(log, path):
    artifacts, (warning,) = log("log_artifact", path)

    assert artifacts == []
    assert warning.startswith("artifact was not logged: there is no file")


@pytest.mark.parametrize("call", ["log_artifact", "log_image"])
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_file_that_never_ends_is_skipped(project, log, call, kind):
    path = project.root / "endless.png"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path = Path("/dev/zero")
    result = []
    thread = threading.Thread(target=lambda: result.append(log(call, path, "a.png")), daemon=True)
    thread.start()
    thread.join(10)

    ((artifacts, (warning,)),) = result
    assert artifacts == []
    assert "is no regular file" in warning


def test_folder_that_cannot_be_read_is_skipped(project, log, monkeypatch):
    def fail(*_):
        raise PermissionError("not yours")

    (project.root / "outputs").mkdir()
    monkeypatch.setattr(os, "scandir", fail)
    artifacts, (warning,) = log("log_artifact", project.root / "outputs")

    assert artifacts == []
    assert "not yours" in warning


# Texts and dicts


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [
        ("notes.txt", "text", "text/plain"),
        ("notes", "text", "text/plain"),
        ("page.html", "html", "text/html"),
        ("table.csv", "text", "text/csv"),
    ],
)
def test_text_is_written_in_its_kind(log, name, kind, media_type):
    artifacts, _ = log("log_text", "ab\n", name, step=5)

    assert artifacts == [[name, kind, media_type, 5, "ab\n"]]


def test_text_with_lone_surrogates_is_written(log):
    artifacts, _ = log("log_text", "a\ud800", "a.txt")

    assert artifacts[0][4] == "a\\ud800"


def test_dict_is_written_as_json(log):
    value = {"a": [1, 2.5, None], "b": numpy.float32(0.5), "c": Path("x"), "d": {"e": "f"}}
    artifacts, _ = log("log_dict", value, "config.json")

    assert artifacts[0][:3] == ["config.json", "text", "application/json"]
    assert content(artifacts) == {"a": [1, 2.5, None], "b": 0.5, "c": "x", "d": {"e": "f"}}


def test_dict_that_holds_itself_is_cut_there(log):
    value = {}
    value["self"] = value
    artifacts, _ = log("log_dict", value, "config.json")

    assert content(artifacts) == {"self": "<cycle>"}


# Tables


class Frame:
    """A data frame as pandas has it."""

    columns = ("a", "b")
    values = numpy.array([[1, 2], [3, 4]])

    def to_dict(self):
        raise NotImplementedError


class Row(NamedTuple):
    number: int
    text: str


class PolarsFrame:
    """A data frame as polars has it."""

    columns = ("a", "b")

    def rows(self):
        return [(1, 2), (3, 4)]

    def to_dict(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "table",
    [
        {"a": [1, 3], "b": [2, 4]},
        {"a": (1, 3), "b": numpy.array([2, 4])},
        [{"a": 1, "b": 2}, {"a": 3, "b": 4}],
        iter([{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        Frame(),
        PolarsFrame(),
    ],
)
def test_table_is_written_as_columns_and_rows(log, table):
    artifacts, _ = log("log_table", table, "errors")

    assert artifacts[0][:3] == ["errors.json", "table", "application/json"]
    assert content(artifacts) == {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("table", "columns", "data"),
    [
        ({"a": [1, 2], "b": [3]}, ["a", "b"], [[1, 3], [2, None]]),
        ([{"a": 1}, {"b": 2}], ["a", "b"], [[1, None], [None, 2]]),
        ([], [], []),
        ({}, [], []),
        ({1: [Path("x")]}, ["1"], [["x"]]),
    ],
)
def test_table_with_gaps_is_filled_up(log, table, columns, data):
    artifacts, _ = log("log_table", table, "errors.json")

    assert content(artifacts) == {"columns": columns, "data": data}


@pytest.mark.parametrize(
    ("table", "columns", "data"),
    [
        (
            pandas.DataFrame({"id": [2**53 + 1], "score": [0.5]}),
            ["id", "score"],
            [[2**53 + 1, 0.5]],
        ),
        (pandas.DataFrame({"t": [pandas.NaT], "n": [pandas.NA]}), ["t", "n"], [[None, None]]),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), ["a", "a (2)"], [[1, 2]]),
        (
            pandas.DataFrame([[1, 2, 3]], columns=["a", "a", "a (2)"]),
            ["a", "a (3)", "a (2)"],
            [[1, 2, 3]],
        ),
        (pandas.DataFrame({"a": ["x", None]}), ["a"], [["x"], [None]]),
        (pandas.DataFrame({"a": [1]}, index=["x"]), ["index", "a"], [["x", 1]]),
        (pandas.Series([1], name="a"), ["a"], [[1]]),
        (polars.DataFrame({"a": [1], "b": ["x"]}), ["a", "b"], [[1, "x"]]),
        (polars.LazyFrame({"a": [1]}), ["a"], [[1]]),
        (polars.Series("a", [1]), ["a"], [[1]]),
        (pyarrow.table({"a": [2**60]}), ["a"], [[2**60]]),
        ({"question": "why", "answer": "no"}, ["question", "answer"], [["why", "no"]]),
        ({"a": 5, "b": [1, 2]}, ["a", "b"], [[5, [1, 2]]]),
        ([[1, 2], [3]], ["0", "1"], [[1, 2], [3, None]]),
        ([Row(1, "x")], ["number", "text"], [[1, "x"]]),
        (numpy.array([[1, 2]]), ["0", "1"], [[1, 2]]),
        (numpy.array([1, 2]), ["value"], [[1], [2]]),
        (numpy.array([(1, 0.5)], [("a", int), ("b", float)]), ["a", "b"], [[1, 0.5]]),
        ({"password": ["abc"], "n": [1]}, ["password", "n"], [["***", 1]]),
    ],
)
def test_table_of_any_kind_is_kept_whole(log, table, columns, data):
    artifacts, _ = log("log_table", table, "errors.json")

    assert content(artifacts) == {"columns": columns, "data": data}


@pytest.mark.parametrize(
    "table",
    [
        pandas.DataFrame({"id": [2**60], "text": ["x"], "t": [pandas.Timestamp("2024-01-01")]}),
        polars.DataFrame({"id": [2**60], "text": ["x"]}),
        polars.LazyFrame({"id": [2**60], "text": ["x"]}),
        pyarrow.table({"id": [2**60], "text": ["x"]}),
        {"id": [2**60], "text": ["x"]},
    ],
    ids=lambda table: type(table).__name__,
)
def test_table_becomes_parquet_by_its_name(log, table):
    artifacts, warnings = log("log_table", table, "errors.parquet")
    read = pyarrow.parquet.read_table(io.BytesIO(artifacts[0][4].encode("latin-1")))

    assert artifacts[0][:3] == ["errors.parquet", "file", "application/vnd.apache.parquet"]
    assert read.select(["id", "text"]).to_pylist() == [{"id": 2**60, "text": "x"}]
    assert warnings == []


def test_parquet_holds_no_secret(log):
    table = {
        "password": ["abc", None],
        "url": ["https://ann:pass@host", "x"],
        "n": [{"token": "a"}, None],
    }
    artifacts, _ = log("log_table", pandas.DataFrame(table), "errors.parquet")
    read = pyarrow.parquet.read_table(io.BytesIO(artifacts[0][4].encode("latin-1")))

    assert read.to_pydict() == {
        "password": ["***", None],
        "url": ["https://***@host", "x"],
        "n": [{"token": "***"}, None],
    }


@pytest.mark.parametrize(
    "type_",
    [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
    ],
)
def test_texts_of_every_type_of_arrow_are_searched_for_secrets(log, type_):
    texts = ["plain", None, "password=abcdefgh", "plain"]
    table = pyarrow.table(
        {
            "a": pyarrow.chunked_array([pyarrow.array(texts[:2]), pyarrow.array(texts[2:])]).cast(
                type_
            ),
            "api_key": pyarrow.array(texts).cast(type_),
            "plain": pyarrow.array(["plain"] * 4).cast(type_),
        }
    )
    artifacts, _ = log("log_table", table, "errors.parquet")
    read = pyarrow.parquet.read_table(io.BytesIO(artifacts[0][4].encode("latin-1")))

    assert read.column("a").to_pylist() == ["plain", None, "password=***", "plain"]
    assert read.column("api_key").to_pylist() == ["***", None, "***", "***"]
    assert read.column("plain").to_pylist() == ["plain"] * 4
    assert b"abcdefgh" not in artifacts[0][4].encode("latin-1")


def test_column_of_several_types_becomes_texts_in_parquet_and_is_named(log):
    _, (warning,) = log("log_table", {"a": [1, "x"]}, "errors.parquet")

    assert "column 'a' holds several types" in warning


def test_whole_numbers_of_64_bits_without_sign_keep_their_type_in_parquet(log):
    artifacts, warnings = log("log_table", {"a": [1, None, 2**64 - 1]}, "errors.parquet")
    read = pyarrow.parquet.read_table(io.BytesIO(artifacts[0][4].encode("latin-1")))

    assert read.column("a").to_pylist() == [1, None, 2**64 - 1]
    assert not warnings


def test_dates_bytes_and_decimals_keep_their_types_in_parquet(log):
    day = datetime.date(2024, 1, 2)
    table = {
        "day": [day, None],
        "at": [datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC)] * 2,
        "took": [datetime.timedelta(seconds=1.5)] * 2,
        "raw": [b"\xff\0"],
        "price": [decimal.Decimal("1.10")] * 2,
        "mixed": [day, "x"],
    }
    artifacts, warnings = log("log_table", table, "errors.parquet")
    rows, _ = log("log_table", [{"day": day, "raw": b"\xff"}], "rows.parquet")
    read = pyarrow.parquet.read_table(io.BytesIO(artifacts[0][4].encode("latin-1")))
    again = pyarrow.parquet.read_table(io.BytesIO(rows[-1][4].encode("latin-1")))

    wanted = {**table, "raw": [b"\xff\0", None], "mixed": ["2024-01-02", "x"]}
    assert read.to_pydict() == wanted
    assert again.to_pylist() == [{"day": day, "raw": b"\xff"}]
    assert len(warnings) == 1  # of the column that was filled up


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (pyarrow.table([[1], [2]], names=["a", "a"]), [{"a": 1, "a (2)": 2}]),
        (
            pyarrow.table({"m": pyarrow.array([[("k", 1)]], pyarrow.map_("string", "int32"))}),
            [{"m": [("k", 1)]}],
        ),
        (polars.Series("q", [1, None]), [{"q": 1}, {"q": None}]),
        (polars.Series("q", [{1}], dtype=polars.Object), [{"q": [1]}]),
        (pandas.Series([DAY]), [{"value": DAY}]),
        (pandas.Series(["a", None], dtype="category"), [{"value": "a"}, {"value": None}]),
        (
            pandas.DataFrame({"t": [DAY] * 2, "m": [1, "x"]}),
            [{"t": DAY, "m": text} for text in "1x"],
        ),
    ],
    ids=["twice", "map", "polars", "objects", "dates", "category", "mixed"],
)
def test_table_of_any_kind_keeps_its_types_in_parquet(log, table, rows):
    artifacts, _ = log("log_table", table, "errors.parquet")
    content = io.BytesIO(artifacts[0][4].encode("latin-1"))

    assert pyarrow.parquet.ParquetFile(content).read().to_pylist() == rows


def test_map_with_a_secret_hides_it_in_parquet(log):
    table = pyarrow.table(
        {"m": pyarrow.array([[("token", "abc")]], pyarrow.map_("string", "string"))}
    )
    artifacts, _ = log("log_table", table, "errors.parquet")

    assert b"abc" not in artifacts[0][4].encode("latin-1")


def test_table_named_as_csv_is_json_and_named_so(log):
    artifacts, (warning,) = log("log_table", {"a": [1]}, "errors.csv")

    assert artifacts[0][0] == "errors.json"
    assert "name it errors.json, or errors.parquet" in warning


def test_columns_of_several_lengths_are_named(log):
    _, (warning,) = log("log_table", {"a": [1, 2], "b": [3]}, "errors.json")

    assert warning.startswith("artifact 'errors.json': columns of several lengths were filled up")


@pytest.mark.parametrize("table", [5, None, "abc", [1, 2], [{"a": 1}, 2]])
def test_what_is_no_table_is_named_and_skipped(log, table):
    artifacts, (warning,) = log("log_table", table, "errors.json")

    assert artifacts == []
    assert warning.startswith("artifact 'errors.json' was not logged: ")


# Figures and images


class Figure:
    def savefig(self, path):
        Path(path).write_text("drawn")


class Plot:
    def write_html(self, path):
        Path(path).write_text("<p>drawn")


@pytest.mark.parametrize(
    ("figure", "name", "expected"),
    [
        (Figure(), "curve.png", ["curve.png", "figure", "image/png", 3, "drawn"]),
        (Figure(), "curve", ["curve.png", "figure", "image/png", 3, "drawn"]),
        (Figure(), "a/curve.svg", ["a/curve.svg", "figure", "image/svg+xml", 3, "drawn"]),
        (Plot(), "curve.png", ["curve.html", "html", "text/html", 3, "<p>drawn"]),
        (Plot(), "curve", ["curve.html", "html", "text/html", 3, "<p>drawn"]),
    ],
)
def test_figure_is_written_in_its_kind(log, figure, name, expected):
    artifacts, _ = log("log_figure", figure, name, step=3)

    assert artifacts == [expected]


class Page:
    def to_html(self):
        return "<p>drawn"


class Axes:
    figure = Figure()


class Grid:
    fig = Figure()


@pytest.mark.parametrize(
    ("figure", "name", "kind"),
    [
        (Axes(), "a.png", "figure"),
        (numpy.array([[Axes()]]), "a.png", "figure"),
        ([Axes()], "a.png", "figure"),
        (Grid(), "a.png", "figure"),
        (Page(), "a.html", "html"),
    ],
)
def test_figure_is_found_in_what_holds_it(log, figure, name, kind):
    artifacts, warnings = log("log_figure", figure, "a")

    assert artifacts[0][:2] == [name, kind]
    assert warnings == []


def test_axes_of_matplotlib_are_drawn(log):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    artifacts, warnings = log("log_figure", pyplot.subplots(1, 2)[1], "axes")

    assert artifacts[0][4].startswith("\x89PNG")
    assert warnings == []


def test_what_is_no_figure_is_named_and_skipped(log):
    artifacts, (warning,) = log("log_figure", 5, "curve.png")

    assert artifacts == []
    assert "int has neither savefig() nor write_html()" in warning


class Silent(Exception):
    def __str__(self):
        raise RuntimeError


class Broken:
    def savefig(self, path):
        raise Silent


def test_figure_that_raises_what_has_no_text_is_named_and_skipped(log):
    artifacts, (warning,) = log("log_figure", Broken(), "curve.png")

    assert artifacts == []
    assert "artifact 'curve.png' was not logged: Silent" in warning


class Picture:
    def save(self, path):
        Path(path).write_text("seen")


def test_image_may_be_bytes_a_file_or_what_saves_itself(project, log):
    (project.root / "seen.png").write_text("seen")
    for image in (b"seen", bytearray(b"seen"), memoryview(b"seen"), "seen.png", Picture()):
        artifacts, _ = log("log_image", image, "sample", step=1)

        assert artifacts[-1] == ["sample.png", "image", "image/png", 1, "seen"]


class Tensor:
    """An array on a device, as torch has it."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def __array__(self, *_, **__):
        return self.array


@pytest.mark.parametrize(
    ("array", "size", "pixel"),
    [
        (numpy.full((2, 3), 255), (3, 2), 255),
        (numpy.full((2, 3, 1), 1.0), (3, 2), 255),
        (numpy.full((2, 3, 3), 0.5), (3, 2), (128, 128, 128)),
        (numpy.full((2, 3), fill_value=True), (3, 2), 255),
        (numpy.full((2, 3), 4000, "uint16"), (3, 2), 4000),
        (numpy.full((2, 3), 4000), (3, 2), 4000),
        (numpy.full((2, 3), 4000, ">u2"), (3, 2), 4000),
        (numpy.full((3, 8, 9), 0.5), (9, 8), (128, 128, 128)),
        (numpy.full((1, 8, 9), 0.5), (9, 8), 128),
        (Tensor(numpy.full((2, 3), 1.0)), (3, 2), 255),
        (Tensor(numpy.full((3, 4, 4), 1.0)), (4, 4), (255, 255, 255)),
    ],
)
def test_array_is_an_image(project, log, array, size, pixel):
    pillow = pytest.importorskip("PIL.Image")
    artifacts, warnings = log("log_image", array, "sample.png")

    assert warnings == []
    with pillow.open(io.BytesIO(artifacts[0][4].encode("latin-1"))) as image:
        assert image.size == size
        assert image.getpixel((0, 0)) == pixel


@pytest.mark.parametrize(
    ("array", "name", "pixel", "warning"),
    [
        (numpy.full((2, 3, 4), 300), "a.png", (255,) * 4, "values from 300 to 300 were cut"),
        (numpy.full((2, 3), math.nan), "a.png", 0, "NaN became black"),
        (numpy.full((2, 3), -1.0), "a.png", 0, "floats from -1 to -1 were cut to 0 to 1"),
        (numpy.full((2, 3), 200.0), "a.png", 200, "floats to 200 were read as 0 to 255"),
        (numpy.full((2, 3, 3), 2**15, "uint16"), "a.png", (128,) * 3, "16 bits of colours became"),
        (numpy.full((2, 3), 2**15, "uint16"), "a.jpg", 128, "16 bits became 8"),
        (numpy.zeros((3, 4, 4)), "a.png", (0,) * 4, "was read as height x width x channels"),
        (numpy.zeros((2, 3, 4)), "a.jpg", (255,) * 3, ".jpg has no transparency"),
        (PIL.Image.new("CMYK", (3, 2)), "a.png", (255,) * 3, "no colours of mode CMYK"),
        (PIL.Image.new("F", (3, 2), 2.0), "a.png", 2, "floats to 2 were read as 0 to 255"),
        (
            PIL.Image.new("LAB", (3, 2), (0, 128, 128)),
            "a.png",
            (1, 0, 1),
            "of mode LAB; name it .tiff",
        ),
        (PIL.Image.new("HSV", (3, 2)), "a.png", (0,) * 3, "of mode HSV; convert it to RGB"),
        (PIL.Image.new("RGBA", (3, 2)), "a.jpg", (255,) * 3, ".jpg has no transparency"),
    ],
)
def test_image_that_its_file_cannot_hold_is_changed_and_named(log, array, name, pixel, warning):
    artifacts, (message,) = log("log_image", array, name)

    assert warning in message
    with PIL.Image.open(io.BytesIO(artifacts[0][4].encode("latin-1"))) as image:
        assert image.getpixel((0, 0)) == pixel


@pytest.mark.parametrize("call", ["log_image", "log_figure", "log_table"])
def test_dot_in_a_name_is_no_suffix(log, call):
    value = {"log_image": numpy.zeros((2, 2)), "log_figure": Figure(), "log_table": {"a": [1]}}[
        call
    ]
    artifacts, _ = log(call, value, "roc_lr0.01")

    assert artifacts[0][0] == "roc_lr0.01" + (".json" if call == "log_table" else ".png")


def test_bytes_of_an_image_are_named_by_what_they_are(log):
    artifacts, warnings = log("log_image", b"\xff\xd8\xff", "photo")

    assert artifacts[0][:3] == ["photo.jpg", "image", "image/jpeg"]
    assert warnings == []


def test_bytes_of_another_image_than_the_name_says_are_named(log):
    artifacts, (warning,) = log("log_image", b"\xff\xd8\xff", "photo.png")

    assert artifacts[0][0] == "photo.jpg"
    assert "it is a .jpg file" in warning


@pytest.mark.parametrize("image", [5, None, numpy.zeros(3), numpy.zeros((5, 1, 7)), "missing.png"])
def test_what_is_no_image_is_named_and_skipped(log, image):
    artifacts, (warning,) = log("log_image", image, "sample.png")

    assert artifacts == []
    assert warning.startswith("artifact 'sample.png' was not logged: ")


NOISE = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")


class Sizes(Recorder):
    """Keeps the sizes of images, and whether their files are the journal's."""

    @hookimpl
    def tracker_log(self, run, batch):
        for image in batch.artifacts:
            size = image.path.stat().st_size
            self.note("log", run, name=image.name, size=size, path=str(image.path))


def test_array_is_kept_as_it_is_and_sent_smaller(project):
    project.add_tracker("local", Sizes)
    rising = numpy.broadcast_to(numpy.arange(64, dtype="uint8"), (64, 64)) * 3
    pixels = numpy.stack([rising, rising.T, rising + rising.T], -1)
    with start_run() as run:
        run.log_image(pixels, "sample.png")
        run.log_image(png(pixels), "given.png")

    kept = Client().get_run(run.id).artifacts
    with PIL.Image.open(io.BytesIO(kept["sample.png"].read_bytes())) as image:
        assert (numpy.asarray(image) == pixels).all()
    sent = {call["name"]: call for call in project.calls() if call["hook"] == "log"}
    assert sent["sample.png"]["size"] < kept["sample.png"].size / 2
    assert sent["given.png"]["size"] == kept["given.png"].size
    assert "blobs" in sent["given.png"]["path"]
    assert not Path(sent["sample.png"]["path"]).exists()  # the tracker has it


def png(pixels):
    """Give the bytes of a file by Pillow."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_image_is_there_after_kill_9(project):
    program = """
import os, signal, numpy, trackyard
run = trackyard.start_run("killed", experiment_tracker=None)
run.log_image(numpy.full((4, 4, 3), 7, "uint8"), "a.png")
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", program], check=False)

    assert result.returncode == -9
    (run,) = Client().list_runs()
    content = Client().get_run(run.id).artifacts["a.png"].read_bytes()
    with PIL.Image.open(io.BytesIO(content)) as image:
        assert image.getpixel((1, 1)) == (7, 7, 7)


BLACKENING = """
import PIL.Image
from trackyard import hookimpl

class Blackening:
    @hookimpl
    def tracker_filter_records(self, run):
        def blackened(record):
            PIL.Image.new("RGB", (9, 9)).save(record.path)
            return record

        return blackened

plugin = Blackening()
"""


def test_filter_may_write_into_the_file_of_an_image(install, log):
    install("blackening", {"blackening": BLACKENING}, plugins={"b": "blackening:plugin"})
    artifacts, _ = log("log_image", NOISE, "sample.png")

    with PIL.Image.open(io.BytesIO(artifacts[0][4].encode("latin-1"))) as image:
        assert image.size == (9, 9)


def test_file_that_is_final_is_linked(project):
    project.add_tracker("local", Recorder)
    file = project.root / "model.bin"
    file.write_bytes(b"weights")
    with start_run() as run:
        run.log_artifact(file, final=True)
        run.log_model(file, "best", final=True)

    kept = {path for path in (run.folder / "blobs").glob("*/model.bin") if path.samefile(file)}
    assert len(kept) == 1
    file.unlink()
    found = Client().get_run(run.id).artifacts
    assert found["model.bin"].read_bytes() == found["best/model.bin"].read_bytes() == b"weights"
    assert len(project.logged("artifacts")) == 3


def test_array_without_pillow_is_answered_with_what_to_type(log, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    _, (warning,) = log("log_image", numpy.zeros((2, 2)), "sample.jpg")

    assert "type: pip install pillow" in warning
