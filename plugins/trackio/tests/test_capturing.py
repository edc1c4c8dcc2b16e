"""Does what Trackio's own calls log reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import numpy
import pytest

from trackyard import Client, start_run
from trackyard.testing import MemoryTracker


@pytest.fixture
def both(board):
    board.add_memory_tracker()
    return board


def test_rows_config_and_images_reach_the_other_trackers(both):
    import trackio

    with start_run("rows", experiment_tracker=["board", "memory"]) as run:
        trackio.init(project="mine", config={"lr": 0.1, "net": {"layers": 3}})
        for number in range(3):
            trackio.log({"loss": 1 / (1 + number), "accuracy": number / 3}, step=number)
        trackio.log({"sample": trackio.Image(numpy.zeros((4, 4, 3), dtype=numpy.uint8))}, step=3)
        run.log_metric("portable", 1, step=4)
        trackio.finish()

    stored = MemoryTracker.runs[run.id]
    points = sorted((m.key, m.step, m.value) for m in stored.metrics.values())
    assert points == sorted(
        [("loss", n, 1 / (1 + n)) for n in range(3)]
        + [("accuracy", n, n / 3) for n in range(3)]
        + [("portable", 4, 1.0)]
    )
    assert stored.params == {"lr": 0.1, "net.layers": 3}
    (sample,) = [(n, a.kind, a.step) for n, a in stored.artifacts.items() if a.step]
    assert sample == ("sample.png", "image", 3)
    assert both.values(run.id, "loss") == [(n, 1 / (1 + n)) for n in range(3)]
    assert Client().get_run(run.id).metrics["accuracy"].last == 2 / 3
    assert both.values(run.id, "portable") == [(4, 1.0)]


def test_nested_values_words_and_lists_reach_the_other_trackers(both):
    import trackio

    with start_run("nested", experiment_tracker=["board", "memory"]) as run:
        trackio.init(project="mine")
        trackio.log({"train": {"loss": 0.5, "deep": {"x": 1}}, "stage": "warm", "ok": True}, step=1)
        trackio.log({"shapes": [2, 3], "stage": "hot"}, step=2)

    stored = MemoryTracker.runs[run.id]
    points = {(m.key, m.step, m.value) for m in stored.metrics.values()}
    assert points == {("train.loss", 1, 0.5), ("train.deep.x", 1, 1.0), ("ok", 1, 1.0)}
    assert {"stage": "hot", "shapes": "[2, 3]"}.items() <= stored.tags.items()


def test_name_and_group_of_a_call_are_tags_and_a_table_is_one_everywhere(both):
    import trackio

    init = trackio.init  # as a program takes the name at its top
    with start_run("said", experiment_tracker=["board", "memory"]) as run:
        init("default", "first", "mine", config={"lr": 0.1})
        trackio.log({"table": trackio.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])}, step=2)
        trackio.init("default", "second", "mine")

    said = {"trackio.name": "first", "trackio.group": "mine"}
    view = Client().get_run(run.id)
    assert said.items() <= view.tags.items()
    assert said.items() <= MemoryTracker.runs[run.id].tags.items()
    assert said.items() <= both.config(run.id)["tags"].items()
    (child,) = view.children
    assert (child.name, child.tags["trackio.group"]) == ("second", "mine")
    table = view.artifacts["table.json"]
    assert (table.kind, table.step) == ("table", 2)
    assert table.read_json() == {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}
    assert MemoryTracker.runs[run.id].artifacts["table.json"].kind == "table"


def test_as_a_source_it_gives_what_is_logged_and_has_no_run(both):
    import trackio

    with start_run("source", experiment_tracker=["memory"], capture="trackio") as run:
        trackio.init(project="mine", config={"lr": 0.1})
        trackio.log({"loss": 0.5}, step=1)
        trackio.finish()
        folder = run.folder

    stored = MemoryTracker.runs[run.id]
    assert [(m.key, m.step, m.value) for m in stored.metrics.values()] == [("loss", 1, 0.5)]
    assert stored.params == {"lr": 0.1}
    assert list((folder / "capture-trackio").glob("*.db"))


def test_what_a_killed_process_has_logged_to_a_source_is_read_in_recovery(both):
    code = """
import os, signal, trackio
from trackyard import start_run
from trackyard.delivery import native_reading
native_reading._EVERY = 1000.0  # it is killed before anything is read
with start_run("killed", experiment_tracker=None, capture="trackio"):
    trackio.init(project="mine")
    trackio.log({"loss": 0.5}, step=1)
    trackio.finish()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert both.python(code).returncode == -9
    assert both.sync().returncode == 0

    (run,) = Client().list_runs()
    assert Client().get_run(run.id).metrics["loss"].last == 0.5


def test_each_run_of_a_loop_is_a_child_run_everywhere(both):
    import trackio

    with start_run("loop", experiment_tracker=["board", "memory"]) as run:
        for rate in range(3):
            trackio.init(project="default", name=f"rate={rate}", config={"rate": rate})
            trackio.log({"loss": 1 / (1 + rate)}, step=rate)
            if rate < 2:
                trackio.finish()

    children = {child.name: child for child in Client().get_run(run.id).children}
    assert {name: child.status for name, child in children.items()} == {
        "rate=1": "finished",
        "rate=2": "finished",
    }
    for rate, id_ in enumerate([run.id, children["rate=1"].id, children["rate=2"].id]):
        stored = MemoryTracker.runs[id_]
        assert stored.params == {"rate": rate}
        assert [(m.step, m.value) for m in stored.metrics.values()] == [(rate, 1 / (1 + rate))]
        assert both.values(id_, "loss") == [(rate, 1 / (1 + rate))]


def test_files_can_be_saved_by_trackio(both, tmp_path):
    import trackio

    (tmp_path / "note.txt").write_text("hello")
    with start_run("saved", experiment_tracker=["board", "memory"]):
        trackio.init(project="default")
        trackio.save(str(tmp_path / "note.txt"))

    assert [path.read_text() for path in both.folder.rglob("note.txt")] == ["hello"]
