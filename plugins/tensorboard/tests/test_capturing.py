"""Does what native writers write reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import os

import numpy
import pytest
from captured_calls import captured_of, documented_calls
from matplotlib.figure import Figure
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary as TensorboardXSummary

from trackyard import Client, start_run
from trackyard.contract import Histogram
from trackyard.testing import MemoryTracker


@pytest.fixture
def both(board):
    board.add_memory_tracker()
    return board


def points(run_id, key):
    stored = MemoryTracker.runs[run_id].metrics.values()
    return [(metric.step, metric.value) for metric in stored if metric.key == key]


def test_scalars_reach_the_other_trackers_with_their_steps_and_times(both):
    with start_run("both", experiment_tracker=["board", "memory"]) as run:
        writer = SummaryWriter()
        for number in range(5):
            writer.add_scalar("loss", 1 / (number + 1), number, walltime=1.79e9 + number)
        run.log_metric("portable", 1)

    assert points(run.id, "loss") == [
        (number, float(numpy.float32(1 / (number + 1)))) for number in range(5)
    ]
    times = [m.timestamp for m in MemoryTracker.runs[run.id].metrics.values() if m.key == "loss"]
    assert times == [(1_790_000_000 + number) * 10**9 for number in range(5)]
    assert len(both.scalars("both", "loss")) == 5
    assert Client().get_run(run.id).metrics["loss"].last == pytest.approx(0.2)


def test_what_is_written_by_tensorboards_own_writer_is_captured(both):
    with start_run("own", experiment_tracker=["board", "memory"]) as run:
        writer = EventFileWriter(run.native_run("board").log_dir)
        value = Summary.Value(tag="loss", simple_value=0.5)
        writer.add_event(Event(wall_time=1.79e9, step=3, summary=Summary(value=[value])))
        writer.close()

    assert points(run.id, "loss") == [(3, 0.5)]
    assert both.scalars("own", "loss") == [(3, 0.5)]


def given(name, **fields):
    """Write a value as a writer does that has what it needs for sounds and videos."""
    return lambda writer: writer._get_file_writer().add_summary(
        TensorboardXSummary(value=[TensorboardXSummary.Value(tag=name, **fields)]), 1
    )


PIXELS = numpy.zeros((3, 4, 5), dtype=numpy.uint8)
CALLS = {
    "add_scalar": lambda w: w.add_scalar("add_scalar", 1, 1),
    "add_scalars": lambda w: w.add_scalars("add_scalars", {"a": 1}, 1),
    "add_hparams": lambda w: w.add_hparams({"add_hparams": 1}, {}),
    "add_image": lambda w: w.add_image("add_image", PIXELS, 1),
    "add_images": lambda w: w.add_images("add_images", PIXELS[None], 1),
    "add_figure": lambda w: w.add_figure("add_figure", Figure(), 1),
    "add_video": given("add_video", image={"encoded_image_string": b"GIF89a"}),
    "add_audio": given("add_audio", audio={"encoded_audio_string": b"RIFF"}),
    "add_text": lambda w: w.add_text("add_text", "hello", 1),
    "add_histogram": lambda w: w.add_histogram("add_histogram", numpy.arange(9.0), 1),
    "add_image_with_boxes": lambda w: w.add_image_with_boxes(
        "add_image_with_boxes", PIXELS, numpy.array([[0, 0, 2, 2]]), 1
    ),
    "add_histogram_raw": lambda w: w.add_histogram_raw(
        "add_histogram_raw", 0, 1, 2, 1, 1, [0.5, 1.0], [1, 1], 1
    ),
    "add_pr_curve": lambda w: w.add_pr_curve("add_pr_curve", [0, 1], [0.1, 0.9], 1),
}


def test_each_call_becomes_what_the_page_says(both):
    with start_run("calls", experiment_tracker=["board", "memory"]) as run:
        writer = SummaryWriter()
        for call in CALLS.values():
            call(writer)

    found = captured_of(run.id, CALLS)
    # Those need torch, and write nothing that is taken for anything else.
    charts = ("multilinechart", "marginchart")
    kept = (
        "add_graph",
        "add_mesh",
        "add_embedding",
        "add_custom_scalars",
        "add_pr_curve_raw",
        "add_onnx_graph",
        "add_openvino_graph",
        "add_tensor",
        *(f"add_custom_scalars_{chart}" for chart in charts),
    )
    rest = dict.fromkeys(kept, "nothing")
    assert found | rest == documented_calls("tensorboard")


def test_a_histogram_has_the_parts_of_its_writer(both):
    with start_run("parts", experiment_tracker=["board", "memory"]) as run:
        SummaryWriter().add_histogram("weights", numpy.array([-1.0, 2.0, 2.0]), 3, bins=3)

    artifact = MemoryTracker.runs[run.id].artifacts["weights.json"]
    content = Histogram.read(artifact.path)
    assert artifact.step == 3
    assert sum(content.counts) == 3
    assert (content.edges[0], content.edges[-1]) == (-1.0, 2.0)


def test_images_texts_audio_and_hparams_become_artifacts_and_params(both):
    with start_run("media", experiment_tracker=["board", "memory"]) as run:
        writer = SummaryWriter()
        writer.add_image("sample", numpy.zeros((3, 4, 5), dtype=numpy.uint8), 2)
        writer.add_text("note", "hello", 3)
        sound = Summary.Value(tag="sound", audio={"encoded_audio_string": b"RIFF"})
        own = EventFileWriter(run.native_run("board").log_dir)
        own.add_event(Event(step=4, summary=Summary(value=[sound])))
        own.close()
        writer.add_hparams({"lr": 0.5, "optimizer": "sgd", "amp": True}, {"accuracy": 0.75})

    stored = MemoryTracker.runs[run.id]
    assert {name: a.step for name, a in stored.artifacts.items()} == {
        "sample.png": 2,
        "note.txt": 3,
        "sound.wav": 4,
    }
    assert stored.artifacts["note.txt"].path.read_text() == "hello"
    assert stored.params == {"lr": 0.5, "optimizer": "sgd", "amp": True}
    assert [value for _, value in points(run.id, "accuracy")] == [0.75]


def test_scalars_of_several_folders_have_keys_of_their_own(both):
    with start_run("scalars", experiment_tracker=["board", "memory"]) as run:
        SummaryWriter().add_scalars("loss", {"train": 1.0, "test": 2.0}, 1)

    assert points(run.id, "loss/train") == [(1, 1.0)]
    assert points(run.id, "loss/test") == [(1, 2.0)]


def test_a_writer_that_names_a_folder_elsewhere_is_told_to_every_tracker(both, tmp_path):
    with start_run("stray", experiment_tracker=["board", "memory"]) as run:
        for name in ("train", "validation"):
            writer = SummaryWriter(str(tmp_path / name))
            writer.add_scalar("loss", 0.5, 1)
            writer.close()

    assert points(run.id, "loss") == [(1, 0.5)]
    assert points(run.id, "validation/loss") == [(1, 0.5)]
    assert both.scalars("stray", "loss") == [(1, 0.5)]  # here, too: it was written elsewhere


def test_writers_are_as_they_were_after_the_run(both):
    before = EventFileWriter.add_event
    with start_run("first", experiment_tracker=["board", "memory"]):
        assert EventFileWriter.add_event is not before
        with start_run("second", experiment_tracker=["board", "memory"]):
            SummaryWriter().add_scalar("loss", 0.5, 1)
        assert EventFileWriter.add_event is not before

    assert EventFileWriter.add_event is before


def test_as_a_source_it_gives_what_writers_write_and_has_no_run(both):
    with start_run("source", experiment_tracker=["memory"], capture="tensorboard") as run:
        with SummaryWriter() as writer:
            writer.add_scalar("loss", 0.5, 1)
        folder = run.folder

    assert points(run.id, "loss") == [(1, 0.5)]
    assert list((folder / "capture-tensorboard").rglob("*tfevents*"))
    assert not list(both.root.glob("runs/*"))


@pytest.mark.slow
def test_event_files_of_any_program_are_read_from_where_the_run_begins(both):
    logs = both.root / "logs"
    with SummaryWriter(str(logs), filename_suffix=".before") as old:
        old.add_scalar("loss", 9.0, 0)
    before = next(logs.iterdir())
    os.utime(before, (1.7e9, 1.7e9))
    with start_run("files", experiment_tracker=["memory"], capture="tensorboard=logs") as run:
        code = "from tensorboardX import SummaryWriter\n"
        code += "with SummaryWriter('logs') as one, SummaryWriter('logs/eval') as two:\n"
        code += "    one.add_scalar('loss', 0.5, 1)\n    two.add_scalar('loss', 0.25, 1)\n"
        code += "    one.add_image('sample', __import__('numpy').zeros((3, 4, 5)), 2)\n"
        assert both.python(code).returncode == 0

    assert points(run.id, "loss") == [(1, 0.5)]
    assert points(run.id, "eval/loss") == [(1, 0.25)]
    assert [n for n in MemoryTracker.runs[run.id].artifacts if n.endswith(".png")] == ["sample.png"]
