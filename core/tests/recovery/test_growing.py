"""Does the store say what runs come to that go on, and which have died?"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from recorder import Recorder

from trackyard import Client, start_run
from trackyard.journal import summaries
from trackyard.journal.pending import to_be_indexed_folders
from trackyard.journal.summaries import kept_summary
from trackyard.project.configuration import find_project
from trackyard.recovery.growing import GrowingRuns

DIES = """
import os
from trackyard import start_run
with start_run("dead", experiment_tracker=None) as run:
    run.log_metric("loss", 0.5)
    os._exit(9)
"""


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def folder_of(run):
    return find_project().home / "runs" / run.id


def names(filter):
    return [run.name for run in Client().search_runs(filter)]


def test_values_of_a_run_that_goes_on_are_in_the_store(local):
    growing = GrowingRuns(find_project())
    with start_run("on", experiment_tracker="local") as run:
        run.log_metric("loss", 0.5)
        assert names("metrics.loss = 0.5") == []
        growing.look_at([folder_of(run)])
        assert names("metrics.loss = 0.5 and status = 'running'") == ["on"]
        run.log_metric("loss", 0.25)
        growing.look_at([folder_of(run)])
        assert names("metrics.loss = 0.25") == ["on"]
        run.log_metric("loss", 0.125)

    assert names("metrics.loss = 0.125 and status = 'finished'") == ["on"]


def test_who_comes_late_leaves_a_run_ended(local):
    growing = GrowingRuns(find_project())
    with start_run("over", experiment_tracker="local") as run:
        run.log_metric("loss", 0.5)
    growing.look_at([folder_of(run)])

    assert names("status = 'finished'") == ["over"]
    assert names("status = 'running'") == []


def test_long_run_is_summed_up_beside_it_and_finished_after_its_end(local, monkeypatch):
    monkeypatch.setattr(summaries, "READ_AT_END", 0)
    growing = GrowingRuns(find_project())
    with start_run("long", experiment_tracker="local") as run:
        run.log_metric("loss", 0.5)
        growing.look_at([folder_of(run)])
        run.log_metric("loss", 0.25)
    assert kept_summary(folder_of(run)) is None
    assert to_be_indexed_folders(find_project().home) == [folder_of(run)]

    growing.finish([folder_of(run)])
    assert kept_summary(folder_of(run)).metrics["loss"]["last"] == 0.25
    assert to_be_indexed_folders(find_project().home) == []
    assert names("metrics.loss = 0.25 and status = 'finished'") == ["long"]


def test_run_that_no_tracker_follows_is_found_while_it_goes_on(project):
    with start_run("quiet", experiment_tracker=None) as run:
        for value in (0.5, 0.25):
            run.log_metric("loss", value)
            assert names(f"metrics.loss = {value} and status = 'running'") == ["quiet"]

    assert names("status = 'finished'") == ["quiet"]
    assert to_be_indexed_folders(find_project().home) == []


def test_run_that_was_killed_is_found_as_crashed_before_any_recovery(project):
    for has_looked in (False, True):
        process = [sys.executable, "-c", DIES]
        assert subprocess.run(process, cwd=project.root, check=False).returncode == 9
        assert len(names("status = 'crashed'")) == 1 + has_looked
    client = Client()
    assert names("status = 'running'") == []
    assert [run.status for run in client.list_runs(statuses=["crashed"])] == ["crashed"] * 2
    assert client.list_runs(statuses=["running"]) == []
    assert names("metrics.loss = 0.5") == ["dead", "dead"]


def test_a_run_that_is_deleted_while_somebody_looks_has_no_size_and_no_summary(local):
    with start_run("gone", experiment_tracker=None) as run:
        run.log_metric("loss", 0.5)
        folder = folder_of(run)
        assert summaries.journal_size(folder) > 0
    for path in folder.glob("*.tyj"):
        path.unlink()
    assert (summaries.journal_size(folder), kept_summary(folder)) == (0, None)
    shutil.rmtree(folder)

    assert (summaries.journal_size(folder), kept_summary(folder)) == (0, None)
