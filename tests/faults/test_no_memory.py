"""A block runs where there is no memory to track it, and what cannot be kept is counted."""

from __future__ import annotations

import gc
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from matrices import first_by_default

import trackyard
from trackyard import RequiredTrackerError, start_run, tracked_step
from trackyard.contract.errors import NoActiveRunError
from trackyard.system.interruption import start_thread
from trackyard.tracking.calls import current_run, log_metric

LITTLE = """
import resource, sys
import trackyard
trackyard.log_metric  # its module is imported
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
most = used + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
with trackyard.start_run("small") as run:
    trackyard.log_metric("loss", 1.0)
    run.log_param("rate", 0.1)
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit memory like that")
@pytest.mark.parametrize("megabytes", first_by_default([2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10]))
def test_l11_a_block_runs_with_a_few_megabytes_of_memory(faults, megabytes):
    faults.add_tracker(isolation="process")
    for _ in range(TRIES):
        done = faults.python(LITTLE, str(megabytes))
        if done.returncode not in ENDS_OF_PYTHON:
            break

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert done.stderr.count("Traceback") <= done.stderr.count("Exception ignored in")
    if not faults.run_folders() or not faults.journaled("loss"):
        assert re.search("2 (log call|record)\\(s\\) (are|were) lost", done.stderr)


# CPython ends a process in which an exception finds no memory to be made, whoever's it is: one in
# twenty of these.
ENDS_OF_PYTHON, TRIES = (-signal.SIGSEGV, -signal.SIGABRT), 4


PRODUCT = str(Path(trackyard.__file__).parent)


class NoMemory:
    """Has one call of Trackyard's find no memory.

    Args:
        wanted: Which call: that of this function; None only notes which ones there are.
    """

    def __init__(self, wanted: object = None) -> None:
        self.seen: dict[object, str] = {}
        self.wanted = wanted

    def __call__(self, frame, event, _) -> None:
        code = frame.f_code
        frame = None  # else it would look like a signal's handler
        if event == "call" and code.co_filename.startswith(PRODUCT):
            self.seen.setdefault(code, code.co_qualname)
            if code is self.wanted:
                sys.setprofile(None)
                raise MemoryError


# What the user's code itself calls has nobody around it who could bear anything.
OWN = {
    *("start_run", "tracked_step", "entered", "_Exit.__get__", "ActiveRun.leaving"),
    *("ActiveRun.__enter__", "_Opened.take", "leave_spared", "_nothing"),
}


def started(begin, at_start: NoMemory, at_end: NoMemory) -> None:
    """Run a block, in which a call finds no memory as it begins, or as it ends."""
    sys.setprofile(at_start)
    try:
        with begin() as run:
            sys.setprofile(None)
            assert current_run() is run
            log_metric("loss", 1)
            sys.setprofile(at_end)
    finally:
        sys.setprofile(None)
    with pytest.raises(NoActiveRunError):
        current_run()


@pytest.mark.long(reason="each call that Trackyard makes as a block begins and ends, one by one")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <generator:pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed:ResourceWarning",
)
@pytest.mark.parametrize("kind", ["block", "step"])
def test_l11_no_memory_at_any_call_as_a_block_begins_or_ends(faults, kind):
    faults.add_tracker(isolation="thread")

    def begin():
        if kind == "block":
            return start_run("short")
        return tracked_step(pipeline="other", step="train", run="1")

    usual = NoMemory(), NoMemory()
    started(begin, *usual)
    for code, name in usual[0].seen.items():
        if name not in OWN:
            started(begin, NoMemory(code), NoMemory())
    for code, name in usual[1].seen.items():
        if name not in OWN:
            started(begin, NoMemory(), NoMemory(code))

    assert len(usual[0].seen) > 100
    assert len(usual[1].seen) > 50


class NoMemoryInThread:
    """Has one call in a tracker's thread, which begins later, find no memory.

    Args:
        wanted: That of this function, by its file's name and its own.
    """

    def __init__(self, wanted: str = "") -> None:
        self.seen: dict[str, None] = {}
        self.wanted = wanted

    def __call__(self, frame, event, _) -> None:
        code, thread = frame.f_code, threading._active.get(threading.get_ident())
        if event != "call" or thread is None or thread.name != "trackyard-local":
            return
        name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
        # What the flavor opens in its hooks is its own to close.
        while frame is not None and "tests" not in Path(frame.f_code.co_filename).parts:
            frame = frame.f_back
        if frame is None:
            self.seen.setdefault(name)
            if name == self.wanted:
                self.wanted = ""
                sys.setprofile(None)
                raise MemoryError


def logged(faults, in_thread: NoMemoryInThread) -> float:
    """Run a block, where a call of its tracker's thread finds no memory; give its seconds."""
    begun = time.monotonic()
    threading.setprofile(in_thread)
    try:
        with start_run("starved"):
            log_metric("loss", 1, step=0)
            time.sleep(0.15)  # it is sent, and the next one alone
            log_metric("loss", 2, step=1)
    finally:
        threading.setprofile(None)
        gc.collect()  # no later test is told of what is left
    return time.monotonic() - begun


