"""Does an event loop go on while the runs that it starts and ends wait for their trackers?"""

from __future__ import annotations

import asyncio
import sys
import time
from types import ModuleType

import pytest
from left_behind import wait_until
from recorder import Recorder

from trackyard import Client, RequiredTrackerError, hookimpl, log_metric, start_run, tracked_step
from trackyard.contract import process_values
from trackyard.contract.process_state import ProcessValueTakenError
from trackyard.tracking.event_loops import WAITING, must_go_on

RUNS = 5


class Held(Recorder):
    """Starts no run before the test says so."""

    @hookimpl
    def tracker_start_run(self, run):
        wait_until((self.directory / "go").exists)
        return super().tracker_start_run(run)


class Unstartable(Recorder):
    """Cannot be started."""

    @hookimpl
    def tracker_start_run(self, run):
        raise OSError("no such server")


@pytest.fixture
def held(project):
    project.add_tracker("local", Held, isolation="thread", start_timeout=60)
    folder = project.root / "calls" / "local"
    folder.mkdir(parents=True)
    return project, folder / "go"


def waited() -> bool:
    return not WAITING._waits


def test_coroutines_start_runs_without_waiting_and_the_url_is_waited_for_when_it_is_read(
    held, capsys
):
    project, go = held
    began = asyncio.Event()
    inside = []

    async def task(number):
        with start_run(f"r{number}", experiment="many") as run:
            inside.append(run)
            assert "without URL" in repr(run)
            run.log_metric("x", number)
            began.set() if len(inside) == RUNS else None
            await began.wait()
            go.touch()
            return run.url

    async def main():
        return await asyncio.gather(*(task(number) for number in range(RUNS)))

    urls = asyncio.run(main())

    assert urls == [f"https://tracker.test/many/{run.id}" for run in inside]
    wait_until(waited)
    assert project.hooks_by_run() == [["start", "log", "end"]] * RUNS
    assert sorted(value for _, value, _ in project.logged("metrics")) == [*range(RUNS)]
    said = capsys.readouterr().err
    assert all(url in said for url in urls)
    found = {run.id: run for run in Client().list_runs()}
    assert {run.id for run in inside} == found.keys()
    assert {run.status for run in found.values()} == {"finished"}


@pytest.mark.slow
def test_a_hundred_runs_whose_tracker_hangs_hold_a_loop_for_less_than_two_seconds(held):
    """By the time of its own thread: what other processes take of a busy machine counts not."""
    project, go = held
    times = []

    async def watch():
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.01)
            times.append(time.thread_time() - began)

    async def task(number):
        with start_run(f"r{number}", experiment="many") as run:
            run.log_metric("x", number)
            await asyncio.sleep(1)

    async def main():
        watching = asyncio.create_task(watch())
        await asyncio.gather(*(task(number) for number in range(100)))
        watching.cancel()

    asyncio.run(main())
    is_hanging = project.hooks() == []
    go.touch()

    assert is_hanging
    assert max(times) < 2.0
    wait_until(waited)
    assert {run.status for run in Client().list_runs()} == {"finished"}


def test_end_in_an_event_loop_is_waited_for_by_the_process_and_not_by_the_loop(held):
    project, go = held

    async def main():
        with tracked_step(pipeline="etl", step="train"):
            log_metric("x", 1.0)
        assert project.hooks() == []
        go.touch()

    asyncio.run(main())
    WAITING._finish()  # as when the process ends

    assert project.hooks() == ["start", "log", "end"]


def test_required_tracker_is_waited_for_in_an_event_loop_too(project):
    project.add_tracker("local", Unstartable, required=True, start_timeout=0.2)

    async def main():
        with pytest.raises(RequiredTrackerError, match="no such server"), start_run():
            pytest.fail("the block was run")

    asyncio.run(main())


def test_late_start_in_an_event_loop_is_said_once(project, caplog):
    project.add_tracker("local", Unstartable, flush_timeout=0)

    async def main():
        with tracked_step(pipeline="etl", step="train") as run:
            assert run.url is None

    asyncio.run(main())
    wait_until(waited)

    assert sum("could not be started" in text for text in caplog.messages) == 1


def test_value_that_another_block_of_the_same_thread_holds_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sys, "path_hooks_of_nobody", 1, raising=False)
    begun = time.monotonic()
    with (
        process_values({}, [(sys, "path_hooks_of_nobody", 2)]),
        pytest.raises(ProcessValueTakenError),
        process_values({}, [(sys, "path_hooks_of_nobody", 3)], patience=60),
    ):
        pytest.fail("the block was run")

    assert time.monotonic() - begun < 30


def test_asyncio_that_another_thread_is_importing_runs_no_loop(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncio", ModuleType("asyncio"))

    assert not must_go_on([])
