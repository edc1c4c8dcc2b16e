"""Is a run one run in TensorBoard, in the right place, with the right status?"""

from __future__ import annotations

import shutil
import signal
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
from left_behind import wait_until
from matrices import first_by_default
from tensorboard.plugins.hparams.api_pb2 import Status

from trackyard import (
    Artifact,
    Batch,
    Client,
    Failure,
    Metric,
    RejectedRecords,
    log_metric,
    pipeline,
    start_run,
    step,
)
from trackyard_tensorboard import TensorboardTracker


@step(experiment_tracker="board")
def train():
    log_metric("loss", 0.5, step=1)


@step(experiment_tracker="board")
def break_down():
    log_metric("loss", 0.75, step=1)
    raise ValueError("the data\nare odd")


@pipeline
def training():
    train()


@pipeline
def breaking():
    break_down()


def test_a_step_is_a_run_with_a_url_from_the_start(board):
    run = training()

    assert run.status == "finished"
    (name,) = board.runs()
    url = urlsplit(run.steps["train"].url)
    assert (url.scheme, url.netloc, url.fragment) == ("http", "127.0.0.1:6006", "timeseries")
    assert parse_qs(url.query) == {"runFilter": [f"^{name}$"]}
    assert name.startswith("training/train-")


def test_a_run_says_who_it_is(board):
    training()
    found = Client().list_pipeline_runs()[0].steps["train"]

    assert board.text("train", "tags/trackyard.run_id") == found.id
    assert board.text("train", "tags/trackyard.pipeline") == "training"
    assert board.text("train", "tags/trackyard.step") == "train"
    assert board.text("train", "tags/trackyard.attempt") == "1"
    assert board.text("train", "tags/trackyard.status") == "finished"


def test_a_finished_run_is_shown_as_a_success(board):
    training()

    end = board.session("train", "session_end_info")
    assert end.status == Status.STATUS_SUCCESS
    assert end.end_time_secs >= board.session("train", "session_start_info").start_time_secs


