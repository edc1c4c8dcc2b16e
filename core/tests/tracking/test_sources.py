"""Are calls of an SDK captured that no tracker of the run has anything to do with?"""

from __future__ import annotations

import json
import sys

import native_sdk
import pytest
from native_sdk import NativeTracker
from recorder import Recorder

from trackyard import Client, ConfigError, pipeline, start_run, step, tracked_step
from trackyard.contract import Metric, Param
from trackyard.journal.descriptions import load_description

NOW = 1_790_000_000_123_456_789
SDK, FILES, READING = (
    f"native_sdk:{name}" for name in ("NativeTracker", "FilingTracker", "ReadingTracker")
)


@pytest.fixture
def other(project):
    project.add_tracker("other", Recorder)
    return project


def log_loss(value=0.5):
    native_sdk.log(Metric("loss", value, 3, NOW), Param("lr", 0.1))


def losses(project):
    return [m[:3] for m in project.logged("metrics", "other") if m[0] == "loss"]


def test_what_a_source_logs_reaches_the_trackers_and_the_journal(other):
    with start_run("alone", experiment_tracker=["other"], capture=SDK) as run:
        (folder,) = native_sdk.folders_alone()
        log_loss()

    assert folder.parent == run.folder
    assert losses(other) == [["loss", 0.5, 3]]
    assert other.logged("params", "other") == [["lr", 0.1]]
    assert Client().get_run(run.id).metrics["loss"].last == 0.5
    assert native_sdk.folders_alone() == []


def test_a_source_starts_and_ends_no_run_of_its_flavor(other):
    with start_run("alone", experiment_tracker=["other"], capture=[SDK]):
        log_loss()

    assert list((other.root / "calls").iterdir()) == [other.root / "calls" / "other"]


def test_a_run_without_trackers_has_what_its_source_logs(project):
    with start_run("journal", experiment_tracker=None, capture=SDK) as run:
        log_loss()

    assert Client().get_run(run.id).metrics["loss"].last == 0.5


def test_files_of_a_source_are_read_to_their_end(other):
    with start_run("rows", experiment_tracker=["other"], capture=FILES):
        native_sdk.log_to_file("loss", 0.25, 1)

    assert losses(other) == [["loss", 0.25, 1]]


def test_files_that_the_user_names_are_read_as_they_grow(other, tmp_path):
    file = other.root / "rows.jsonl"
    with start_run("named", experiment_tracker=["other"], capture=f"{READING}=rows.jsonl") as run:
        file.write_text(json.dumps(["loss", 0.25, 1, NOW]) + "\n")
        folder = run.folder

    assert losses(other) == [["loss", 0.25, 1]]
    assert [source.source for source in load_description(folder).sources] == [f"{READING}={file}"]


def test_the_stack_says_what_is_captured_and_a_run_may_say_otherwise(other):
    with other.file.open("a") as file:
        file.write(f'[stacks.default]\nexperiment_trackers = ["other"]\ncapture = ["{SDK}"]\n')
    with start_run("stack"):
        log_loss(1.0)
    with start_run("none", capture=[]):
        assert native_sdk.folders_alone() == []
    with tracked_step(pipeline="p", step="s"):
        log_loss(2.0)

    assert losses(other) == [["loss", 1.0, 3], ["loss", 2.0, 3]]


def test_a_step_of_a_pipeline_captures_what_it_asks_for(other):
    @step(experiment_tracker=["other"], capture=SDK)
    def train() -> None:
        log_loss()

    @pipeline
    def training() -> None:
        train()

    training()

    assert losses(other) == [["loss", 0.5, 3]]


@pytest.mark.slow
def test_a_step_in_another_process_captures_without_a_tracker_that_several_may_write(other):
    with other.file.open("a") as file:
        file.write('[stacks.default]\norchestrator = "process"\n')
    code = f"""
import native_sdk
from trackyard import pipeline, step
from trackyard.contract import Metric

@step(experiment_tracker=["other"], capture={SDK!r})
def train() -> None:
    native_sdk.log(Metric("loss", 0.5, 3, {NOW}))

@pipeline
def training() -> None:
    train()

training()
"""
    (other.root / "run.py").write_text(code)
    done = other.command(sys.executable, "run.py")

    assert done.returncode == 0, done.stderr
    assert losses(other) == [["loss", 0.5, 3]]


def test_what_a_tracker_captures_needs_no_source(project):
    project.add_tracker("native", NativeTracker)
    project.add_tracker("other", Recorder)
    with start_run("both", experiment_tracker=["native", "other"], capture=SDK):
        assert native_sdk.folders_alone() == []
        log_loss()

    assert losses(project) == [["loss", 0.5, 3]]


def test_a_child_run_of_the_code_captures_what_its_parent_does(other):
    with (
        start_run("outer", experiment_tracker=["other"], capture=SDK),
        start_run("inner", nested=True),
    ):
        log_loss()

    assert losses(other) == [["loss", 0.5, 3]]


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        ("nothing", "'nothing'"),
        ("=logs", "write FLAVOR, or FLAVOR=FOLDER"),
        (7, "must be the name of a flavor"),
        ("recorder:Recorder", "captures calls as a tracker alone"),
        (f"{SDK}=logs", "reads no files"),
    ],
)
def test_what_cannot_be_captured_is_said_before_the_block_runs(other, capture, message):
    with pytest.raises(ConfigError, match=message):
        start_run("wrong", experiment_tracker=["other"], capture=capture)


def test_sources_that_somebody_else_has_written_are_not_believed(other):
    with start_run("mine", experiment_tracker=["other"], capture=SDK) as run:
        path = run.folder / "run.json"
    values = json.loads(path.read_text())
    values["sources"][0]["source"] = "evil:Class"
    path.write_text(json.dumps(values))

    assert load_description(path.parent).sources == ()
