"""Do histograms, sounds, videos, models and datasets become files that say what they are?"""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import wave
from pathlib import Path

import numpy
import pandas
import polars
import pyarrow
import pytest
from PIL import Image

from trackyard import Artifact, Client, start_run
from trackyard.contract import MODEL_FILE, Dataset, Histogram, Model
from trackyard.tracking.recordings import audio_suffix, video_suffix

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / ".trackyard"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def logged(caplog):
    """Log by a function, and give the files and warnings."""

    def log(call):
        with start_run("run", experiment_tracker=None) as run:
            run.log_metric("a", 1)
            call(run)
        return Client().get_run(run.id).artifacts, [r.getMessage() for r in caplog.records]

    return log


def masked_beyond_two(values):
    return numpy.ma.array([1, 2, 3, 4], mask=[False, False, True, True])


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 1, 3, 4],
        numpy.array([[0.0, 1.0], [3.0, 4.0]]),
        (value for value in (0, 1, 3, 4)),
        [[0], numpy.array([1, 3]), (4,)],
        pandas.Series([0, 1, 3, 4]),
        polars.Series([0, 1, 3, 4]),
        numpy.array([0, 1, 3, 4], dtype="uint8"),
    ],
)
def test_values_are_counted_as_numpy_counts_them(logged, values):
    files, warnings = logged(lambda run: run.log_histogram(values, "w/layer", 3, bins=4))

    file = files["w/layer.json"]
    assert (file.kind, file.step, warnings) == ("histogram", 3, [])
    counts, edges = numpy.histogram([0, 1, 3, 4], bins=4)
    assert file.read_json() == {"counts": counts.tolist(), "edges": edges.tolist()}


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([2, 1], {"edges": [0, 1, 2.5]}),
        (numpy.array([2, 1]), {"edges": numpy.array([0, 1, 2.5])}),
        ((numpy.array([2, 1]), numpy.array([0, 1, 2.5])), {}),
        (([2, 1], [0, 1, 2.5]), {}),
    ],
)
def test_counts_with_edges_are_kept(logged, values, options):
    files, _ = logged(lambda run: run.log_histogram(values, "h", **options))

    assert files["h.json"].read_json() == {"counts": [2, 1], "edges": [0, 1, 2.5]}


def test_one_value_has_a_histogram_around_it(logged):
    files, _ = logged(lambda run: run.log_histogram([2, 2], "h", bins=1))

    assert files["h.json"].read_json() == {"counts": [2], "edges": [1.5, 2.5]}


def test_number_of_parts_that_cannot_be_is_changed_and_named(logged):
    files, warnings = logged(lambda run: run.log_histogram([2, 2], "h", bins=0))

    assert files["h.json"].read_json()["counts"] == [2]
    assert warnings == ["artifact 'h.json': 0 parts became 1; give bins from 1 to 10000"]


@pytest.mark.parametrize("kind", [list, numpy.array, masked_beyond_two])
def test_what_is_no_number_is_left_out_of_a_histogram(logged, kind):
    files, warnings = logged(lambda run: run.log_histogram(kind([1, 2, math.nan, math.inf]), "h"))

    assert sum(files["h.json"].read_json()["counts"]) == 2
    assert warnings == ["artifact 'h.json': 2 values that are NaN or infinite were left out"]


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        ([], {}, "there is no number among the values"),
        (["a"], {}, "a is no number"),
        (
            numpy.array(["2024-01-01", "NaT"], "datetime64[s]"),
            {},
            "dates and times are no numbers; give numbers, such as seconds",
        ),
        (numpy.ma.masked, {}, "there is no number among the values"),
        ([1, 2], {"edges": [1, 2]}, "2 counts have 3 edges, not 2"),
        ([math.nan], {"edges": [1, 2]}, "counts and edges are finite numbers"),
        ([1, 2], {"edges": [3, 1, 2]}, "edges rise, each beyond the one before"),
    ],
)
def test_what_is_no_histogram_is_named(logged, values, options, reason):
    files, warnings = logged(lambda run: run.log_histogram(values, "h", **options))

    assert list(files) == []
    assert warnings == [f"artifact 'h.json' was not logged: ValueError: {reason}"]