def test_a_failed_step_is_shown_as_failed(board):
    with pytest.raises(ValueError, match="odd"):
        breaking()

    assert board.session("break_down", "session_end_info").status == Status.STATUS_FAILURE
    assert board.text("break_down", "tags/trackyard.status") == "failed"
    assert "the data" in board.text("break_down", "tags/trackyard.failure")
    assert "break_down" in board.text("break_down", "tags/trackyard.traceback")
    assert board.scalars("break_down", "loss") == [(1, 0.75)]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_a_run_that_was_killed_is_shown_as_crashed_and_has_everything(board, isolation):
    code = """
import os, signal
from trackyard import native_run, start_run
with start_run("victim", experiment_tracker="board") as run:
    for number in range(100):
        run.log_metric("loss", number / 10, step=number)
    native_run("board").add_scalar("native", 0.5, 1)
    native_run("board").flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = board.python(code, TRACKYARD_ISOLATION=isolation)
    assert process.returncode == -signal.SIGKILL, process.stderr

    result = board.sync()

    assert "complete" in result.stdout, result.stderr
    assert [step for step, _ in board.scalars("victim", "loss")] == list(range(100))
    assert board.session("victim", "session_end_info").status == Status.STATUS_FAILURE
    assert board.text("victim", "tags/trackyard.status") == "crashed"


def test_starting_again_continues_the_same_run(board, make_run):
    first = TensorboardTracker()
    first.tracker_start_run(make_run())
    first.tracker_log(make_run(), Batch.of((Metric("loss", 0.5, 1, 1),), 0, 0))
    again = TensorboardTracker()
    again.tracker_start_run(make_run(attached=True))
    again.tracker_log(make_run(), Batch.of((Metric("loss", 0.25, 2, 2),), 1, 1))
    failure = Failure("crashed", "SIGKILL", "found dead", signal=9)
    again.tracker_fail_run(make_run(ended_at=3), failure)

    assert len(board.runs()) == 1
    assert board.scalars("made", "loss") == [(1, 0.5), (2, 0.25)]
    assert board.text("made", "tags/trackyard.failure") == "SIGKILL: found dead"


def test_runs_of_one_name_are_apart(board):
    for _ in range(2):
        with start_run("same", experiment_tracker="board"):
            log_metric("loss", 0.5)

    assert len(board.runs()) == 2


@pytest.mark.parametrize("name", ["über/straße", "../..", "a b", "x" * 300, ".hidden", "日本" * 60])
def test_odd_names_give_folders_below_log_dir(board, name):
    with start_run(name, experiment=name, experiment_tracker="board"):
        log_metric("loss", 0.5)

    (found,) = board.runs()
    assert len(found.split("/")) == 2
    assert not found.startswith(".")


def test_fields_and_settings_say_where_a_run_goes(board, tmp_path):
    board.configure(tags={"team": "fraud"}, ui_port=7007)
    fields = {
        "log_dir": str(tmp_path / "elsewhere"),
        "experiment_name": "other",
        "tags": {"stage": "draft"},
        "server_url": "https://board.example.com/tb/",
    }

    @step(experiment_tracker="board", settings={"board": fields})
    def set_up():
        log_metric("loss", 0.5)

    @pipeline
    def setting():
        set_up()
        train()

    run = setting()

    assert run.steps["train"].url.startswith("http://127.0.0.1:7007/?runFilter=")
    assert run.steps["set_up"].url.startswith("https://board.example.com/tb/?runFilter=")
    board.log_dir = tmp_path / "elsewhere"
    (name,) = board.runs()
    assert name.startswith("other/set_up-")
    assert board.text("set_up", "tags/team") == "fraud"
    assert board.text("set_up", "tags/stage") == "draft"


def test_a_relative_folder_counts_from_the_project(board, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKYARD_HOME", str(board.root / ".trackyard"))
    monkeypatch.chdir(tmp_path)

    assert TensorboardTracker(log_dir="logs").log_dir == tmp_path / "project" / "logs"


def test_a_file_that_is_gone_is_refused_alone(board, make_run, tmp_path):
    tracker = TensorboardTracker()
    tracker.tracker_start_run(make_run())
    gone = Artifact("gone.bin", tmp_path / "gone.bin", "file")

    with pytest.raises(RejectedRecords) as caught:
        tracker.tracker_log(make_run(), Batch.of((Metric("loss", 1.0, 1, 1), gone), 0, 1))

    assert caught.value.records == (gone,)


def test_the_page_is_served_by_tensorboard_unless_there_is_a_server(board):
    command = TensorboardTracker(ui_port=7007).tracker_ui_command("127.0.0.1", None)

    assert command[:4] == [sys.executable, "-P", "-m", "tensorboard.main"]
    assert command[command.index("--logdir") + 1] == str(board.log_dir)
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "7007"]
    server = TensorboardTracker(server_url="https://board.example.com")
    assert server.tracker_ui_command("127.0.0.1", None) is None


def test_a_check_finds_a_folder_that_cannot_be_written(board, tmp_path):
    (tmp_path / "file").write_text("no folder")

    assert TensorboardTracker().tracker_check() == []
    (problem,) = TensorboardTracker(log_dir=tmp_path / "file").tracker_check()
    assert problem.startswith("log_dir cannot be written: ")


def test_a_check_leaves_no_run(board):
    came = Client().check_experiment_tracker("board")

    assert came.is_working, came.problem
    assert [stage.stage for stage in came.stages][-2:] == ["end", "delete"]
    assert not board.runs()
    assert not list(board.log_dir.iterdir())


@pytest.mark.parametrize("what", ["the run", "everything"])
def test_run_that_was_deleted_is_left_alone_and_a_folder_that_was_emptied_gets_all(
    board, tmp_path, caplog, what
):
    with start_run("other"):
        pass
    with start_run("a") as run:
        run.log_metric("loss", 0.5, step=0)
        wait_until(lambda: any("/a-" in name for name in board.runs()))
        folder = board.folder("a")
        shutil.move(folder, tmp_path / "kept")
        if what == "everything":
            shutil.rmtree(board.log_dir)
        run.log_metric("loss", 0.25, step=1)
    if what == "the run":
        assert "was deleted there" in caplog.text
        assert not folder.exists()
        (row,) = Client().sync()
        assert (row.state, "was deleted" in row.problem) == ("incomplete", True)
        shutil.move(tmp_path / "kept", folder)  # as its owner restores it
    Client().sync()

    assert board.scalars("a", "loss") == [(0, 0.5), (1, 0.25)]
