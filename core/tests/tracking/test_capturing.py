"""Do calls of an SDK itself reach the journal and the other trackers, and their own only once?"""

from __future__ import annotations

import time

import native_sdk
import pytest
from left_behind import wait_until
from native_sdk import NativeTracker
from recorder import Recorder

from trackyard import Client, start_run
from trackyard.contract import Artifact, Metric, Param, Tag
from trackyard.journal.reader import JournalReader

NOW = 1_790_000_000_123_456_789


@pytest.fixture
def two(project):
    project.add_tracker("native", NativeTracker)
    project.add_tracker("other", Recorder)
    return project


def entries(run):
    return JournalReader(run.folder).read(1000)


def test_a_captured_call_reaches_the_other_trackers_and_not_its_own(two):
    with start_run("both", experiment_tracker=["native", "other"]) as run:
        run.log_metric("portable", 1)
        native_sdk.log(
            Metric("loss", 0.5, 3, NOW), Metric("accuracy", 0.9, 3, NOW), Param("lr", 0.1)
        )

    assert [m[:3] for m in two.logged("metrics", "other")] == [
        ["portable", 1.0, None],
        ["loss", 0.5, 3],
        ["accuracy", 0.9, 3],
    ]
    assert two.logged("params", "other") == [["lr", 0.1]]
    assert [m[0] for m in two.logged("metrics", "native")] == ["portable"]
    assert two.logged("params", "native") == []


def test_one_call_is_one_entry_with_its_own_steps_and_times(two):
    with start_run("one", experiment_tracker=["native"]) as run:
        native_sdk.log(Metric("loss", 0.5, 3, NOW), Tag("stage", "dev"), position="row 1")
        folder = run.folder

    captured = [(at, entry) for at, entry in JournalReader(folder).read(1000) if entry.held_by]
    assert len({at for at, _ in captured}) == 1
    assert [entry.kind for _, entry in captured] == ["metrics", "tags"]
    assert captured[0][1].records() == [Metric("loss", 0.5, 3, NOW)]
    assert captured[0][1].held_by[:3] == ("native", run.id, "row 1")


def test_runs_show_what_native_calls_logged(two):
    with start_run("shown", experiment_tracker=["native"]) as run:
        native_sdk.log(Metric("loss", 0.5, 1, NOW), Metric("loss", 0.25, 2, NOW + 1))

    shown = Client().get_run(run.id)
    assert shown.metrics["loss"].last == 0.25


def test_files_of_native_calls_are_copied_before_the_call_returns(two, tmp_path):
    file = tmp_path / "plot.txt"
    file.write_text("first")
    with start_run("files", experiment_tracker=["native", "other"]) as run:
        native_sdk.log(Artifact("plots/plot.txt", file, "text", "text/plain"))
        file.write_text("changed meanwhile")

    ((name, *_, content),) = two.logged("artifacts", "other")
    assert (name, content) == ("plots/plot.txt", "first")
    assert two.logged("artifacts", "native") == []
    assert run.id


def test_a_position_that_the_journal_has_is_not_written_again(two):
    with start_run("twice", experiment_tracker=["native", "other"]):
        native_sdk.log(Metric("loss", 1.0, 1, NOW), position="7")
        native_sdk.log(Metric("loss", 1.0, 1, NOW), position="7")

    assert len(two.logged("metrics", "other")) == 1


def test_what_was_logged_to_another_remote_run_is_sent(two):
    with start_run("local target", experiment_tracker=["native"]):
        native_sdk.log(Metric("loss", 1.0, 1, NOW), remote_id="kept here")

    assert [m[:2] for m in two.logged("metrics", "native")] == [["loss", 1.0]]


def test_a_tracker_whose_own_sdk_is_called_gets_no_other_sdks_calls(two):
    two.add_tracker("second", native_sdk.OtherNativeTracker)
    with start_run("two SDKs", experiment_tracker=["native", "second", "other"]):
        native_sdk.log(Metric("loss", 1.0, 1, NOW))  # by the one that was activated last
        time.sleep(0.3)  # three times what records gather for: it is not sent meanwhile
        native_sdk._active.reverse()
        native_sdk.log(Metric("loss", 1.0, 1, NOW))
        native_sdk._active.reverse()

    assert two.logged("metrics", "native") == []
    assert two.logged("metrics", "second") == []
    assert len(two.logged("metrics", "other")) == 2