@pytest.mark.parametrize(
    ("samples", "channels", "width", "first"),
    [
        (numpy.array([0.5, -1.0, 1.0] * 9), 1, 2, 16384),
        ([0.5] * 9, 1, 2, 16384),
        (numpy.full((40, 2), 0.5), 2, 2, 16384),
        (numpy.full((2, 40), 0.5, dtype="float32"), 2, 2, 16384),
        (numpy.array([7, -7] * 9, dtype="int16"), 1, 2, 7),
        (numpy.array([7, -7] * 9, dtype="int32"), 1, 4, 7),
        (numpy.array([7, -7] * 9), 1, 2, 7),
    ],
)
def test_samples_become_wav(logged, samples, channels, width, first):
    files, warnings = logged(lambda run: run.log_audio(samples, "speech", 2, sample_rate=8000))

    file = files["speech.wav"]
    with wave.open(io.BytesIO(file.read_bytes())) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (channels, width)
        assert (sound.getframerate(), sound.getnframes()) == (8000, numpy.size(samples) // channels)
        assert int.from_bytes(sound.readframes(1)[:width], "little", signed=True) == first
    assert (file.kind, file.step, warnings) == ("audio", 2, [])


@pytest.mark.parametrize(
    ("audio", "name", "options", "named", "warning"),
    [
        (b"ID3\x03", "a", {}, "a.mp3", None),
        (b"fLaC", "a", {}, "a.flac", None),
        (b"RIFF1234WAVE", "a.wav", {}, "a.wav", None),
        ([0.5], "a.mp3", {"sample_rate": 9}, "a.wav", "samples are kept as WAV; name it a.wav"),
        ([2.0], "a", {"sample_rate": 9}, "a.wav", "samples beyond -1 to 1 were cut"),
        ([2**20], "a", {"sample_rate": 9}, "a.wav", "samples beyond 16 bits were cut"),
        ([0.5], "a", {}, None, "samples need their rate; give sample_rate=16000"),
        (["a"], "a", {"sample_rate": 9}, None, "samples are floats from -1 to 1 or integers"),
        (numpy.zeros((2, 2, 2)), "a", {"sample_rate": 9}, None, "not the shape (2, 2, 2)"),
    ],
)
def test_a_sound_is_kept_or_named(logged, audio, name, options, named, warning):
    files, warnings = logged(lambda run: run.log_audio(audio, name, **options))

    assert list(files) == ([named] if named else [])
    assert len(warnings) == (warning is not None)
    assert warning is None or warning in warnings[0]


@pytest.mark.parametrize(
    "frames",
    [
        numpy.stack([numpy.full((8, 6, 3), shade, "uint8") for shade in (0, 99, 200)]),
        numpy.stack([numpy.full((3, 8, 6), shade, "uint8") for shade in (0, 99, 200)]),
        numpy.stack([numpy.full((8, 6), shade, "uint8") for shade in (0, 99, 200)]),
        [Image.new("L", (6, 8), shade) for shade in (0, 99, 200)],
        numpy.stack([numpy.full((8, 6, 1), shade / 255) for shade in (0, 99, 200)]),
    ],
)
def test_frames_become_gif(logged, frames):
    files, warnings = logged(lambda run: run.log_video(frames, "episode", 4, fps=10))

    file = files["episode.gif"]
    with Image.open(io.BytesIO(file.read_bytes())) as video:
        assert (video.n_frames, video.size, video.info["duration"]) == (3, (6, 8), 100)
        video.seek(1)
        red, _, _ = video.convert("RGB").getpixel((0, 0))
        assert abs(red - 99) < 5
    assert (file.kind, file.step, file.media_type, warnings) == ("video", 4, "image/gif", [])


@pytest.mark.parametrize(
    ("video", "name", "named", "warning"),
    [
        (b"\0\0\0\x20ftypisom", "a", "a.mp4", None),
        (b"\x1aE\xdf\xa3", "a", "a.webm", None),
        (numpy.zeros((2, 4, 4), "uint8"), "a.mpg", "a.gif", "frames are kept as GIF; name it"),
        (numpy.zeros((4, 4), "uint8"), "a", None, "not the shape (4, 4)"),
        ([], "a", None, "a video has at least one frame"),
    ],
)
def test_a_video_is_kept_or_named(logged, video, name, named, warning):
    files, warnings = logged(lambda run: run.log_video(video, name))

    assert list(files) == ([named] if named else [])
    assert len(warnings) == (warning is not None)
    assert warning is None or warning in warnings[0]


def test_a_video_that_needs_another_library_says_which(logged, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio.v2", None)
    files, (warning,) = logged(lambda run: run.log_video(numpy.zeros((2, 4, 4)), "a.mp4"))

    assert list(files) == []
    assert "type: pip install 'imageio[ffmpeg]', or name it .gif" in warning


def test_files_say_what_they_are():
    assert (audio_suffix(b"OggS"), video_suffix(b"RIFF1234AVI ")) == (".ogg", ".avi")
    assert (audio_suffix(b"1234ftypM4A "), video_suffix(b"1234ftypqt  ")) == (".m4a", ".mov")
    assert audio_suffix(b"") is video_suffix(b"") is None


def described(files, name):
    return files[f"{name}/{MODEL_FILE}"].read_json()


def test_a_folder_is_a_model_with_its_files(logged, tmp_path):
    (tmp_path / "net" / "deep").mkdir(parents=True)
    (tmp_path / "net" / "weights.bin").write_bytes(b"\0")
    (tmp_path / "net" / "deep" / "config.json").write_text("{}")

    def log(run):
        run.log_model(tmp_path / "net", "m", framework="own", signature={"in": "text"}, step=5)

    files, warnings = logged(log)
    assert {name: (file.kind, file.step) for name, file in files.items()} == dict.fromkeys(
        ["m/deep/config.json", "m/weights.bin", f"m/{MODEL_FILE}"], ("model", 5)
    )
    found = described(files, "m")
    assert (found["framework"], found["signature"]) == ("own", {"in": "text"})
    assert [file["name"] for file in found["files"]] == ["deep/config.json", "weights.bin"]
    assert warnings == []


class Network:
    """Stands for an object of a user's."""

    def __init__(self) -> None:
        self.weights = [1.0]


class Saving:
    """Saves itself, as models of Transformers do."""

    def save_pretrained(self, folder: Path) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"weights")


def test_an_object_is_pickled(logged):
    def log(run):
        run.log_model(Network(), "m", metrics={"accuracy": numpy.float64(0.9), "name": "x"})

    files, warnings = logged(log)
    assert pickle.loads(files["m/model.pkl"].read_bytes()).weights == [1.0]
    assert described(files, "m")["metrics"] == {"accuracy": 0.9}
    assert warnings == [
        f"artifact 'm/{MODEL_FILE}': metric 'name' of the model is no number, and was left out"
    ]


def test_an_object_that_saves_itself_does_so(logged):
    files, _ = logged(lambda run: run.log_model(Saving(), "m"))

    assert files["m/model.safetensors"].read_bytes() == b"weights"


@pytest.mark.slow  # the library is imported for it
def test_a_model_of_a_library_says_which(logged):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0], [1]], [0, 1])
    files, _ = logged(lambda run: run.log_model(model, "m"))

    assert described(files, "m")["framework"] == "sklearn"
    assert pickle.loads(files["m/model.pkl"].read_bytes()).predict([[2]]).round() == [2]


