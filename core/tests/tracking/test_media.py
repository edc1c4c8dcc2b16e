"""Do files, texts, tables, figures and images become files of the run?"""

from __future__ import annotations

import json
import math
import os
import threading
from pathlib import Path
from typing import NamedTuple

import numpy
import pandas
import polars
import pyarrow
import pytest
from recorder import Recorder

from trackyard import start_run


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
    ]
    assert warnings == []


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
    monkeypatch.setattr(Path, "rglob", fail)
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
        (numpy.full((2, 3, 4), 300), (3, 2), (255, 255, 255, 255)),
        (numpy.full((2, 3), math.nan), (3, 2), 0),
        (numpy.full((2, 3), -5.0), (3, 2), 0),
        (Tensor(numpy.full((2, 3), 1.0)), (3, 2), 255),
    ],
)
def test_array_is_an_image(project, log, array, size, pixel):
    pillow = pytest.importorskip("PIL.Image")
    artifacts, _ = log("log_image", array, "sample.png")
    (project.root / "read.png").write_bytes(artifacts[0][4].encode("latin-1"))
    with pillow.open(project.root / "read.png") as image:
        assert image.size == size
        assert image.getpixel((0, 0)) == pixel


@pytest.mark.parametrize("image", [5, None, numpy.zeros(3), numpy.zeros((1, 1, 7)), "missing.png"])
def test_what_is_no_image_is_named_and_skipped(log, image):
    artifacts, (warning,) = log("log_image", image, "sample.png")

    assert artifacts == []
    assert warning.startswith("artifact 'sample.png' was not logged: ")


def test_array_without_pillow_is_answered_with_what_to_type(log, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    _, (warning,) = log("log_image", numpy.zeros((2, 2)), "sample.png")

    assert "type: pip install pillow" in warning
