"""What is no image, sound or video, or comes as an open file, or has gaps: is it said?"""

from __future__ import annotations

import io
import os
import struct
import tempfile

import numpy
import PIL.Image
import pytest
from recorder import Recorder

from trackyard import Client, start_run


def file_of(format_):
    """Give an image in memory, just written: the file stands at its end."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(file, format_)
    return file


WAV = b"RIFF\x24\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8, 8, 1, 8) + b"data\0\0\0\0"
GAPS = numpy.ma.masked_array(numpy.full((4, 4), 200, "uint8"), mask=numpy.eye(4, dtype=bool))


@pytest.fixture
def log(project, caplog):
    """Give a function that makes one call in a run and gives the files and warnings."""
    project.add_tracker("local", Recorder)

    def log(call, *arguments, **keywords):
        with start_run() as run:
            getattr(run, call)(*arguments, **keywords)
        artifacts = Client().get_run(run.id).artifacts
        files = {name: artifacts[name].read_bytes() for name in artifacts}
        return files, [record.message for record in caplog.records]

    return log


@pytest.mark.parametrize(
    ("call", "name", "what"),
    [
        ("log_image", "a.png", "an image"),
        ("log_audio", "a.wav", "a sound"),
        ("log_video", "a.gif", "a video"),
    ],
)
def test_content_of_another_kind_is_kept_and_named_and_none_is_refused(
    project, log, call, name, what
):
    (project.root / "junk").write_bytes(b"junk")
    text = f"its content is not {what} of type {name[1:]}; log other files by log_artifact"
    for junk in (b"junk", project.root / "junk"):
        files, (*_, warning) = log(call, junk, name)
        assert files == {name: b"junk"}
        assert warning == f"artifact {name!r}: {text}"
    files, (*_, warning) = log(call, b"", name)
    assert files == {}
    assert warning.endswith(f"it is empty; give the bytes of {what}")


@pytest.mark.parametrize(
    ("call", "content", "name"),
    [
        ("log_image", file_of("PNG").getvalue(), "a.png"),
        ("log_image", file_of("WEBP").getvalue(), "a.webp"),
        ("log_audio", WAV, "a.wav"),
        ("log_video", file_of("GIF").getvalue(), "a.gif"),
    ],
    ids=["png", "webp", "wav", "gif"],
)
def test_open_file_is_taken_as_what_it_holds_and_left_where_it_was(log, call, content, name):
    with tempfile.NamedTemporaryFile() as named:
        for file in (io.BytesIO(), named):
            file.write(content)
            assert log(call, file, name[0]) == ({name: content}, [])
            assert file.tell() == len(content)


def test_text_of_an_open_file_and_of_bytes_is_their_content(log):
    for text in (io.StringIO("räd"), io.BytesIO("räd".encode()), "räd".encode()):
        assert log("log_text", text, "a.txt") == ({"a.txt": "räd".encode()}, [])


def test_file_that_cannot_go_back_is_refused_and_not_read(log, pipe):
    files, (warning,) = log("log_image", pipe, "a")
    assert files == {}
    assert "a BufferedReader is not an image; give a path" in warning


@pytest.fixture
def pipe():
    """Give a file that has nothing to read, and no end."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb"):
        yield file


@pytest.mark.parametrize(
    ("call", "value", "keywords", "what"),
    [
        ("log_image", GAPS, {}, "an image"),
        ("log_audio", GAPS.diagonal().astype("int16"), {"sample_rate": 8}, "a sound"),
        ("log_video", numpy.ma.stack([GAPS]), {}, "a video"),
        ("log_video", [GAPS], {}, "an image"),
    ],
)
def test_what_is_masked_is_blank_and_named(log, call, value, keywords, what):
    files, (warning,) = log(call, value, "a", **keywords)
    assert f"4 masked values of {what} became 0; fill them before" in warning
    ((name, content),) = files.items()
    if name.endswith(".wav"):
        assert content[-8:] == bytes(8)
    else:
        pixels = numpy.asarray(PIL.Image.open(io.BytesIO(content)).convert("L"))
        assert set(pixels.diagonal()) == {0}
        assert pixels[0, 1] == 200


def test_sparse_array_is_an_image(log):
    sparse = pytest.importorskip("scipy.sparse")
    files, warnings = log("log_image", sparse.csr_matrix(numpy.eye(4)), "a")
    assert warnings == []
    assert numpy.asarray(PIL.Image.open(io.BytesIO(files["a.png"])))[0].tolist() == [255, 0, 0, 0]


def test_refusal_says_what_to_give(project, caplog):
    project.add_tracker("local", Recorder)
    far = [1e308, -1e308]
    with start_run() as run:
        run.log_image(None, "a")
        run.log_image([[1], [1, 2]], "a")
        run.log_audio({}, "a", sample_rate=8)
        run.log_audio([0.5], "a", sample_rate="x")
        run.log_audio([0.5], "b", sample_rate=2**40)
        run.log_video(5, "a")
        run.log_video([GAPS.data], "a", fps=None)
        run.log_histogram([1], "a", bins="x")
        run.log_histogram([1], "a", bins=None)
        run.log_histogram(far, "a")
        run.log_histogram(numpy.array(far), "b")
        run.log_model(None, "a")
    assert not list(Client().get_run(run.id).artifacts)
    assert [message.partition("not logged: ")[2] for message in caplog.messages] == [
        "TypeError: a NoneType is not an image; give a path, the bytes of a file, or an array",
        "TypeError: a list is not an image; give a path, the bytes of a file, or an array",
        "TypeError: a dict is not a sound; give a path, the bytes of a file, or an array",
        "ValueError: samples need their rate; give sample_rate=16000, or what it is",
        "ValueError: samples need their rate; give sample_rate=16000, or what it is",
        "TypeError: a int is not a video; give a path, the bytes of a file, or an array",
        "ValueError: fps is None; give frames per second, such as 8",
        "ValueError: bins is x; give a whole number, such as 64",
        "ValueError: bins is None; give a whole number, such as 64",
        "ValueError: values from -1e+308 to 1e+308 lie too far apart; give their logarithm",
        "ValueError: values from -1e+308 to 1e+308 lie too far apart; give their logarithm",
        "TypeError: None is no model; give a file, a folder or an object",
    ]
