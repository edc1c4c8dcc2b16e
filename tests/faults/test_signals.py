"""Signals end a run as they should, however they come."""

from __future__ import annotations

import os
import signal
import time

import pytest
from evidence import wait_until

from trackyard.recovery import sync_all

PROGRAM = """
import os, signal, sys, time
from trackyard import start_run
with start_run("told") as run:
    run.log_metric("loss", 0.5)
    print("ready", flush=True)
    {wait}
"""
SLEEP = "time.sleep(60)"


def test_p8_sigterm(faults):
    faults.add_tracker(isolation="thread")
    process = told(faults, signal.SIGTERM)

    assert process.returncode == 143
    assert faults.statuses() == ["killed"]
    assert faults.values("loss") == [0.5]


TIDYING = f"""try:
        print("waiting", flush=True)
        {SLEEP}
    finally:
        print("tidying", flush=True)
        {SLEEP}"""


def test_p9_sigterm_and_then_kill_since_the_step_takes_too_long(faults):
    faults.add_tracker(isolation="thread")
    process = faults.start(PROGRAM.format(wait=TIDYING))
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "tidying\n"
    process.kill()
    process.communicate(timeout=30)
    sync_all(faults.project, patience=10)

    assert faults.statuses() == ["killed"]
    assert faults.rows("select failure from runs") == [
        ("SIGTERM: the process was told to stop, and killed before it had",)
    ]
    assert faults.values("loss") == [0.5]


def told(faults, number: int):
    """Start a program in a run and send it a signal; gives the process, which has ended."""
    process = faults.start(PROGRAM.format(wait=SLEEP))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.out, process.err = process.communicate(timeout=60)
    return process


def test_p10_control_c(faults):
    faults.add_tracker(isolation="thread")
    process = told(faults, signal.SIGINT)

    assert process.returncode == -signal.SIGINT
    assert process.err.rstrip().endswith("KeyboardInterrupt")
    assert faults.statuses() == ["killed"]
    assert faults.values("loss") == [0.5]


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_p11_control_c_twice_while_the_end_is_waited_for(faults, isolation):
    faults.add_tracker(
        flavor="misbehaving:Misbehaving", hook="log", way="sleep", isolation=isolation
    )
    process = faults.start(PROGRAM.format(wait=SLEEP))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    wait_until(lambda: any(entry.kind == "end" for entry in faults.journal()))
    time.sleep(1.0)  # the wait begins a moment after the end is written
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert time.monotonic() - begun < 5  # of the 10 s that `flush_timeout` allows
    (end,) = [entry for entry in faults.journal() if entry.kind == "end"]
    assert end.data.status == "killed"


def test_p12_a_handler_that_logs_while_the_step_logs(faults):
    faults.add_tracker(isolation="thread")
    process = faults.python("""
import signal, time
from trackyard import start_run
handled = []
with start_run("interrupted") as run:
    def handler(*_):
        handled.append(True)
        run.log_metric("handler", len(handled))
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    count, end = 0, time.monotonic() + 0.5
    while time.monotonic() < end:
        count += 1
        run.log_metric("loss", count)
    signal.setitimer(signal.ITIMER_REAL, 0)
print(count, len(handled))
""")
    count, handled = map(int, process.stdout.split())

    assert process.returncode == 0
    assert handled > 20
    assert faults.journaled("loss") == list(range(1, count + 1))
    assert sorted(faults.journaled("handler")) == list(range(1, handled + 1))
    assert sorted(faults.values("handler")) == list(range(1, handled + 1))


HANDLERS = {
    "own function": ("lambda *_: print('mine', flush=True)", 0, "finished", ["mine"]),
    "ignored": ("signal.SIG_IGN", 0, "finished", []),
}


@pytest.mark.parametrize("handler", HANDLERS)
def test_p13_a_handler_of_the_users_own(faults, handler):
    faults.add_tracker(isolation="thread")
    own, exit_code, status, said = HANDLERS[handler]
    program = f"import signal\nsignal.signal(signal.SIGTERM, {own})\n"
    program += PROGRAM.format(wait="os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)")
    process = faults.python(program)

    assert process.stdout.splitlines() == ["ready", *said]
    assert (process.returncode, faults.statuses()) == (exit_code, [status])


def test_p13_the_handler_is_given_back(faults):
    faults.add_tracker(isolation="thread")
    process = faults.python(
        PROGRAM.format(wait="pass") + "print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    )

    assert process.stdout.splitlines() == ["ready", "True"]
    assert os.waitstatus_to_exitcode(0) == process.returncode
