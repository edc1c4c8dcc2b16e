"""Is a run's status true however it ends: while threads log on, and whatever it raised?"""

from __future__ import annotations

import json
import logging
from collections import Counter
from threading import Event, Thread

import pytest
from matrices import first_by_default
from recorder import Recorder

import trackyard
from trackyard import Client, pipeline, start_run, step, tracked_step
from trackyard.journal.ending import find_end
from trackyard.journal.reader import JournalReader
from trackyard.project.configuration import find_project
from trackyard.store import Store

DURABILITIES = ["process", "interval", "record"]
SIZES = [25_000, 40_000, 200_000, 2_000_000]


def blocks_with_a_thread_that_logs_on(count: int) -> list[str]:
    """Run blocks that end while a thread of theirs logs; give their ids."""
    ids = []
    for number in range(count):
        is_over, has_logged = Event(), Event()
        with start_run(f"block-{number}") as run:

            def log_on(run=run, is_over=is_over, has_logged=has_logged) -> None:
                while not is_over.is_set():
                    run.log_metric("loss", 0.5)
                    has_logged.set()

            thread = Thread(target=log_on)
            thread.start()
            assert has_logged.wait(30)
        is_over.set()
        thread.join()
        ids.append(run.id)
    return ids


def statuses() -> Counter[str]:
    return Counter(run.status for run in Client().list_runs(most=10_000))


def assert_nothing_stands_behind_an_end(project, ids: list[str]) -> None:
    for id_ in ids:
        folder = project.root / ".trackyard" / "runs" / id_
        reader = JournalReader(folder)
        *_, (_, last) = reader.read(10**9)
        assert last.kind == "end"
        assert reader.lost == 0
        assert find_end(folder).entry == last


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_thread_that_logs_while_its_block_ends_leaves_it_finished(project, durability):
    project.configure(
        f'[journal]\ndurability = "{durability}"\n[stacks.default]\nexperiment_trackers = []\n'
    )
    ids = blocks_with_a_thread_that_logs_on(8)

    assert statuses() == {"finished": 8}
    assert_nothing_stands_behind_an_end(project, ids)


@pytest.mark.long(reason="300 blocks each, three times: the race is rare")
@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("time", [1, 2, 3])
def test_300_blocks_whose_threads_log_on_are_finished(project, durability, time):
    project.configure(
        f'[journal]\ndurability = "{durability}"\n[stacks.default]\nexperiment_trackers = []\n'
    )
    ids = blocks_with_a_thread_that_logs_on(300)

    assert statuses() == {"finished": 300}
    assert_nothing_stands_behind_an_end(project, ids)


@pytest.mark.parametrize("durability", first_by_default(DURABILITIES))
def test_trackers_end_a_run_whose_thread_logs_on(project, durability):
    project.configure(f'[journal]\ndurability = "{durability}"\n')
    project.add_tracker("local", Recorder)
    blocks_with_a_thread_that_logs_on(5)

    assert statuses() == {"finished": 5}
    assert all(hooks[-1] == "end" for hooks in project.hooks_by_run())


def test_what_is_logged_after_the_end_is_lost_and_said_once(project, caplog):
    project.configure("[stacks.default]\nexperiment_trackers = []\n")
    with start_run("ended") as run:
        run.log_metric("loss", 0.5)
    with caplog.at_level(logging.WARNING, "trackyard"):
        run.log_metric("loss", 0.25)
        run.log_param("rate", 0.1)
        run.log_text("late", "notes.txt")

    assert caplog.text.count("the run has ended; what is logged to it from now on is lost") == 1
    assert Client().get_run(run.id).metrics["loss"].last == 0.5


def raises(size: int) -> None:
    trackyard.log_metric("loss", 0.5)
    raise ValueError("x " * (size // 2))


@pytest.mark.parametrize("sizes", first_by_default([[40_000], SIZES]), ids=len)
def test_blocks_that_raised_long_messages_have_failed_in_every_view(project, sizes):
    project.configure("[stacks.default]\nexperiment_trackers = []\n")
    runs = []
    for size in sizes:
        with pytest.raises(ValueError, match="x x"), start_run(f"long-{size}") as run:
            raises(size)
        runs.append(run)

    assert statuses() == {"failed": len(sizes)}
    for run in runs:
        assert Client().get_run(run.id).status == "failed"
        shown = json.loads(project.trackyard("runs", "show", run.id, "--json").stdout)
        assert shown["status"] == "failed"
        assert find_end(run.folder).entry.data.message.startswith("x x")
    listed = json.loads(project.trackyard("runs", "list", "--json").stdout)
    assert [row["status"] for row in listed] == ["failed"] * len(sizes)
    assert "crashed" not in project.trackyard("doctor").stdout


@pytest.mark.parametrize("sizes", first_by_default([[40_000], SIZES]), ids=len)
def test_steps_that_raised_long_messages_have_failed_in_every_row(project, sizes):
    project.configure("[stacks.default]\nexperiment_trackers = []\n")
    for size in sizes:

        @step
        def breaks(size: int) -> None:
            raises(size)

        @pipeline
        def training(size: int = size) -> None:
            breaks(size)

        with pytest.raises(ValueError, match="x x"):
            training()
        with (
            pytest.raises(ValueError, match="x x"),
            tracked_step(pipeline="other", run=f"run-{size}", step="breaks"),
        ):
            raises(size)

    assert statuses() == {"failed": 2 * len(sizes)}
    store = Store.of(find_project())
    rows = [row for run in Client().list_runs() for row in store.list_step_runs(run.id)]
    store.close()
    assert [row.status for row in rows] == ["failed"] * 2 * len(sizes)
