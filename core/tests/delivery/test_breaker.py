"""Does a tracker that fails get a rest for all of its runs, and does each run still end?"""

from __future__ import annotations

import time
from threading import Event

import pytest
from ledgers import AlwaysRaising, AtTheEnd, Counting, Cursor, Rebuilt
from matrices import first_by_default

from trackyard import pipeline, start_run, step
from trackyard.delivery import breaker as breakers
from trackyard.delivery.breaker import Breaker, breaker_of
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import find_pending_runs, sync_all

QUICK = {"isolation": "thread"}


@pytest.fixture(autouse=True)
def _no_breakers_of_other_tests(monkeypatch):
    monkeypatch.setattr(breakers, "_breakers", {})


def order(project, word, text=""):
    (project.root / "calls" / "local").mkdir(parents=True, exist_ok=True)
    (project.root / "calls" / "local" / word).write_text(text)


def revoke(project, word):
    (project.root / "calls" / "local" / word).unlink()


def tried(project):
    path = project.root / "calls" / "local" / "tried"
    return path.read_text().split() if path.exists() else []


def wait_until(fact, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


# The breaker


def test_it_lets_everything_through_until_three_failures_in_a_row():
    breaker = Breaker()
    for _ in range(2):
        breaker.failed("away")
        assert breaker.lets_through()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.lets_through()
        breaker.failed("away")

    assert not breaker.lets_through()
    assert (breaker.is_open, breaker.problem) == (True, "away")


def test_open_it_lets_one_probe_through_at_a_time_and_a_success_closes_it():
    breaker = Breaker()
    for _ in range(3):
        breaker.failed("away")
    breaker.hurry()

    assert breaker.lets_through()
    assert not breaker.lets_through()
    breaker.has_served()
    assert breaker.lets_through()
    breaker.succeeded()
    breaker.has_served()
    assert [breaker.lets_through() for _ in range(3)] == [True] * 3


def test_what_the_backend_asks_for_holds_everyone_also_those_who_hurry():
    breaker = Breaker()
    breaker.failed("429", after=100)
    breaker.hurry()

    assert not breaker.lets_through()
    assert 99 < breaker.due() - time.monotonic() <= 100


def test_a_process_has_one_for_each_tracker_of_a_project(tmp_path):
    assert breaker_of(tmp_path, "a") is breaker_of(tmp_path, "a")
    assert breaker_of(tmp_path, "a") is not breaker_of(tmp_path, "b")
    assert breaker_of(tmp_path, "a") is not breaker_of(tmp_path / "other", "a")


# Runs of a tracker that is down


def test_runs_of_a_tracker_that_is_down_wait_together_and_go_on_together(project):
    project.add_tracker("local", Counting, start_timeout=0.2, flush_timeout=10, **QUICK)
    order(project, "down")
    up = Event()

    @step(experiment_tracker="local")
    def train(number):
        time.sleep(0.05)
        if number == 19:
            assert len(tried(project)) < 15  # and not one for each of 20 runs, again and again
            revoke(project, "down")
            wait_until(lambda: len(project.calls("end")) == 19)
            up.set()
        return number + 1

    @pipeline
    def line():
        number = 0
        for _ in range(20):
            number = train(number)

    begun = time.monotonic()
    line()

    assert up.is_set()
    assert time.monotonic() - begun < 20
    assert len(project.calls("end")) == 20


def test_a_later_run_does_not_wait_for_a_tracker_that_is_known_to_be_down(project):
    project.add_tracker("local", Counting, start_timeout=60, flush_timeout=0.1, **QUICK)
    order(project, "down")
    breaker = breaker_of(find_project().root, "local")
    with start_run():
        wait_until(lambda: breaker.is_open)
    begun = time.monotonic()
    with start_run():
        assert time.monotonic() - begun < 30


def test_retry_after_holds_the_other_runs_of_the_tracker_too(project):
    project.add_tracker("local", Counting, start_timeout=0.1, flush_timeout=10, **QUICK)
    order(project, "busy", "1.5")

    @step(experiment_tracker="local")
    def train(number):
        if number == 2:
            revoke(project, "busy")
            wait_until(lambda: len(project.calls("end")) == 2)
        return number + 1

    @pipeline
    def line():
        train(train(train(0)))

    line()
    moments = list(map(float, tried(project)))

    assert moments[1] - moments[0] >= 1.5
    assert len(project.calls("end")) == 3


# The end has a lane of its own


@pytest.mark.parametrize("records", [3, 300])
def test_tracker_that_raises_for_all_records_still_gets_the_end(project, records):
    project.add_tracker("local", AlwaysRaising, flush_timeout=3, **QUICK)

    def fail():
        with start_run() as run:
            for number in range(records):
                run.log_metric("loss", number)
            raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        fail()

    assert {call["failure"]["message"] for call in project.calls("fail")} == {"odd"}


def test_the_end_goes_before_records_that_are_not_taken_now_and_they_follow(project):
    project.add_tracker("local", Counting, flush_timeout=2, **QUICK)
    order(project, "log down")
    with start_run() as run:
        for number in range(10):
            run.log_metric("loss", number)

    assert project.hooks()[:2] == ["start", "end"]
    assert project.logged("metrics") == []
    assert find_pending_runs(find_project())
    revoke(project, "log down")
    sync_all(find_project(), patience=5)

    assert [value for _, value, _ in project.logged("metrics")] == list(range(10))
    assert project.hooks()[-3:] == ["start", "log", "end"]
    assert find_pending_runs(find_project()) == []


def test_records_that_are_too_many_at_once_are_sent_in_smaller_batches_from_then_on(project):
    project.add_tracker("local", Counting, flush_timeout=30, **QUICK)
    order(project, "most", "60")
    with start_run() as run:
        for number in range(2500):
            run.log_metric("loss", number)

    sizes = [len(call["metrics"]) for call in project.calls("log")]
    assert [value for _, value, _ in project.logged("metrics")] == list(range(2500))
    assert max(sizes) <= 60
    assert len(tried(project)) < len(sizes) + 40  # it is learnt once


def test_a_moment_of_trouble_with_an_odd_error_costs_no_record(project):
    project.add_tracker("local", AlwaysRaising, times=1, flush_timeout=20, **QUICK)
    with start_run() as run:
        run.log_metric("loss", 1)

    assert project.logged("metrics") == [["loss", 1.0, None]]
    assert project.hooks()[-1] == "end"


# Backends that are not idempotent by nature


@pytest.mark.parametrize("isolation", first_by_default(["thread", "process"]))
def test_cursor_of_the_backend_keeps_what_it_has_from_coming_twice(project, isolation, monkeypatch):
    import os
    import sys

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    project.add_tracker("local", Cursor, flush_timeout=20, isolation=isolation)
    order(project, "lose")  # the answers to the first two batches
    with start_run() as run:
        for number in range(500):
            run.log_metric("loss", number)

    assert [value for _, value, _ in project.logged("metrics")] == list(range(500))
    assert project.hooks()[-1] == "end"


PROGRAM = """
import os, signal
from trackyard import start_run
with start_run("victim") as run:
    if os.fork() == 0:
        for number in range(40):
            run.log_metric("child", number)
        os._exit(0)
    for number in range(40):
        run.log_metric("loss", number)
    os.wait()
    for number in range(40, 80):
        run.log_metric("loss", number)
"""


def test_cursor_holds_after_a_kill_between_a_batch_and_its_acknowledgement(project):
    """Also where processes wrote side by side, and the journal has grown since."""
    project.add_tracker("local", Cursor, flush_timeout=20, isolation="thread")
    order(project, "die", "2")  # after the second batch
    assert project.python(PROGRAM).returncode == -9
    before = project.logged("metrics")
    sync_all(find_project(), patience=5)
    values = project.logged("metrics")

    assert 0 < len(before) < len(values)
    for key, count in (("loss", 80), ("child", 40)):
        logged = [value for name, value, _ in values if name == key]
        assert logged == sorted(set(logged))
        assert len(logged) <= count
    assert project.hooks()[-1] in {"fail", "end"}  # it had ended by then, or not


def test_cursor_of_the_backend_counts_where_ours_is_lost(project):
    project.add_tracker("local", Cursor, flush_timeout=0.3, isolation="thread")
    order(project, "end down")
    with start_run() as run:
        for number in range(50):
            run.log_metric("loss", number)
        wait_until(lambda: len(project.logged("metrics")) == 50)
    (pending,) = find_pending_runs(find_project())
    (pending.folder / "local" / "delivery.json").unlink()
    revoke(project, "end down")
    sync_all(find_project(), patience=5)

    assert len(project.logged("metrics")) == 50
    assert project.hooks()[-1] == "end"


@pytest.mark.parametrize("flavor", [AtTheEnd, Rebuilt])
def test_what_is_kept_at_the_end_alone_is_sent_from_its_first_record(project, flavor):
    project.add_tracker("local", flavor, isolation="thread")
    process = project.python(
        """
import os, signal, time
from pathlib import Path
from trackyard import start_run
with start_run("victim") as run:
    run.log_metric("loss", 1)
    while not Path("calls/local/calls.jsonl").read_text().count("log"):
        time.sleep(0.01)
    run.log_metric("loss", 2)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert process.returncode == -9
    sync_all(find_project(), patience=5)

    last = max(i for i, call in enumerate(project.calls()) if call["hook"] == "start")
    again = [metric[1] for call in project.calls()[last:] for metric in call.get("metrics", [])]
    assert again == [1.0, 2.0]
    assert project.hooks()[-1] == "fail"
    assert project.calls("start")[-1]["attached"]


def test_a_run_that_has_to_be_rebuilt_is_so_after_a_lost_answer(project):
    project.add_tracker("local", Rebuilt, isolation="thread", flush_timeout=20)
    with start_run() as run:
        run.log_metric("loss", 1)
        wait_until(lambda: project.logged("metrics"))
        order(project, "lose", "1")
        run.log_metric("loss", 2)

    last = max(i for i, call in enumerate(project.calls()) if call["hook"] == "start")
    again = [metric[1] for call in project.calls()[last:] for metric in call.get("metrics", [])]
    assert again == [1.0, 2.0]
    assert project.hooks()[-1] == "end"
    (state,) = (find_project().home / "runs").glob("*/local/delivery.json")
    assert '"is_ended": true' in state.read_text()