def test_nothing_is_captured_where_a_tracker_says_so(project):
    project.add_tracker("native", NativeTracker, capture=False)
    with start_run("off", experiment_tracker=["native"]) as run:
        run.log_metric("portable", 1)
        native_sdk.log(Metric("loss", 1.0, 1, NOW))
        folder = run.folder

    assert [e.records()[0].key for _, e in JournalReader(folder).read(10) if e.records()] == [
        "portable"
    ]


def test_secrets_in_native_calls_are_not_kept(two):
    secret = "ghp_" + "a1B2" * 9
    with start_run("secrets", experiment_tracker=["native", "other"]):
        native_sdk.log(Param("api_key", secret), Tag("note", f"key {secret}"))

    assert secret not in str(two.calls("log", "other"))
    assert [key for key, _ in two.logged("params", "other")] == ["api_key"]


@pytest.mark.slow
def test_a_replay_to_the_same_tracker_and_to_another_has_native_calls(two):
    with start_run("moves", experiment_tracker=["native"]) as run:
        native_sdk.log(Metric("loss", 1.0, 1, NOW))

    assert two.trackyard("replay", run.id, "--to", "other").returncode == 0
    assert [m[:2] for m in two.logged("metrics", "other")] == [["loss", 1.0]]


def test_records_that_cannot_be_kept_never_raise_into_the_sdks_call(two, caplog):
    with start_run("broken", experiment_tracker=["native"]):
        native_sdk.log(Metric("loss", "no number", 1, NOW))
        native_sdk.log(Metric("loss", 1.0, 1, NOW))

    assert "calls of its SDK reach no other tracker" in caplog.text


@pytest.fixture
def filing(project):
    project.add_tracker("filing", native_sdk.FilingTracker)
    project.add_tracker("other", Recorder)
    return project


def test_what_an_sdks_files_hold_is_journaled_and_reaches_the_others(filing):
    with start_run("files", experiment_tracker=["filing", "other"]) as run:
        native_sdk.log_to_file("loss", 1.0, 1)
        wait_until(lambda: filing.logged("metrics", "other"))  # while it lives
        native_sdk.log_to_file("loss", 0.5, 2)
        run.log_metric("portable", 1)

    assert sorted(filing.logged("metrics", "other")) == [
        ["loss", 0.5, 2],
        ["loss", 1.0, 1],
        ["portable", 1.0, None],
    ]
    assert [key for key, *_ in filing.logged("metrics", "filing")] == ["portable"]
    assert Client().get_run(run.id).metrics["loss"].last == 0.5


def test_the_files_of_a_further_run_of_the_sdks_are_read_into_its_child_run(filing):
    with start_run("parent", experiment_tracker=["filing", "other"]) as run:
        native_sdk.log_to_file("loss", 1.0, 1)
        with native_sdk.another_run("child"):
            native_sdk.log_to_file("loss", 0.5, 2)

    (child,) = Client().get_run(run.id).children
    found = [Client().get_run(key).steps[0].curves["loss"].values for key in (run.id, child.id)]
    assert found == [[1.0], [0.5]]


def test_what_an_sdks_files_hold_survives_a_kill(filing):
    code = (
        "import os, native_sdk, trackyard\n"
        "with trackyard.start_run('killed', experiment_tracker=['filing', 'other']):\n"
        "    native_sdk.log_to_file('loss', 1.0, 1)\n"
        "    native_sdk.log_to_file('loss', 0.5, 2)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert filing.python(code).returncode == -9

    assert filing.trackyard("sync").returncode == 0
    assert sorted(filing.logged("metrics", "other")) == [["loss", 0.5, 2], ["loss", 1.0, 1]]
    assert filing.logged("metrics", "filing") == []
    assert filing.trackyard("sync").returncode == 0
    assert len(filing.logged("metrics", "other")) == 2


def test_a_param_has_its_first_value_and_a_later_one_is_a_tag(two):
    with start_run("changed", experiment_tracker=["native", "other"]):
        native_sdk.log(Param("lr", 0.1))
        native_sdk.log(Param("lr", 0.1), Param("depth", 3))
        native_sdk.log(Param("lr", 0.2))

    assert two.logged("params", "other") == [["lr", 0.1], ["depth", 3]]
    assert two.logged("tags", "other") == [["lr", "0.2"]]
