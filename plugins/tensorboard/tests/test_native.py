"""Do TensorBoard's own writers land in the run, and leave nothing behind?"""

from __future__ import annotations

import threading

import pytest
from tensorboardX import GlobalSummaryWriter, SummaryWriter

from trackyard import Client, log_metric, native_run, pipeline, start_run, step

KEYS = {"loss": 0.5, "accuracy": 0.25}


def test_native_and_portable_calls_give_the_same_metrics(board):
    with start_run("native", experiment_tracker="board"):
        for number in range(5):
            for key, value in KEYS.items():
                native_run("board").add_scalar(key, value * number, number)
    with start_run("portable", experiment_tracker="board") as run:
        for number in range(5):
            run.log_metrics({key: value * number for key, value in KEYS.items()}, step=number)

    for key in KEYS:
        assert board.scalars("native", key) == board.scalars("portable", key)
        assert len(board.scalars("native", key)) == 5
    assert board.reader("native").Tags()["scalars"] == board.reader("portable").Tags()["scalars"]


@pytest.mark.parametrize(
    "make",
    [
        SummaryWriter,
        lambda: SummaryWriter(None, "comment"),
        lambda: SummaryWriter(log_dir=None),
        lambda: SummaryWriter(flush_secs=1),
        lambda: native_run("board"),
    ],
    ids=["bare", "positional", "keyword", "option", "native_run"],
)
def test_a_writer_without_a_folder_of_its_own_writes_into_the_run(board, make):
    with start_run("made", experiment_tracker="board"):
        make().add_scalar("native", 0.5, 3)  # neither flushed nor closed
        log_metric("portable", 0.25, step=4)

    assert board.scalars("made", "native") == [(3, 0.5)]
    assert board.scalars("made", "portable") == [(4, 0.25)]
    assert not (board.root / "runs").exists()


def test_each_further_writer_is_a_run_of_its_own(board):
    with start_run("made", experiment_tracker="board") as run:
        for number in range(3):
            SummaryWriter(comment=f"-lr={number}").add_scalar("loss", number, 1)

    view = Client().get_run(run.id)
    children = {child.name: child for child in view.children}
    assert {name: (c.status, c.metrics["loss"].last) for name, c in children.items()} == {
        "lr=1": ("finished", 1.0),
        "lr=2": ("finished", 2.0),
    }
    assert view.metrics["loss"].last == 0.0
    for number, name in enumerate(["made", *children]):
        assert board.scalars(name, "loss") == [(1, number)]  # also in TensorBoard, each once
    assert board.text("made", "tags/tensorboard.comment") == "-lr=0"


def test_the_run_of_a_writer_that_was_closed_ends_when_the_next_one_begins(board):
    with start_run("loop", experiment_tracker="board") as run:
        for number in range(3):
            with SummaryWriter() as writer:
                writer.add_scalar("loss", number, 1)
            if number == 1:
                writer.add_scalar("late", 5, 2)  # it opens a file of its own
                writer.close()
        during = {child.name: child.status for child in Client().get_run(run.id).children}

    assert during == {"loop-2": "finished", "loop-3": "running"}
    assert {c.name: c.status for c in Client().get_run(run.id).children}["loop-3"] == "finished"
    assert board.scalars("loop-2", "late") == [(2, 5)]
    (second,) = [c for c in Client().get_run(run.id).children if c.name == "loop-2"]
    assert second.metrics["late"].last == 5


def test_without_capture_further_writers_have_folders_below_the_run(board):
    board.configure(capture=False)
    with start_run("plain", experiment_tracker="board"):
        for number in range(2):
            SummaryWriter().add_scalar("loss", number, 1)

    assert [run.partition("/")[2].partition("/")[2] for run in board.runs()] == ["", "plain-2"]


def test_a_writer_with_a_folder_of_its_own_keeps_it_and_the_run_has_its_values(board, tmp_path):
    with (
        start_run("made", experiment_tracker="board"),
        SummaryWriter(str(tmp_path / "own")) as writer,
    ):
        writer.add_scalar("native", 0.5, 3)

    assert list((tmp_path / "own").iterdir())
    assert board.scalars("made", "native") == [(3, 0.5)]


