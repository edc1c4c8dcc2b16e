"""Does code that makes Neptune's runs by itself get them in a step as it does alone?"""

from __future__ import annotations

import logging

import neptune
import pytest
from captured_calls import captured_of, documented_calls

from trackyard import Client, native_run, start_run
from trackyard.testing import MemoryTracker

TRACKERS = ["team", "memory"]
QUIETLY = {
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_hardware_metrics": False,
    "source_files": [],
    "git_ref": False,
}


@pytest.fixture
def both(project):
    project.add_memory_tracker()
    return project


def points(run):
    return [(m.key, m.step, m.value) for m in MemoryTracker.runs[run.id].metrics.values()]


@pytest.mark.parametrize("make", [neptune.init_run, neptune.Run])
def test_the_first_run_is_the_steps_and_takes_the_arguments_of_its_call(both, make):
    with start_run("first", experiment_tracker=TRACKERS) as run:
        made = make(name="baseline", description="the good one", tags=["mine"], **QUIETLY)
        made["loss"].append(0.5, step=1)
        made.stop()

    assert points(run) == [("loss", 1, 0.5)]
    said = {"neptune.name": "baseline", "neptune.description": "the good one", "tags": "mine"}
    assert said.items() <= MemoryTracker.runs[run.id].tags.items()
    found = {tuple(one["path"]): one for one in both.operations()}
    assert found["sys", "name"]["value"] == "baseline"
    assert found["sys", "description"]["value"] == "the good one"
    assert found["sys", "tags"]["values"] == ["mine"]
    assert not list(Client().get_run(run.id).children)


def test_what_native_run_has_given_before_is_the_same_run(both):
    with start_run("same", experiment_tracker=TRACKERS) as run:
        native_run("team")["rate"] = 0.1
        made = neptune.init_run(tags="mine", **QUIETLY)
        made["loss"].append(0.5, step=1)

    assert points(run) == [("loss", 1, 0.5)]
    assert MemoryTracker.runs[run.id].params == {"rate": 0.1}


def test_later_runs_and_two_at_once_are_child_runs_everywhere(both):
    with start_run("loop", experiment_tracker=TRACKERS) as run:
        made = [neptune.init_run(name=f"rate={rate}", **QUIETLY) for rate in range(3)]
        for rate, one in enumerate(made):
            one["rate"] = rate
            one["loss"].append(1 / (1 + rate), step=rate)
        made[1].stop()
        made[2]["loss"].append(0, step=9)

    children = {child.name: child for child in Client().get_run(run.id).children}
    assert {name: child.status for name, child in children.items()} == {
        "rate=1": "finished",
        "rate=2": "finished",
    }
    assert MemoryTracker.runs[run.id].params == {"rate": 0}
    assert points(children["rate=1"]) == [("loss", 1, 0.5)]
    assert points(children["rate=2"]) == [("loss", 2, 1 / 3), ("loss", 9, 0.0)]
    logs = list(both.root.glob(".trackyard/runs/*/team/.neptune/offline/run__*/data-1.log"))
    assert sorted(text.count('"LogFloats"') for text in map(_text, logs)) == [1, 1, 2]


def _text(path):
    return path.read_text()


@pytest.mark.slow
def test_what_the_sdk_collects_reaches_a_server_and_no_journal(project, online):
    (project.root / "train.py").write_text(COLLECTED)
    done = project.run("train.py")  # it measures until it ends

    assert done.returncode == 0, done.stderr
    names = set(online.only.fields) | set(online.only.files)
    assert [one for one in names if one.startswith("source_code/")]
    assert [one for one in names if one.startswith("monitoring/")]
    assert [one for one in names if one.endswith("/stdout")]
    assert online.only.values("loss") == [(1, 0.5)]
    (run,) = Client().list_runs()
    assert list(Client().get_run(run.id).metrics) == ["loss"]


COLLECTED = """
import neptune, trackyard

with trackyard.start_run("all", experiment_tracker="team") as run:
    made = neptune.init_run()
    print("heard")
    made["loss"].append(0.5, step=1)
"""


def test_source_files_are_on_the_server_and_of_a_call_without_any_none(project, online):
    for name in ("train.py", "model.py"):
        (project.root / name).write_text(name)
    for names in (["train.py"], ["train.py", "model.py"], []):
        files = [str(project.root / name) for name in names]
        with start_run(f"{len(names)} files") as run:
            neptune.init_run(**{**QUIETLY, "source_files": files})["a"] = 1

        (found,) = [r for r in online.runs.values() if r.fields["trackyard/run_id"] == run.id]
        assert found.files == {f"source_code/files/{name}": name.encode() for name in names}
        assert found.refused == []


def test_what_does_not_count_is_said_once_and_debug_logs_nothing(both, caplog):
    with caplog.at_level(logging.WARNING), start_run("place", experiment_tracker=TRACKERS) as run:
        debug = neptune.init_run(mode="debug", **QUIETLY)
        debug["lost"].append(1)
        debug.stop()
        for _ in range(2):
            neptune.init_run(project="team/other", custom_run_id="x", **QUIETLY).stop()

    (line,) = [r.getMessage() for r in caplog.records if "Neptune's own" in r.getMessage()]
    assert "project='team/other', custom_run_id='x'" in line
    assert points(run) == []


CALLS = {
    "append": lambda run, _: run["append"].append(1),
    "extend": lambda run, _: run["extend"].extend([1, 2]),
    "assign": lambda run, _: run["assign"].assign(1),
    "=": lambda run, _: run.__setitem__("by/=", 1),
    "add": lambda run, _: run["sys/tags"].add("mine"),
    "upload": lambda run, file: run["upload"].upload(file("a.png")),
    "upload_files": lambda run, file: run["upload_files"].upload_files(file("b.txt")),
    "track_files": lambda run, file: run["track_files"].track_files(file("c.txt")),
}


def test_each_call_becomes_what_the_page_says(both, tmp_path):
    def file(name):
        (tmp_path / name).write_text("content")
        return str(tmp_path / name)

    with start_run("calls", experiment_tracker=TRACKERS) as run:
        for call in CALLS.values():
            call(native_run("team"), file)

    found = captured_of(run.id, CALLS)
    assert MemoryTracker.runs[run.id].tags["tags"] == "mine"
    of_sets = dict.fromkeys(("add", "remove", "clear"), "tags")
    assert found | of_sets | dict.fromkeys(("delete_files", "pop", "del"), "nothing") == (
        documented_calls("neptune")
    )


def test_the_class_is_as_it_was_after_the_run(both):
    before = neptune.Run.__init__
    with start_run("seen", experiment_tracker=TRACKERS):
        assert neptune.Run.__init__ is not before

    assert neptune.Run.__init__ is before
