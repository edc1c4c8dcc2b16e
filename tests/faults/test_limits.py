"""At the limits of the system the step goes on, and what cannot be kept is counted."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from matrices import cut

from trackyard import current_run, start_run
from trackyard.contract.errors import NoActiveRunError
from trackyard.journal.ending import find_end
from trackyard.journal.entries import dropped_in

HEAD = """
import os, resource, sys
import trackyard
"""


def dropped(faults, folder) -> int:
    return sum(dropped_in(entry) for entry in faults.journal(folder))


def refuse_threads(monkeypatch) -> None:
    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "_start_new_thread", refuse)
    monkeypatch.setattr(threading, "_start_joinable_thread", refuse, raising=False)


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_l1_no_thread_can_be_started(faults, isolation, monkeypatch, caplog):
    faults.add_tracker(isolation=isolation)
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with start_run("alone") as run:
            run.log_metric("loss", 1)

    assert "no thread can be started" in caplog.text
    assert faults.journaled("loss") == [1]
    assert faults.trackyard("sync").returncode == 0
    assert faults.values("loss") == [1]
    assert faults.statuses() == ["finished"]


@pytest.mark.slow
def test_l2_no_process_can_be_started(faults, monkeypatch, caplog):
    faults.add_tracker(isolation="process")
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "1")

    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", refuse)
        with start_run("alone") as run:
            run.log_metric("loss", 1)

    assert "its worker process cannot be started" in caplog.text
    assert faults.trackyard("sync").returncode == 0
    assert faults.values("loss") == [1]
    assert faults.statuses() == ["finished"]


MANY = (
    HEAD
    + """
import contextlib
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
with contextlib.ExitStack() as stack:
    for number in range(int(sys.argv[1])):
        run = stack.enter_context(trackyard.start_run(f"run {number}"))
        run.log_metric("loss", number)
        print("step", number)
    print(len(os.listdir("/proc/self/fd")))
    open("/dev/null").close()
"""
)


@pytest.mark.slow
def test_l3_a_hundred_runs_at_once_with_256_open_files(faults):
    faults.add_tracker()
    done = faults.python(MANY, "100")

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout.splitlines()[-1]) < 240
    assert sorted(faults.values("loss")) == list(range(100))
    assert faults.statuses() == ["finished"] * 100


MANY_FILES = (
    HEAD
    + """
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]

@trackyard.step(experiment_tracker=True)
def fit() -> int:
    print("a line")
    os.write(1, b"a line of C\\n")
    trackyard.log_metric("loss", 1)
    return 7

print(trackyard.pipeline(fit)().steps["fit"].outputs["output"].load())
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("orchestrator", ["local", "process"])
def test_l13_more_than_a_thousand_files_are_open(faults, orchestrator):
    faults.add_tracker()
    with (faults.root / "trackyard.toml").open("a", encoding="utf-8") as file:
        file.write("\n[stacks.default]\nexperiment_trackers = ['local']\n")
        file.write(f"orchestrator = '{orchestrator}'\n")
    done = faults.python(MANY_FILES)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "7"
    assert "select" not in done.stderr
    assert faults.values("loss") == [1]
    assert set(faults.statuses()) == {"finished"}


def test_l4_no_memory_for_a_map(faults, monkeypatch):
    faults.add_tracker(isolation="thread")

    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("mmap.mmap", refuse)
    with start_run("small") as run:
        for number in range(100):
            run.log_metric("loss", number)

    assert faults.values("loss") == list(range(100))
    assert faults.statuses() == ["finished"]


DEEP = (
    HEAD
    + """
def deep(calls, log):
    if log:
        trackyard.log_metric("loss", calls)
        trackyard.log_param(f"p{calls}", calls)
    return deep(calls - 1, log) + 1 if calls else 0

most = 900
while True:  # what fits without a log call
    try:
        deep(most, False)
    except RecursionError:
        break
    most += 1
with trackyard.start_run("deep"):
    print(deep(most - 2, True), most - 2)
    trackyard.log_metric("after", 1)
"""
)


@pytest.mark.slow
def test_l5_the_depth_of_calls_is_nearly_used_up(faults):
    faults.add_tracker(isolation="thread")
    done = faults.python(DEEP)

    assert done.returncode == 0, done.stderr
    depth, most = map(int, done.stdout.split())
    assert depth == most
    (folder,) = faults.run_folders()
    kept = len(faults.journaled("loss"))
    params = [entry for entry in faults.journal() if entry.kind == "params"]
    assert faults.journaled("after") == [1]
    assert kept > 100
    assert dropped(faults, folder) == 2 * (most + 1) - kept - len(params) > 0
    assert "record(s) were lost" in done.stderr
    assert faults.statuses() == ["finished"]


def test_l6_a_journal_is_cut_before_the_run_ends(faults):
    """Cut between two log calls it kills a process that has mapped it: see the README."""
    faults.add_tracker(isolation="thread")
    with start_run("cut") as run:
        run.log_metric("loss", 1)
        (segment,) = run.folder.glob("*.tyj")
        os.truncate(segment, 0)

    assert faults.statuses() == ["finished"]