def test_the_folder_of_a_run_is_known_to_any_writer(board):
    with start_run("made", experiment_tracker="board"):
        folder = native_run("board").log_dir

    assert folder == str(board.folder("made"))


def test_afterwards_writers_are_as_they_were(board, tmp_path, monkeypatch):
    before = SummaryWriter.__init__
    with start_run("made", experiment_tracker="board"):
        assert SummaryWriter.__init__ is not before
    monkeypatch.chdir(tmp_path)
    with SummaryWriter() as writer:
        writer.add_scalar("later", 0.5, 1)

    assert SummaryWriter.__init__ is before
    assert writer.logdir.startswith("runs/")
    assert board.reader("made").Tags()["scalars"] == []


def test_writers_threads_end_with_the_run(board):
    with start_run("made", experiment_tracker="board"):
        native_run("board").add_scalar("native", 0.5, 1)
        SummaryWriter().add_scalar("bare", 0.5, 1)
        during = {type(thread).__name__ for thread in threading.enumerate()}

    assert "_EventLoggerThread" in during
    after = [type(thread).__name__ for thread in threading.enumerate()]
    assert "_EventLoggerThread" not in after


@pytest.mark.slow
def test_a_step_that_imports_the_writer_itself_writes_into_its_run(board):
    """In a process where nobody has imported it, the step's own import is waited for."""
    code = """
import sys
from trackyard import native_run, start_run
with start_run("made", experiment_tracker="board"):
    assert "tensorboardX" not in sys.modules
    from tensorboardX import SummaryWriter
    SummaryWriter().add_scalar("native", 0.5, 3)
"""
    result = board.python(code)

    assert result.returncode == 0, result.stderr
    assert board.scalars("made", "native") == [(3, 0.5)]


def test_a_step_that_uses_no_writer_imports_none(board):
    code = """
import sys
from trackyard import Client, log_metric, start_run
with start_run("made", experiment_tracker="board") as run:
    log_metric("loss", 0.5)
print([name for name in ("tensorboardX", "tensorboard", "numpy") if name in sys.modules])
"""
    result = board.python(code, TRACKYARD_ISOLATION="process")

    assert result.stdout == "[]\n", result.stderr
    assert board.scalars("made", "loss") == [(0, 0.5)]


@pytest.mark.slow
def test_where_the_folder_is_away_native_calls_are_kept_and_moved_there_later(board, tmp_path):
    drive = tmp_path / "drive"
    drive.write_text("no folder")
    board.configure(log_dir=f"{drive}/logs", start_timeout=0.2, flush_timeout=0.2)
    board.log_dir = drive / "logs"
    with start_run("made", experiment_tracker="board"):
        native_run("board").add_scalar("native", 0.5, 3)
        SummaryWriter().add_scalar("bare", 0.25, 1)
        log_metric("portable", 0.125, step=2)
    drive.unlink()

    result = board.sync()

    assert "complete" in result.stdout, result.stderr
    for key, points in {"native": (3, 0.5), "bare": (1, 0.25), "portable": (2, 0.125)}.items():
        assert board.scalars("made", key) == [points]


def test_global_writers_write_into_the_run(board):
    if hasattr(GlobalSummaryWriter, "_instance"):
        pytest.skip("this release keeps one for the whole process")

    @step(experiment_tracker="board")
    def train():
        writer = GlobalSummaryWriter()
        writer.add_scalar("native", 0.5)
        writer.close()

    @pipeline
    def training():
        train()

    training()

    assert board.scalars("train", "native") == [(0, 0.5)]


@pytest.mark.slow
def test_event_files_of_a_library_without_a_writer_are_told_with_what_to_type(board, caplog):
    with start_run("told", experiment_tracker="board"):
        code = "from tensorboardX import SummaryWriter\n"
        code += "with SummaryWriter('catboost_info') as writer: writer.add_scalar('loss', 1, 1)\n"
        assert board.python(code).returncode == 0
    with start_run("silent", experiment_tracker="board"):
        pass

    assert caplog.text.count("capture = ['tensorboard=catboost_info']") == 1