def is_whole(faults) -> bool:
    """Tell whether each block's metrics and end have arrived."""
    statuses = faults.statuses()
    return set(statuses) == {"finished"} and faults.values("loss") == [1, 2] * len(statuses)


# What Python says of a thread, or of a generator, that has found no memory.
DYING = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
# A thread that ends as it begins, what is read and not sent, what was set and is not taken back.
IN_THREAD = ["thread.WorkerThread._serve", "intake.Intake._adapt", "dispatch.TrackerHooks._call"]
# Seconds: who waits in vain waits for a minute, and a busy machine makes it no quarter of one.
IN_VAIN = 30
IN_LISTENER = ["process.RemoteDelivery.take", "decoder.JSONDecoder.decode"]


@pytest.mark.slow
@DYING
@pytest.mark.parametrize(
    ("isolation", "call"),
    [*(("thread", name) for name in IN_THREAD), *(("process", name) for name in IN_LISTENER)],
)
def test_l12_a_tracker_whose_thread_finds_no_memory_gets_everything(faults, isolation, call):
    faults.add_tracker(isolation=isolation, flush_timeout=60)
    took = logged(faults, starved := NoMemoryInThread(call))

    assert call in starved.seen
    assert took < IN_VAIN
    if not is_whole(faults):
        assert faults.trackyard("sync").returncode == 0
    assert is_whole(faults)


@pytest.mark.long(reason="each call that a tracker's thread makes for a run, one by one")
@DYING
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_l12_no_memory_at_any_call_of_a_trackers_thread(faults, isolation):
    faults.add_tracker(isolation=isolation, flush_timeout=60)
    logged(faults, usual := NoMemoryInThread())
    calls = list(usual.seen)
    took = {call: logged(faults, NoMemoryInThread(call)) for call in calls}

    assert faults.trackyard("sync").returncode == 0
    assert is_whole(faults)
    assert len(faults.statuses()) == 1 + len(calls)
    assert {call: seconds for call, seconds in took.items() if seconds > IN_VAIN} == {}
    assert len(calls) > (200 if isolation == "thread" else 10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_l12_a_thread_that_has_no_memory_to_begin_is_not_awaited(monkeypatch):
    monkeypatch.setattr(threading.Thread, "_set_native_id", no_memory)
    monkeypatch.setattr("trackyard.system.interruption._BEGINS_WITHIN", 0.1)
    with pytest.raises(MemoryError, match="has not begun"):
        start_thread(threading.Thread(target=print, daemon=True))


def no_memory(*_, **__):
    raise MemoryError


def test_l11_without_memory_for_its_tracker_a_run_stays_in_the_journal(faults, monkeypatch, caplog):
    faults.add_tracker(isolation="thread")
    monkeypatch.setattr("trackyard.project.trackers.Trackers.select", no_memory)
    with start_run("alone") as run:
        run.log_metric("loss", 1)

    assert faults.journaled("loss") == [1]
    assert "has nothing left for trackers" in caplog.text


def test_l11_without_memory_for_a_run_log_calls_are_counted(faults, monkeypatch, caplog):
    faults.add_tracker(isolation="thread")
    monkeypatch.setattr("trackyard.tracking.lifecycle.RunGroup._new_run", no_memory)
    with start_run("alone") as run:
        run.log_metrics({"loss": 1})
        run.log_text("text", "a.txt")
        log_metric("loss", 2)

    assert "run 'alone' was not tracked: 3 log call(s) are lost" in caplog.text


@pytest.mark.parametrize("part", ["Trackers.select", "Trackers.build"])
def test_l11_a_required_tracker_without_memory_stops_the_block(faults, monkeypatch, part):
    faults.add_tracker(isolation="thread", required=True)
    monkeypatch.setattr(f"trackyard.project.trackers.{part}", no_memory)
    with pytest.raises(RequiredTrackerError), start_run("alone"):
        pytest.fail("it ran")


def test_l11_the_users_own_memory_error_comes_through(faults):
    faults.add_tracker(isolation="thread")
    with pytest.raises(MemoryError, match="mine"), start_run("big"):
        raise MemoryError("mine")

    assert faults.statuses() == ["failed"]