def test_l6_a_journal_without_a_map_is_cut(faults, monkeypatch):
    faults.add_tracker(isolation="thread")
    monkeypatch.delattr(os, "posix_fallocate")
    with start_run("cut") as run:
        run.log_metric("loss", 1)
        (segment,) = run.folder.glob("*.tyj")
        os.truncate(segment, 0)
        run.log_metric("loss", 2)

    assert faults.journaled("loss")[-1] == 2
    assert faults.statuses() == ["finished"]


class Late(Exception):
    """A time limit of the user's own."""


class LateTimeout(TimeoutError):
    """Another one, which is an OSError, as `TimeoutError` is."""


def alarm_in(seconds: float, error: type[Exception]) -> None:
    def limit(*_):
        raise error("the user's limit")

    signal.signal(signal.SIGALRM, limit)
    signal.setitimer(signal.ITIMER_REAL, seconds)


@pytest.fixture(autouse=True)
def _no_alarm():
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class Slow:
    """A value that takes its time."""

    def __float__(self):
        time.sleep(10)
        return 1.0

    def __str__(self):
        time.sleep(10)
        return "slow"

    __repr__ = __str__

    def item(self):
        time.sleep(10)


CALLS = {
    "metric": lambda run, _: run.log_metric("loss", Slow()),
    "metrics": lambda run, _: run.log_metrics({"loss": Slow()}),
    "param": lambda run, _: run.log_param("rate", Slow()),
    "nested param": lambda run, _: run.log_param("rates", [Slow()]),
    "tags": lambda run, _: run.set_tags({"tag": Slow()}),
    "dict": lambda run, _: run.log_dict({"a": Slow()}, "a.json"),
    "text": lambda run, _: run.log_text(Slow(), "a.txt"),
    "file": lambda run, path: run.log_artifact(path),
}


@pytest.mark.parametrize("error", [LateTimeout, pytest.param(Late, marks=pytest.mark.slow)])
@pytest.mark.parametrize("call", CALLS)
def test_l8_what_a_signal_handler_raises_in_a_log_call_comes_through(
    faults, call, error, tmp_path, monkeypatch
):
    big = tmp_path / "big.bin"
    if call == "file":
        with big.open("wb") as file:
            file.truncate(2**29)
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    faults.add_tracker(isolation="thread")
    has_raised = False
    try:
        with start_run("limited") as run:
            run.log_metric("loss", 1)
            alarm_in(0.05, error)
            CALLS[call](run, big)
    except error:
        has_raised = True

    assert has_raised
    assert faults.journaled("loss") == [1]
    assert faults.statuses() == ["failed"]


def alarm_at_any_time(times: int, seed: int, **options) -> int:
    """Open and leave blocks while an alarm goes off somewhere; gives how often it did.

    None goes off in one of ten: it shows how long a block takes on a machine that may be busy.
    """
    draw, alarms, usual = random.Random(seed), 0, 0.0

    def limit(*_):
        raise Late

    signal.signal(signal.SIGALRM, limit)
    for number in range(times):
        begun, is_measured = time.monotonic(), number % 10 == 0
        try:
            try:
                if not is_measured:
                    signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-4, 2 * usual))
                with start_run(f"run {number}", **options) as run:
                    run.log_metric("loss", 1)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Late:  # also where it goes off just before it is taken back
            alarms += 1
        if is_measured:
            usual = time.monotonic() - begun
        with pytest.raises(NoActiveRunError):
            current_run()
        assert "TRACKYARD_RUN_ID" not in os.environ
    return alarms


# An alarm may go off between the opening of a file and the `with` that would close it.
# Python itself swallows what is raised in the callback of a weak reference or of the collector of
# garbage (hypothesis has one), or as a generator goes.
interrupted = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <generator:pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored in. <finalize:pytest.PytestUnraisableExceptionWarning",
    "ignore:Exception ignored in. <function WeakSet:pytest.PytestUnraisableExceptionWarning",
    r"ignore:Exception ignored in. <function \S*gc_call:pytest.PytestUnraisableExceptionWarning",
)


class Moments:
    """At which moments does Python run a signal's handler as a block ends?

    Where a function begins, or one in C has returned, of which a profiler is told.

    Args:
        wanted: The moment, if any, at which this raises as a handler may.
    """

    def __init__(self, wanted: tuple[str, object] | None = None) -> None:
        self.seen: dict[tuple[str, object], str] = {}
        self.wanted = wanted

    def __call__(self, frame, event, function) -> None:
        if event in ("call", "c_return"):
            moment = (event, frame.f_code if event == "call" else function.__qualname__)
            self.seen.setdefault(moment, frame.f_code.co_qualname)
            if moment == self.wanted:
                sys.setprofile(None)
                raise Late

    def leave_a_block(self) -> Path:
        """Have a block end, and give the run's folder."""
        with suppress(Late):
            try:
                with start_run("short", experiment_tracker=None) as run:
                    run.log_metric("loss", 1)
                    sys.setprofile(self)
            finally:
                sys.setprofile(None)
        return run.folder


