"""A run whose process dies keeps what was logged, and ends as what it was, in every tracker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from evidence import children_of, kill_with_children, wait_until
from matrices import first_by_default

from trackyard import Client
from trackyard.journal.entries import Entry
from trackyard.journal.reader import is_alive
from trackyard.journal.writer import JournalWriter
from trackyard.recovery.finishing import find_pending_runs, sync_all

KILL = "os.kill(os.getpid(), signal.SIGKILL)"
VICTIM = """
import ctypes, os, signal, sys, time
from trackyard import start_run
with start_run("victim") as run:
    run.log_metric("loss", 0.5, step=1)
    run.log_param("rate", 0.1)
    {end}
"""


def sync(faults) -> None:
    sync_all(faults.project, patience=10)


def test_p1_killed_before_the_run_starts(faults):
    """The kill comes when the first file is opened in the run's folder."""
    faults.add_tracker()
    program = f"""
import os, signal, sys
from trackyard import start_run
def kill(event, arguments):
    if event == "open" and "runs" in str(arguments[0]):
        {KILL}
sys.addaudithook(kill)
with start_run("victim"):
    print("never")
"""
    process = faults.python(program)
    sync(faults)

    assert (process.returncode, process.stdout) == (-signal.SIGKILL, "")
    assert faults.statuses() == []
    assert find_pending_runs(faults.project) == []


@pytest.mark.parametrize("after", [False, True])
def test_p2_killed_while_the_tracker_starts(faults, after):
    faults.add_tracker(
        flavor="misbehaving:Misbehaving", hook="start", way="kill", after=after, isolation="thread"
    )
    process = faults.python(VICTIM.format(end=""))
    assert process.returncode == -signal.SIGKILL
    assert faults.statuses() == (["running"] if after else [])
    configure_as_sound(faults)
    faults.trackyard("sync")

    assert faults.statuses() == ["crashed"]
    assert faults.ends() == [1]


def configure_as_sound(faults) -> None:
    """Recovery reads the tracker's table as it was at the start: take the harm out of that.

    What was changed bears no stamp any more, and goes to what is configured when sync is typed.
    """
    (folder,) = faults.run_folders()
    description = next(folder.glob("*.json"))
    description.write_text(description.read_text().replace('"way": "kill"', '"way": "text"'))
    configuration = faults.root / "trackyard.toml"
    configuration.write_text(configuration.read_text().replace("way = 'kill'", "way = 'text'"))


def test_p4_killed_after_its_end_and_before_delivery(faults):
    backend = faults.add_tracker(flush_timeout=0.1, start_timeout=0.1)
    (backend / "down").touch()
    process = faults.python(VICTIM.format(end="") + KILL)
    assert process.returncode == -signal.SIGKILL
    assert faults.statuses() == []
    (backend / "down").unlink()
    sync(faults)

    assert faults.statuses() == ["finished"]
    assert faults.values("loss") == [0.5]
    assert faults.values("rate", kind="param") == [0.1]


@pytest.mark.slow
def test_p5_killed_between_the_sending_and_its_acknowledgement(faults):
    faults.add_tracker(
        flavor="misbehaving:Misbehaving", hook="log", way="kill", after=True, isolation="thread"
    )
    process = faults.python(VICTIM.format(end="time.sleep(30)"))
    assert process.returncode == -signal.SIGKILL
    assert faults.values("loss") == [0.5]
    configure_as_sound(faults)
    faults.trackyard("sync")

    assert faults.statuses() == ["crashed"]
    assert faults.values("loss") == [0.5]