@pytest.mark.parametrize(
    ("model", "reason"),
    [("nowhere", "there is no file nowhere"), ((n for n in "a"), "cannot pickle 'generator'")],
)
def test_a_model_that_cannot_be_kept_is_named(logged, model, reason):
    files, (warning,) = logged(lambda run: run.log_model(model, "m"))

    assert list(files) == []
    assert warning.startswith("model 'm' was not logged")
    assert reason in warning


def test_secrets_in_what_describes_a_model_are_hidden(logged, tmp_path):
    (tmp_path / "w").write_bytes(b"")
    signature = {"api_key": "0123456789abcdef"}
    files, _ = logged(lambda run: run.log_model(tmp_path / "w", "m", signature=signature))

    assert described(files, "m")["signature"] == {"api_key": "***"}


def test_a_flavor_gets_a_model_with_its_files(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"\0")
    with start_run("run", experiment_tracker=None) as run:
        run.log_model(tmp_path / "w.bin", "a/m", framework="own")
    blobs = {path.name: path for path in (run.folder / "blobs").glob("*/*")}

    model = Model.read(Artifact(f"a/m/{MODEL_FILE}", blobs[MODEL_FILE], "model"))
    assert model is not None
    assert (model.name, model.framework) == ("a/m", "own")
    assert [(file.name, file.path) for file in model.files] == [("w.bin", blobs["w.bin"])]
    assert Model.read(Artifact("a/m/w.bin", blobs["w.bin"], "model")) is None


TABLE = {"word": ["a", "b"], "count": [1, 2]}


@pytest.mark.parametrize(
    ("data", "types"),
    [
        (TABLE, ["str", "int"]),
        (pandas.DataFrame(TABLE), ["str", "int64"]),
        (polars.DataFrame(TABLE), ["String", "Int64"]),
        (pyarrow.table(TABLE), ["string", "int64"]),
    ],
)
def test_a_table_says_its_schema(logged, data, types):
    files, warnings = logged(lambda run: run.log_dataset("words", data, context="training"))

    file = files["datasets/words.json"]
    found = file.read_json()
    assert (file.kind, found["name"], found["context"]) == ("dataset", "words", "training")
    assert found["schema"] == dict(zip(TABLE, types, strict=True))
    assert found["profile"] == {"rows": 2, "columns": 2}
    assert warnings == []


