"""Is a run one run in Trackio, in the right place, with everything in it and its true status?"""

from __future__ import annotations

import shutil
import signal
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from left_behind import wait_until
from matrices import first_by_default
from trackio.sqlite_storage import SQLiteStorage

from trackyard import (
    Artifact,
    Batch,
    Client,
    Metric,
    Param,
    RejectedRecords,
    log_metric,
    native_run,
    pipeline,
    start_run,
    step,
)
from trackyard.contract.records import Run
from trackyard.project.configuration import find_project
from trackyard_trackio import TrackioTracker
from trackyard_trackio.rows import project_name
from trackyard_trackio.storing import in_folder


@step(experiment_tracker="board")
def train():
    log_metric("loss", 0.5, step=1)


@pipeline
def training():
    train()


def test_a_step_is_a_run_with_a_url_that_names_it(board):
    run = training().steps["train"]

    url = urlsplit(run.url)
    assert (url.netloc, url.path) == ("127.0.0.1:7860", "/run")
    assert parse_qs(url.query) == {"project": ["training"], "selected_run_id": [run.id]}
    assert board.values(run.id, "loss", "training") == [(1, 0.5)]
    assert board.query("SELECT DISTINCT run_name FROM metrics", "training") == [("train",)]
    config = board.config(run.id, "training")
    assert config["tags"]["trackyard.step"] == "train"
    assert config["_Group"] == config["tags"]["trackyard.group"]
    assert config["trackyard.status"] == config["tags"]["trackyard.status"] == "finished"


def test_what_a_machine_uses_stands_on_trackios_own_page_of_that(board):
    with start_run("a") as run:
        run.log_metrics({"system/cpu_utilization_percentage": 12.5, "loss": 1.0})

    sql = f"SELECT run_name, metrics FROM system_metrics WHERE run_id = '{run.id}'"
    assert board.query(sql) == [("a", b'{"cpu_utilization_percentage":12.5}')]
    ((_, value),) = board.values(run.id, "system/cpu_utilization_percentage")
    assert value == 12.5


def test_settings_of_a_step_are_laid_over_and_tags_joined(board, tmp_path):
    board.configure(tags={"team": "fraud"}, ui_port=7007, project="one")
    own = {"folder": str(tmp_path / "elsewhere"), "project": "other", "ui_port": 7008}
    with start_run("a", settings={"board": {**own, "tags": {"stage": "draft"}}}) as run:
        pass

    assert run.url == f"http://127.0.0.1:7008/run?project=other&selected_run_id={run.id}"
    assert not board.folder.exists()
    board.folder = tmp_path / "elsewhere"
    tags = board.config(run.id, "other")["tags"]
    assert (tags["team"], tags["stage"]) == ("fraud", "draft")


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "killed")]
)
def test_a_run_that_does_not_finish_says_so_in_config_and_tags(board, error, status):
    with pytest.raises(error), start_run("bad") as run:
        raise error("no good")

    config = board.config(run.id)
    assert config["trackyard.status"] == config["tags"]["trackyard.status"] == status
    assert "no good" in config["trackyard.failure"]


