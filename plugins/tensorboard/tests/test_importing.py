"""Whatever event files hold becomes runs of the project."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto
from tensorboardX import SummaryWriter

from trackyard import Client, start_run
from trackyard.contract import Histogram, Metric, RunQuery, TrackyardError
from trackyard_tensorboard.importing import EventFolders

NOW = 1_700_000_000.25


def write(path: Path, *events: Event) -> Path:
    """Write a file as TensorFlow's writer does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for event in (Event(wall_time=NOW, file_version="brain.Event:2"), *events):
            writer.write(event.SerializeToString())
    return path


def scalar(step: int, value: float, tag: str = "loss") -> Event:
    return Event(
        wall_time=NOW + step,
        step=step,
        summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]),
    )


def tensor(tag: str, value, plugin: str = "", step: int = 0) -> Event:
    found = Summary.Value(tag=tag, tensor=make_tensor_proto(value))
    found.metadata.plugin_data.plugin_name = plugin
    return Event(wall_time=NOW, step=step, summary=Summary(value=[found]))


def file_in(root: Path, folder: str = "exp/run", number: int = 0) -> Path:
    return root / folder / f"events.out.tfevents.170000000{number}.host"


def histogram_in(run) -> Histogram:
    with run.artifacts["weights.json"].open() as file:
        return Histogram(**{key: tuple(found) for key, found in json.load(file).items()})


