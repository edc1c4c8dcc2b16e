"""Does what children log after their run's end reach its trackers, and is it said until then?"""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
from recorder import Recorder

from trackyard import Client, log_metric, start_run
from trackyard.journal.children import has_living_children
from trackyard.journal.pending import pending_folders
from trackyard.project.configuration import find_project
from trackyard.recovery import finishing
from trackyard.recovery.finishing import find_pending_runs


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


class Child:
    """A forked child that logs when it is told to, and outlives its run."""

    def __init__(self, rank=0):
        (read, self._orders), (self._answers, answer) = os.pipe(), os.pipe()
        self.process = os.fork()
        if not self.process:
            try:
                os.close(self._orders)
                os.environ["RANK"] = str(rank)
                while order := os.read(read, 1):
                    log_metric("child", float(order), step=int(order))
                    os.write(answer, b".")
            finally:
                os._exit(0)
        os.close(read)
        os.close(answer)

    def log(self, *values):
        for value in values:
            os.write(self._orders, str(value).encode())
            assert os.read(self._answers, 1) == b"."

    def end(self):
        os.close(self._orders)
        os.waitpid(self.process, 0)
        os.close(self._answers)


@contextmanager
def outliving(*before, rank=0):
    """Give the id of a run that has ended and its child, which lives and has logged before."""
    with start_run("parent", experiment="e") as run:
        child = Child(rank)
        child.log(*before)
    try:
        yield run.id, child
    finally:
        child.end()


def standing():
    """Say how the run stands on its tracker."""
    (health,) = Client().get_run("parent").health
    return health.state, health.delivered, health.pending


def test_late_records_of_a_child_are_pending_until_the_next_sync(local):
    with outliving(1) as (_, child):
        assert standing() == ("complete", 1, 0)
        child.log(2, 3)
    assert standing() == ("pending", 1, 2)
    (problem,) = [f for f in Client().doctor().problems if f.area == "runs"]
    assert (problem.text, problem.advice) == (
        "1 run(s) have not reached all of their trackers",
        "type: trackyard sync",
    )

    (row,) = Client().sync()

    assert (row.state, row.delivered, row.pending) == ("complete", 3, 0)
    assert local.logged("metrics") == [["child", 1.0, 1], ["child", 2.0, 2], ["child", 3.0, 3]]
    assert standing() == ("complete", 3, 0)
    assert Client().get_run("parent").status == "finished"
    assert {call["id"] for call in local.calls()} == {row.id}
    assert not local.calls("fail")
    assert Client().sync() == []
    assert pending_folders(find_project().home) == []


def test_child_that_logs_for_the_first_time_after_the_end_is_seen(local):
    with outliving() as (_, child):
        assert pending_folders(find_project().home) == []
        child.log(1)

    assert standing() == ("pending", 0, 1)
    assert [row.state for row in Client().sync()] == ["complete"]
    assert local.logged("metrics") == [["child", 1.0, 1]]


def test_failed_run_stays_failed_when_its_child_logs_on(local):
    children = []

    def fail():
        with start_run("parent", experiment="e"):
            children.append(Child())
            raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        fail()
    (child,) = children
    child.log(1)
    child.end()

    Client().sync()

    assert standing() == ("complete", 1, 0)
    assert Client().get_run("parent").status == "failed"
    assert {call["failure"]["message"] for call in local.calls("fail")} == {"odd"}
    assert not local.calls("end")


def test_run_with_a_living_child_is_complete_and_stays_noted(local, monkeypatch):
    started = []
    monkeypatch.setattr(finishing, "finish_in_background", started.append)
    project = find_project()
    with outliving(1) as (run_id, child):
        folder = project.home / "runs" / run_id
        assert has_living_children(folder)
        assert find_pending_runs(project) == []
        assert pending_folders(project.home) == [folder]
        finishing.recover_in_background(project)
        assert not started
        (kept,) = Client().collect_garbage(older_than=0)
        assert (kept.state, kept.reason) == ("kept", "a child of its process lives")
        child.log(2)
        finishing.recover_in_background(project)
        assert started == [project.root]
        assert [row.state for row in Client().sync()] == ["complete"]
        child.log(3)
    assert standing() == ("pending", 2, 1)


def test_late_records_of_other_ranks_are_journaled_only(local):
    with outliving(1, rank=1) as (_, child):
        child.log(2)

    assert standing() == ("complete", 0, 0)
    assert find_pending_runs(find_project()) == []
    assert pending_folders(find_project().home) == []


def test_late_records_of_other_ranks_count_where_the_tracker_takes_all(project):
    project.add_tracker("local", Recorder, rank="all")
    with outliving(1, rank=1) as (_, child):
        child.log(2)

    assert standing() == ("pending", 1, 1)
    Client().sync()
    assert project.logged("metrics") == [["rank1/child", 1.0, 1], ["rank1/child", 2.0, 2]]