@interrupted
@pytest.mark.slow
@pytest.mark.usefixtures("faults")
def test_l9_an_alarm_at_each_call_as_a_block_ends_leaves_no_run_behind():
    writes = sys.stdout.write, sys.stderr.write
    usual = Moments()
    usual.leave_a_block()
    for moment, function in usual.seen.items():
        folder = Moments(moment).leave_a_block()
        with pytest.raises(NoActiveRunError):
            current_run()
        assert "TRACKYARD_RUN_ID" not in os.environ
        assert find_end(folder) is not None, (moment, function)
        assert (sys.stdout.write, sys.stderr.write) == writes, (moment, function)

    assert len(usual.seen) > 50


@pytest.mark.slow
@interrupted
def test_l9_an_alarm_as_a_block_begins_or_ends_leaves_no_run_behind(faults):
    assert alarm_at_any_time(100, 1, experiment_tracker=None) > 10
    ends = [find_end(folder) for folder in faults.run_folders() if any(folder.glob("*.tyj"))]
    assert ends
    assert None not in ends


@pytest.mark.long(reason="a thousand moments, also between two calls")
@interrupted
def test_l9_alarms_at_a_thousand_moments(faults):
    assert alarm_at_any_time(1000, 2, experiment_tracker=None) > 100
    folders = [folder for folder in faults.run_folders() if any(folder.glob("*.tyj"))]
    assert [folder for folder in folders if find_end(folder) is None] == []


CLOSED = (
    HEAD
    + """
import pathlib, time
orders = pathlib.Path("backends/local")
with trackyard.start_run("closed") as run:
    run.log_metric("loss", 1)
    while not (orders / "waiting").exists():  # a hook's own files are the flavor's to guard
        time.sleep(0.005)
    os.closerange(3, 256)
    files = [open(f"data{number}", "w+b") for number in range(12)]
    for file in files:
        file.write(b"d" * 100_000)
        file.flush()
    (orders / "go").touch()
    for number in range(2, 2000):
        run.log_metric("loss", number)
for file in files:
    file.write(b"d")
    file.close()
"""
)


@pytest.mark.parametrize(("isolation", "map"), cut(["thread", "process"], ["mapped", "written"]))
def test_l7_descriptors_are_closed_and_bear_files_of_others(faults, isolation, map):
    faults.add_tracker(flavor="ledger:WaitingLedger", isolation=isolation)
    before = "import os; del os.posix_fallocate\n" if map == "written" else ""
    done = faults.python(before + CLOSED)

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {path.stat().st_size for path in faults.root.glob("data*")} == {100_001}
    assert faults.journaled("loss") == list(range(1, 2000))
    assert faults.trackyard("sync").returncode == 0
    assert faults.values("loss") == list(range(1, 2000))
    assert faults.statuses() == ["finished"]


OBSERVED = (
    HEAD
    + """
import threading
with trackyard.start_run("observed", experiment_tracker=None) as run:
    os.closerange(3, 256)
    files = [open(f"data{number}", "w+b") for number in range(12)]
    for thread in threading.enumerate():
        if thread.name == "trackyard-context":
            thread.join()
    run.log_metric("loss", 1)
for file in files:
    file.write(b"d")
    file.close()
print("done")
"""
)


def test_l7_files_with_the_numbers_of_what_observes_a_run_stay_open(faults, tmp_path):
    observing = {
        "TRACKYARD_CONTEXT": "1",
        "TRACKYARD_DISABLE_PLUGINS": "",
        "TRACKYARD_WATCHDOG": "1",
    }
    done = faults.python(OBSERVED, **observing, XDG_RUNTIME_DIR=str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert faults.journaled("loss") == [1]


CLOSING_STEP = (
    HEAD
    + """
files = []

@trackyard.step
def closing() -> int:
    os.closerange(3, int(sys.argv[1]))
    files.extend(open(f"data{number}", "w+b") for number in range(20))
    for file in files:
        file.write(b"d" * 100_000)
        file.flush()
    return 1

@trackyard.step
def after(number: int) -> int:
    return number + 1

@trackyard.pipeline
def work():
    return after(closing())

print(work().status)
for file in files:
    file.write(b"d")
    file.close()
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [256, pytest.param(4096, marks=pytest.mark.slow)])
def test_l10_a_step_closes_the_store_and_its_files_stay_whole(faults, numbers):
    done = faults.python(CLOSING_STEP, str(numbers))

    assert done.returncode == 0, done.stderr
    assert done.stdout == "finished\n"
    for file in faults.root.glob("data*"):
        assert file.read_bytes() == b"d" * 100_001
    assert faults.trackyard("sync").returncode == 0
    with closing(sqlite3.connect(faults.home / "store.db")) as store:
        steps = store.execute(
            "select name, status from runs where kind = 'step' order by started_at"
        ).fetchall()
    assert steps == [("closing", "finished"), ("after", "finished")]