@pytest.mark.parametrize("moment", first_by_default(["while it logs", "while it is idle"]))
def test_p6_the_worker_process_is_killed(faults, moment):
    faults.add_tracker(isolation="process")
    program = """
import os, signal, sys, time
from trackyard import start_run
with start_run("safe") as run:
    for number in range(300):
        run.log_metric("loss", number, step=number)
        time.sleep(0.002)
    print("logged", flush=True)
    sys.stdin.readline()
    run.log_metric("loss", 300, step=300)
print("done")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=faults.root,
        env=faults.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: faults.values("loss"))
        if moment == "while it is idle":
            process.stdout.readline()
            wait_until(lambda: len(faults.values("loss")) == 300)
        (worker,) = children_of(process.pid)
        os.kill(worker, signal.SIGKILL)
        output, _ = process.communicate("\n", timeout=60)

    assert (process.returncode, output.splitlines()[-1]) == (0, "done")
    assert faults.values("loss") == list(range(301))
    assert faults.statuses() == ["finished"]


def test_p7_the_whole_tree_is_killed(faults, monkeypatch):
    """Nobody is left to end the run; the next `Client()` has it done."""
    faults.add_tracker(isolation="process")
    process = faults.start(VICTIM.format(end="time.sleep(60)"), TRACKYARD_WATCHDOG="1")
    wait_until(lambda: faults.values("loss") and len(children_of(process.pid)) == 2)
    kill_with_children(process.pid)
    process.communicate(timeout=30)
    assert faults.statuses() == ["running"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    Client()
    wait_until(lambda: faults.statuses() == ["crashed"])

    assert faults.values("loss") == [0.5]
    assert faults.ends() == [1]


@pytest.mark.slow
def test_p14_out_of_memory_as_python_sees_it(faults):
    """The step's own limit: what the system's killer does is `kill -9`, to one or to all (P7)."""
    faults.add_tracker(isolation="thread")
    end = """
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    held = [bytearray(1 << 28) for _ in range(64)]
"""
    process = faults.python(VICTIM.format(end=end.strip()))

    assert process.returncode == 1
    assert "MemoryError" in process.stderr
    assert faults.statuses() == ["failed"]
    assert faults.values("loss") == [0.5]


DEATHS = {
    "os._exit": ("os._exit(3)", 3),
    "os.abort": ("os.abort()", -signal.SIGABRT),
    "segfault": ("ctypes.string_at(0)", -signal.SIGSEGV),
}


@pytest.mark.parametrize("death", DEATHS)
def test_p15_the_interpreter_ends_without_a_word(faults, death):
    faults.add_tracker(isolation="thread")
    code, exit_code = DEATHS[death]
    process = faults.python(VICTIM.format(end=code), TRACKYARD_WATCHDOG="1")

    assert process.returncode == exit_code
    wait_until(lambda: faults.statuses() == ["crashed"])
    assert faults.values("loss") == [0.5]
    assert faults.ends() == [1]


ENDINGS = {
    "sys.exit()": ("sys.exit()", 0, "finished"),
    "sys.exit(0)": ("sys.exit(0)", 0, "finished"),
    "sys.exit(3)": ("sys.exit(3)", 3, "failed"),
    "sys.exit(text)": ("sys.exit('reason')", 1, "failed"),
    "BaseException": ("raise BaseException('odd')", 1, "failed"),
    "GeneratorExit": ("raise GeneratorExit", 1, "failed"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_p16_the_step_leaves_by_an_odd_exception(faults, ending):
    faults.add_tracker(isolation="thread")
    code, exit_code, status = ENDINGS[ending]
    process = faults.python(VICTIM.format(end=code))

    assert (process.returncode, faults.statuses()) == (exit_code, [status])
    assert faults.values("loss") == [0.5]


def test_p16_a_generator_that_is_closed_inside_its_run(faults):
    faults.add_tracker(isolation="thread")
    process = faults.python("""
from trackyard import start_run
def batches():
    with start_run("victim") as run:
        run.log_metric("loss", 0.5)
        yield 1
        yield 2
generator = batches()
next(generator)
generator.close()
print("on")
""")

    assert (process.returncode, process.stdout) == (0, "on\n")
    assert faults.statuses() == ["failed"]


def test_p21_two_processes_write_one_run(faults, tmp_path):
    program = """
import sys, time
from pathlib import Path
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
writer = JournalWriter(Path(sys.argv[1]))
for number in range(500):
    writer.append(Entry("metrics", 1, number, {sys.argv[2]: float(number)}))
writer.close()
"""
    folder = tmp_path / "run"
    processes = [faults.start(program, str(folder), key) for key in ("a", "b")]
    for process in processes:
        assert process.wait(60) == 0
        process.communicate()

    assert faults.journaled("a", folder) == faults.journaled("b", folder) == list(range(500))
    assert len(list(folder.glob("*.tyj"))) == 2


@pytest.mark.slow
def test_p22_eight_recoveries_at_once(faults):
    faults.add_tracker(isolation="thread")
    faults.python(VICTIM.format(end=KILL))
    recover = (
        "from trackyard.project.configuration import find_project\n"
        "from trackyard.recovery.finishing import sync_all\n"
    )
    recover += "sync_all(find_project(), patience=10)"
    processes = [faults.start(recover) for _ in range(8)]
    for process in processes:
        process.communicate(timeout=90)

    assert faults.ends() == [1]
    assert faults.values("loss") == [0.5]
    assert [entry.data.status for entry in faults.journal() if entry.kind == "end"] == ["crashed"]


def test_p23_a_lock_file_that_is_left_over_and_names_a_process_that_lives(tmp_path):
    """After a reboot another process has the number; the lock is free all the same."""
    folder = tmp_path / "run"
    writer = JournalWriter(folder)
    writer.append(Entry("metrics", 1, 1, {"loss": 0.5}))
    (lock,) = folder.glob("*.lock")
    note = json.loads(lock.read_text())
    writer.close()

    lock.write_text(json.dumps(note))  # it names this very process
    assert is_alive(folder)
    lock.write_text(json.dumps({**note, "started": note["started"] - 1}))
    assert not is_alive(folder)
