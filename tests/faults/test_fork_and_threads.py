"""Forks, children of every kind, threads and the end of the interpreter cost no record."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from evidence import wait_until
from matrices import first_by_default

from trackyard import log_metric, start_run
from trackyard.journal.reader import is_alive
from trackyard.recovery.finishing import sync_all


@pytest.mark.slow
def test_p17_a_forked_child_logs_while_threads_of_its_parent_do(faults):
    faults.add_tracker(isolation="thread")
    process = faults.python("""
import os, signal, sys, warnings
from threading import Thread
from trackyard import start_run
# Threads change places often, hence in the middle of an entry, and no fork waits for long.
sys.setswitchinterval(0.0001)
warnings.simplefilter("ignore")  # later Pythons warn of a fork beside threads
with start_run("forking") as run:
    stop = []
    def work():
        number = 0
        while not stop and number < 30_000:  # so many are delivered in time
            run.log_metric("parent", number)
            number += 1
    thread = Thread(target=work)
    thread.start()
    statuses = []
    for number in range(15):
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # a child that waits for ever for a lock is ended by this
            run.log_metric("child", number)
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])
    stop.append(True)
    thread.join()
print(set(statuses))
""")

    assert (process.returncode, process.stdout) == (0, "{0}\n"), process.stderr
    (folder,) = faults.run_folders()
    assert sorted(faults.journaled("child")) == list(range(15))
    parent = faults.journaled("parent")
    assert parent == list(range(len(parent)))
    assert len(list(folder.glob("*.tyj"))) >= 16
    assert sorted(faults.values("child")) == list(range(15))
    assert faults.values("parent") == parent
    assert faults.statuses() == ["finished"]


def test_p18_a_child_that_outlives_its_killed_parent(faults):
    faults.add_tracker(isolation="thread")
    process = faults.start(
        """
import os, signal, sys, time
from trackyard import start_run
with start_run("parent") as run:
    run.log_metric("loss", 0.5)
    child = os.fork()
    if child == 0:
        run.log_metric("child", 1)
        print("ready", os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
""",
        TRACKYARD_WATCHDOG="1",
    )
    child = int(process.stdout.readline().split()[1])
    try:
        process.kill()
        process.wait()
        wait_until(lambda: faults.statuses() == ["crashed"])
        os.kill(child, 0)  # it lives
        assert faults.values("child") == [1]
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("way", first_by_default(["Popen", "fork and exec", "os.system"]))
def test_p19_a_program_that_was_started_holds_no_lock(faults, way):
    start = {
        "Popen": "subprocess.Popen(['sleep', '20'], close_fds=False)",
        "fork and exec": "os.fork() or os.execvp('sleep', ['sleep', '20'])",
        "os.system": "os.system('sleep 20 > /dev/null 2>&1 &')",
    }[way]
    process = faults.python(f"""
import os, signal, subprocess
from trackyard import start_run
for file in (1, 2):
    os.dup2(os.open("/dev/null", os.O_WRONLY), file)
with start_run("parent", experiment_tracker=None) as run:
    run.log_metric("loss", 0.5)
    {start}
    os.kill(os.getpid(), signal.SIGKILL)
""")
    (folder,) = faults.run_folders()

    assert process.returncode == -signal.SIGKILL
    # A child that the system has not let run yet lets go of the lock as its first thing.
    wait_until(lambda: not is_alive(folder), 10)


@pytest.mark.parametrize("method", first_by_default(["fork", "spawn", "forkserver"]))
def test_p20_children_of_multiprocessing(faults, method):
    """A child finds its parent's run, by the run's object or by what the environment says."""
    faults.add_tracker(isolation="thread")
    program = faults.root / "program.py"
    program.write_text("""
import multiprocessing, sys
from trackyard import log_metric, start_run

def work(number):
    log_metric("child", number)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with start_run("parent"):
        children = [context.Process(target=work, args=(number,)) for number in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        log_metric("parent", 1)
    print({child.exitcode for child in children})
""")
    process = faults.command(sys.executable, str(program), method)

    assert process.returncode == 0, process.stderr
    assert process.stdout == "{0}\n"
    assert sorted(faults.values("child")) == [0, 1, 2]
    assert faults.values("parent") == [1]


def test_p20_a_pool_of_threads(faults):
    from concurrent.futures import ThreadPoolExecutor

    faults.add_tracker(isolation="thread")
    with start_run("pool"), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log_metric("thread", number), range(400)))

    assert sorted(faults.values("thread")) == list(range(400))


LATE = """
import atexit, sys, threading, time
from trackyard import start_run
class Late:
    def __init__(self, run): self.run = run
    def __del__(self): self.run.log_metric("late", 1)
with start_run("late") as run:
    run.log_metric("loss", 0.5)
    late = Late(run)
    late.itself = late
    atexit.register(lambda: run.log_metric("atexit", 1))
    def work():
        while True:
            run.log_metric("daemon", 1)
            time.sleep(0.0001)
    threading.Thread(target=work, daemon=True).start()
{more}
"""


@pytest.mark.parametrize("isolation", first_by_default(["thread", "process"]))
def test_p24_the_interpreter_ends_while_something_still_logs(faults, isolation):
    faults.add_tracker(isolation=isolation)
    process = faults.python(LATE.format(more=""))

    assert process.returncode == 0
    assert "Traceback" not in process.stderr
    assert "Exception ignored" not in process.stderr
    assert faults.statuses() == ["finished"]
    assert faults.values("loss") == [0.5]


@pytest.mark.slow
def test_p25_threads_and_files_after_many_runs(faults):
    faults.add_tracker(isolation="thread")
    process = faults.python("""
import threading, time
from pathlib import Path
from trackyard import start_run

def run_one():
    with start_run("one") as run:
        run.log_metric("loss", 0.5)

def held():
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

def settled(most):
    end = time.monotonic() + 20
    while any(map(int.__gt__, now := held(), most)) and time.monotonic() < end:
        time.sleep(0.05)  # a worker's thread ends after its run
    return now

threads, files = held()
run_one()
before = settled((threads, 10**9))
for _ in range(40):
    run_one()
print(before[0] == threads, settled(before) <= before)
""")

    assert process.stdout == "True True\n", process.stderr
    assert len(faults.statuses()) == 41


def test_p18_sync_beside_a_child_that_lives_ends_the_run_once(faults):
    """A child's own writer says nothing of the life of the run."""
    faults.add_tracker(isolation="thread")
    process = faults.start("""
import os, signal, time
from trackyard import start_run
with start_run("parent") as run:
    child = os.fork()
    if child == 0:
        run.log_metric("child", 1)
        print("ready", os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
""")
    child = int(process.stdout.readline().split()[1])
    try:
        process.kill()
        process.wait()
        sync_all(faults.project, patience=5)
        sync_all(faults.project, patience=5)
        statuses, ends = faults.statuses(), faults.ends()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()

    assert (statuses, ends) == (["crashed"], [1])