def bytes_of(folder: Path):
    return {p: p.read_bytes() if p.is_file() else p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture
def logs(board):
    """The folder that is imported; the project of the test is around it."""
    return Path.cwd() / "logs"


def test_what_tensorboardx_writes_arrives_whole(logs):
    np = pytest.importorskip("numpy")
    with SummaryWriter(str(logs / "exp" / "run")) as writer:
        for step in range(3):
            writer.add_scalar("loss", 0.1 * step, step)
        writer.add_text("note", "hello", 1)
        writer.add_histogram("weights", np.array([1.0, 2.0, 2.0, 3.0]), 1)
        writer.add_image("picture", np.zeros((3, 4, 4), dtype="uint8"), 1)
        writer.add_hparams({"rate": 0.5, "kind": "adam"}, {"final": 1.0}, name="trial")
    before = bytes_of(logs)
    rows = Client().import_runs("tensorboard:logs")
    run = Client().get_run("run")

    assert [(row.run, row.experiment, row.state) for row in rows] == [
        ("run", "exp", "new"),
        ("trial", "exp/run", "new"),
    ]
    assert run.status == "finished"
    assert run.metrics["loss"].points == 3
    assert run.metrics["loss"].last == struct.unpack("f", struct.pack("f", 0.2))[0]
    assert set(run.artifacts) == {"note.txt", "weights.json", "picture.png"}
    assert sum(histogram_in(run).counts) == 4
    assert [child.name for child in run.children] == ["trial"]
    assert run.children[0].all_params == {"rate": 0.5, "kind": "adam"}
    assert bytes_of(logs) == before


def test_tensors_of_tensorflow_are_what_their_plugin_says(logs):
    import numpy as np

    write(
        file_in(logs),
        tensor("loss", np.float32(0.5), "scalars", 1),
        tensor("loss", np.float32(0.25), "", 2),  # only the first one names the plugin
        tensor("words", [b"hello"], "text"),
        tensor("weights", np.array([[0.0, 1.0, 3.0], [1.0, 2.0, 4.0]]), "histograms"),
        tensor("picture", [b"1", b"1", b"\x89PNG..."], "images"),
        tensor("curve", np.zeros((2, 6), dtype="float32"), "pr_curves"),
        Event(wall_time=NOW, graph_def=b"graph"),
    )
    (row,) = Client().import_runs("tensorboard:logs")
    run = Client().get_run("run")

    assert (row.metrics, row.left) == (2, 0)
    assert run.metrics["loss"].last == 0.25
    names = {"words.txt", "weights.json", "picture.png", "curve.pb", "graph.pb"}
    assert set(run.artifacts) == names
    histogram = histogram_in(run)
    assert (histogram.edges, histogram.counts) == ((0, 1, 2), (3, 4))


def test_several_writers_and_restarts_are_kept_and_said(logs):
    again = Event(wall_time=NOW + 9, step=2, session_log=SessionLog(status=SessionLog.START))
    write(file_in(logs), *(scalar(step, step) for step in range(4)))
    write(file_in(logs, number=1), again, *(scalar(step, -step) for step in (2, 3)))
    (row,) = Client().import_runs("tensorboard:logs")

    assert row.metrics == 6
    assert row.changes == {
        "the log was begun again at step 2: what stood behind it is kept, too": 1
    }


def test_a_file_that_grows_is_gone_on_with(logs):
    path = write(file_in(logs), *(scalar(step, step) for step in range(3)))
    whole = path.read_bytes()
    longer = write(file_in(logs), *(scalar(step, step) for step in range(5))).read_bytes()
    path.write_bytes(longer[: len(whole) + 7])  # an event is being written
    (first,) = Client().import_runs("tensorboard:logs")
    path.write_bytes(longer)
    (second,) = Client().import_runs("tensorboard:logs")
    (third,) = Client().import_runs("tensorboard:logs")

    assert (first.state, first.metrics, first.left) == ("new", 3, 0)
    assert (second.state, second.id, third.state) == ("grown", first.id, "same")
    assert Client().get_run("run").metrics["loss"].points == 5
    assert Client().get_run("run").ended_at.timestamp() == NOW + 4


def test_what_is_torn_is_named_and_the_rest_is_read(logs):
    path = write(file_in(logs), *(scalar(step, step) for step in range(3)))
    data = bytearray(path.read_bytes())
    data[12 : 12 + data[0]] = b"\xff" * data[0]  # the first event's own bytes
    path.write_bytes(data)
    torn = write(file_in(logs, "exp/torn"), scalar(0, 0))
    torn.write_bytes(torn.read_bytes() + b"no event at all, of course")
    rows = {row.run: row for row in Client().import_runs("tensorboard:logs")}

    assert rows["run"].metrics == 3
    assert list(rows["run"].losses) == [f"{path.name}: the event at byte 0 is damaged"]
    assert "torn at byte" in next(iter(rows["torn"].losses))


def test_what_is_no_event_file_is_named_and_is_no_run(logs):
    path = file_in(logs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"something else that bears the name of an event file")

    (row,) = Client().import_runs("tensorboard:logs")

    assert (row.state, row.problem) == ("failed", f"{path}: it is none of TensorBoard's")
    assert [*Client().list_runs()] == []


def test_a_moved_folder_is_the_same_run(logs):
    write(file_in(logs), scalar(0, 1))
    (before,) = Client().import_runs("tensorboard:logs")
    logs.rename(logs.with_name("elsewhere"))
    (after,) = Client().import_runs("tensorboard:elsewhere")

    assert (after.id, after.state) == (before.id, "same")


def test_runs_of_trackyards_own_have_their_exact_values(board):
    with start_run("mine", experiment_tracker="board") as run:
        run.log_metric("loss", 0.1, step=3)
        run.log_params({"rate": 0.2})
        run.log_text("hello", "note.txt")
    source = EventFolders(Path(board.log_dir))
    (found,) = source.runs(RunQuery())
    records = [*source.read(found.remote_id, Path.cwd())]
    (row,) = Client().import_runs("board")

    assert [r.value for r in records if isinstance(r, Metric)] == [0.1]
    assert (row.state, row.id) == ("own", run.id)


def test_a_place_that_is_none_is_named(logs):
    with pytest.raises(TrackyardError, match="there is no such folder"):
        Client().import_runs("tensorboard:logs")