def test_times_and_steps_are_those_of_the_log_calls(board):
    with start_run("a") as run:
        for number in (3, 1, 2):
            run.log_metric("loss", float(number), step=number)
        run.log_metric("without", 1.0)
    place = find_project().home / "runs" / run.id / "board"
    given = Run(id=run.id, name="a", experiment="default", started_at=0, folder=place)
    journaled = [r for r in TrackioTracker().tracker_read_run(given, None) if isinstance(r, Metric)]

    assert [(m.key, m.value, m.step) for m in journaled] == [
        ("loss", 3.0, 3),
        ("loss", 1.0, 1),
        ("loss", 2.0, 2),
        ("without", 1.0, None),
    ]
    stamps = [m.timestamp for m in journaled]
    assert stamps == sorted(stamps)
    assert any(stamp % 1000 for stamp in stamps)  # to the nanosecond
    times = [time for (time,) in board.query("SELECT timestamp FROM metrics ORDER BY id")]
    assert len(set(times)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_a_killed_run_is_crashed_and_has_both_kinds_of_calls(board, isolation):
    code = """
import os, signal, time
from trackyard import start_run
with start_run("victim") as run:
    import trackio
    for number in range(50):
        run.log_metric("loss", number / 10, step=number)
    trackio.init(project="other", config={"rate": 0.5})
    trackio.log({"native": 1.5}, step=7)
    trackio.finish()  # Trackio's way to have all written
    print(run.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = board.python(code, TRACKYARD_ISOLATION=isolation)
    assert process.returncode == -signal.SIGKILL, process.stderr
    run_id = process.stdout.split()[-1]

    result = board.sync()

    assert "complete" in result.stdout, result.stderr
    assert board.values(run_id, "loss") == [(n, n / 10) for n in range(50)]
    assert board.values(run_id, "native") == [(7, 1.5)]
    assert board.config(run_id)["trackyard.status"] == "crashed"
    assert board.config(run_id)["rate"] == 0.5


def test_native_and_portable_calls_give_the_same(board, capfd):
    import trackio

    def both(log):
        with start_run("a") as run:
            for number in range(5):
                log(number)
        return board.values(run.id, "loss")

    with start_run("warm"):  # nothing here
        pass
    portable = both(lambda n: log_metric("loss", n / 2, step=n))
    native = both(lambda n: trackio.log({"loss": n / 2}, step=n))

    assert native == portable == [(n, n / 2) for n in range(5)]
    assert capfd.readouterr().out == ""


def test_init_in_a_step_continues_its_run_and_keeps_the_config(board):
    import trackio

    original = trackio.init
    with start_run("a") as run:
        run.log_param("portable", 1)
        found = trackio.init(project="elsewhere", name="other", config={"rate": 0.5})
        assert found is native_run("board")
        trackio.config["depth"] = 3
        found.log({"loss": 1.0})

    config = board.config(run.id)
    assert (config["portable"], config["rate"], config["depth"]) == (1, 0.5, 3)
    assert board.values(run.id, "loss") == [(0, 1.0)]
    assert board.query("SELECT COUNT(DISTINCT run_id) FROM metrics") == [(1,)]
    assert list(board.folder.glob("*.db")) == [board.folder / "default.db"]
    assert trackio.init is original
    with pytest.raises(RuntimeError, match="init"):
        trackio.log({"stray": 1})


def test_overlapping_runs_have_their_own_native_calls(board):
    with start_run("outer") as outer:
        native_run("board").log({"a": 1.0})
        with start_run("inner") as inner:
            native_run("board").log({"a": 2.0})
        native_run("board").log({"a": 3.0})

    assert [v for _, v in board.values(outer.id, "a")] == [1.0, 3.0]
    assert [v for _, v in board.values(inner.id, "a")] == [2.0]


def test_files_are_shown_as_what_they_are(board):
    with start_run("a") as run:
        run.log_table({"x": [1, 2]}, "t.json")
        run.log_text("# head", "notes/n.md")
        run.log_text("<b>x</b>", "p.html")

    shown = {key: value for _, values in board.rows(run.id) for key, value in values.items()}
    assert shown["t.json"]["_value"] == [{"x": 1}, {"x": 2}]
    assert (shown["notes/n.md"]["_type"], shown["notes/n.md"]["_value"]) == (
        "trackio.markdown",
        "# head",
    )
    assert shown["p.html"]["_type"] == "trackio.html"
    place = board.folder / "media" / shown["notes/n.md"]["file_path"]
    assert place.read_text() == "# head"


def test_names_that_trackio_has_for_itself_come_back(board):
    with start_run("a", experiment="my_system") as run:
        run.log_metrics({"step": 1.0, "__odd": 2.0}, step=1)
        run.log_params({"tags": "mine", "_x": 1})

    place = find_project().home / "runs" / run.id / "board"
    given = Run(id=run.id, name="a", experiment="my_system", started_at=0, folder=place)
    read = list(TrackioTracker().tracker_read_run(given, None))
    assert {m.key: m.value for m in read if isinstance(m, Metric)} == {"step": 1.0, "__odd": 2.0}
    assert {Param("tags", "mine"), Param("_x", 1)} <= set(read)
    assert project_name("registry-x") != "registry-x"


def test_a_file_that_is_gone_is_refused_alone(board, tmp_path):
    gone = Artifact("gone.bin", tmp_path / "gone.bin", "file")
    run = Run(id="0" * 32, name="a", experiment="a", started_at=0, folder=tmp_path)

    with pytest.raises(RejectedRecords) as caught:
        TrackioTracker().tracker_log(run, Batch.of((Metric("loss", 1.0, 1, 1), gone), 0, 1))

    assert caught.value.records == (gone,)


def test_a_write_token_does_not_belong_into_the_address(board):
    with pytest.raises(ValueError, match="`token`"):
        TrackioTracker(server_url="http://127.0.0.1:7860/?write_token=abc")


def test_a_space_has_its_address_and_is_written_with_a_token_of_hugging_face(board, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    tracker = TrackioTracker(space_id="Some.One/my_board")
    run = Run(id="1" * 32, name="a", experiment="a", started_at=0, folder=board.root)

    url = tracker.tracker_url(run)
    assert url.startswith("https://some-one-my-board.hf.space/run?project=a&selected_run_id=1111")
    assert tracker.tracker_ui_command("127.0.0.1", None) is None


def test_a_run_on_a_server_has_everything(server, on_server, board):
    import trackio

    with start_run("a") as run:
        run.log_metric("loss", 0.5, step=3)
        run.log_metric("loss", float("nan"), step=4)
        run.log_text("hello", "deep/hello.txt")
        trackio.log({"native": 2.5, "shown": trackio.Markdown("hi")}, step=9)
        trackio.log({"table": trackio.Table(data=[[1]], columns=["x"])}, step=10)

    assert run.url.startswith(f"{server.url}/run?")
    assert on_server.values(run.id, "loss") == [(3, 0.5), (4, "NaN")]
    assert on_server.values(run.id, "native") == [(9, 2.5)]
    assert on_server.config(run.id)["trackyard.status"] == "finished"
    place = find_project().home / "runs" / run.id / "board"
    given = Run(id=run.id, name="a", experiment="default", started_at=0, folder=place)
    read = list(TrackioTracker(server_url=server.url).tracker_read_run(given, None))
    files = {r.name: r.path.read_text() for r in read if isinstance(r, Artifact)}
    assert files == {"deep/hello.txt": "hello"}
    (first, *_) = [r for r in read if isinstance(r, Metric)]
    assert (first.key, first.step) == ("loss", 3)
    assert first.timestamp > 1.7e18  # the original time, though the server keeps another


def test_settings_of_a_step_say_which_server(server, on_server, board, monkeypatch):
    board.configure(server_url="http://127.0.0.1:9", token="env:NONE", tags={"team": "fraud"})
    monkeypatch.setenv("NONE", "wrong")
    own = {"server_url": server.url, "token": "env:SERVER_TOKEN", "tags": {"stage": "draft"}}
    with start_run("a", settings={"board": own}) as run:
        run.log_metric("loss", 0.5, step=3)

    assert on_server.values(run.id, "loss") == [(3, 0.5)]
    tags = on_server.config(run.id)["tags"]
    assert (tags["team"], tags["stage"]) == ("fraud", "draft")


@pytest.mark.slow
def test_a_deleted_run_is_gone_and_no_other(board, server):
    for config in ({}, {"server_url": server.url, "token": "env:SERVER_TOKEN"}):
        board.configure(**config)
        tracker = TrackioTracker(**config)
        with start_run("a") as kept, start_run("a") as run:
            for each in (kept, run):
                each.log_metric("loss", 0.5)
                each.log_text("text", "a.txt")

        def read(id_, tracker=tracker):
            place = find_project().home / "runs" / id_ / "board"
            given = Run(id=id_, name="a", experiment="default", started_at=0, folder=place)
            return given, list(tracker.tracker_read_run(given, None))

        for _ in range(2):
            tracker.tracker_delete_run(read(run.id)[0])

        assert read(run.id)[1] == []
        assert {type(r).__name__ for r in read(kept.id)[1]} == {"Metric", "Artifact", "Tag"}
        assert not (board.folder / "media/default/files" / run.id).exists()


def delete_in_trackio(project: str, name: str, run_id: str) -> None:
    """Delete a run as Trackio's own page does."""
    with in_folder(find_project().home / "trackio", patience=10.0):
        assert SQLiteStorage.delete_run(project, name, run_id)


def test_run_that_was_deleted_in_trackio_is_left_alone_and_restored_gets_all(board, caplog):
    with start_run("other"):
        pass
    with start_run("a") as run:
        run.log_metric("loss", 0.5, step=0)
        wait_until(lambda: board.values(run.id, "loss"))
        board.query(f"VACUUM INTO '{board.root}/kept.db'")
        delete_in_trackio("default", "a", run.id)
        run.log_metric("loss", 0.25, step=1)

    assert "was deleted there" in caplog.text
    assert board.rows(run.id) == []
    (row,) = Client().sync()
    assert (row.state, "was deleted" in row.problem) == ("incomplete", True)
    for path in board.folder.glob("default.db*"):
        path.unlink()
    (board.root / "kept.db").rename(board.folder / "default.db")  # its owner restores it
    (row,) = Client().sync()
    assert (row.state, board.values(run.id, "loss")) == ("complete", [(0, 0.5), (1, 0.25)])


@pytest.mark.slow
def test_folder_that_was_emptied_gets_the_run_anew_with_all_its_records(board):
    with start_run("a") as run:
        run.log_metric("loss", 0.5, step=0)
        wait_until(lambda: board.folder.is_dir() and board.values(run.id, "loss"))
        shutil.rmtree(board.folder)
        run.log_metric("loss", 0.25, step=1)
    Client().sync()

    assert board.values(run.id, "loss") == [(0, 0.5), (1, 0.25)]
    assert board.config(run.id)["trackyard.status"] == "finished"


def test_a_server_that_is_away_gets_everything_later(server, on_server, board):
    server.stop()
    board.configure(
        server_url=server.url, token="env:SERVER_TOKEN", start_timeout=0.5, flush_timeout=0.5
    )
    with suppress(ValueError), start_run("a") as run:
        run.log_metric("loss", 0.5, step=1)
        native_run("board").log({"native": 1.0})
        raise ValueError("no good")
    server.start()

    for _ in range(2):
        assert board.sync().returncode == 0

    assert on_server.values(run.id, "loss") == [(1, 0.5)]
    assert on_server.values(run.id, "native") == [(0, 1.0)]
    assert on_server.config(run.id)["trackyard.status"] == "failed"


def test_a_wrong_token_is_said_by_the_check(server, monkeypatch):
    assert TrackioTracker(server_url=server.url).tracker_check() == []
    (problem,) = TrackioTracker(server_url="http://127.0.0.1:9").tracker_check()
    assert "cannot be reached" in problem


@pytest.mark.slow
def test_client_finds_the_url(board):
    training()

    found = Client().list_pipeline_runs()[0].steps["train"]
    assert found.run_metadata["experiment_tracker_url"].value == found.url