def digest(logged, data):
    files, _ = logged(lambda run: run.log_dataset("d", data))
    return files["datasets/d.json"].read_json()["digest"]


def test_the_same_data_have_one_digest_and_others_another(logged, tmp_path):
    assert digest(logged, TABLE) == digest(logged, pandas.DataFrame(TABLE))
    assert digest(logged, TABLE) != digest(logged, {**TABLE, "count": [1, 3]})
    assert digest(logged, numpy.arange(6)) != digest(logged, numpy.arange(6).reshape(2, 3))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x")
    before = digest(logged, tmp_path / "data")
    (tmp_path / "data" / "a.csv").write_text("y")
    assert digest(logged, tmp_path / "data") != before


def test_what_is_said_of_a_dataset_counts_before_what_is_found(logged):
    given = {"version": 3, "digest": "mine", "source": "https://u:password1@a.example/d"}
    files, _ = logged(lambda run: run.log_dataset("d", TABLE, **given, profile={"rows": 7}))

    found = files["datasets/d.json"].read_json()
    assert (found["version"], found["digest"], found["profile"]) == ("3", "mine", {"rows": 7})
    assert found["source"] == "https://***@a.example/d"


def test_data_that_cannot_be_read_are_named(logged):
    files, (warning,) = logged(lambda run: run.log_dataset("d", "nowhere", version="1"))

    assert files["datasets/d.json"].read_json() == {"name": "d", "version": "1"}
    assert "its digest was not found (there is no file nowhere)" in warning


class Hostile:
    """Raises whatever it is asked."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    __len__ = __iter__ = __reduce__ = __str__ = lambda self: 1 / 0


ODD = [
    *(None, "x", b"", [], {}, Hostile(), math.nan, [None], 10**400, object(), "\ud800", type),
    *(numpy.zeros((0, 3)), numpy.array(["a"]), numpy.array([1j]), pandas.DataFrame({"a": [None]})),
]


def test_no_call_raises_whatever_it_is_given(logged):
    def log(run):
        for odd in ODD:
            run.log_histogram(odd, "h", bins=odd, edges=None)
            run.log_histogram([1], odd, odd, edges=odd)
            run.log_audio(odd, odd, odd, sample_rate=8000)
            run.log_audio([0.5], "a", sample_rate=odd)
            run.log_video(odd, odd, odd)
            run.log_video(numpy.zeros((1, 4, 4)), "v", fps=odd)
            run.log_model(odd, odd)
            run.log_model({}, "m", framework=odd, signature=odd, metrics=odd, step=odd)
            run.log_dataset("d", odd, version=odd, digest=odd, schema=odd, profile=odd)
            run.log_dataset(odd, odd, source=odd, context=odd, step=odd)

    files, _ = logged(log)
    for file in files.values():
        if file.kind == "dataset":
            assert "name" in file.read_json()
        if file.kind == "histogram":
            assert len(file.read_json()["edges"]) == len(file.read_json()["counts"]) + 1


@pytest.mark.parametrize(
    ("call", "arguments", "what"),
    [
        ("log_text", ("x", None), "an artifact"),
        ("log_dict", ({}, None), "an artifact"),
        ("log_histogram", ([1], None), "an artifact"),
        ("log_model", ({}, None), "a model"),
        ("log_dataset", (None,), "a dataset"),
    ],
)
def test_what_has_no_name_is_not_logged(logged, call, arguments, what):
    files, warnings = logged(lambda run: getattr(run, call)(*arguments))

    assert list(files) == []
    assert warnings == [f"{what} whose name is None was not logged; give it a name"]


@pytest.mark.parametrize("kind", [Histogram, Dataset])
@pytest.mark.parametrize("content", ["[]", "{}", "1", '{"counts": [1], "edges": [1]}', "x"])
def test_a_file_that_is_none_is_said_to_be_none(tmp_path, kind, content):
    (tmp_path / "a.json").write_text(content)

    with pytest.raises(ValueError):
        kind.read(tmp_path / "a.json")


def test_files_are_the_same_texts_again(tmp_path):
    for made in (Histogram((1, 2.5), (0, 0.1, 1e300)), Dataset(name="ä", schema={"a": "b"})):
        text = made.to_json()
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert type(made).read(tmp_path / "a.json").to_json() == text
        assert json.loads(text)
