"""Signals end a run as they should, however they come."""

from __future__ import annotations

import os
import signal
import time

import pytest
from evidence import wait_until
from matrices import first_by_default

from trackyard import Client
from trackyard.recovery.finishing import sync_all

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


@pytest.mark.parametrize("isolation", first_by_default(["thread", "process"]))
def test_p11_control_c_twice_while_the_end_is_waited_for(faults, isolation):
    faults.add_tracker(
        flavor="misbehaving:Misbehaving",
        hook="log",
        way="sleep",
        isolation=isolation,
        flush_timeout=120,
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
    assert time.monotonic() - begun < 60  # of the 120 s that `flush_timeout` allows
    (end,) = [entry for entry in faults.journal() if entry.kind == "end"]
    assert end.data.status == "killed"


def ends_of(faults):
    return [entry.data.status for entry in faults.journal() if entry.kind == "end"]


@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_p11_control_c_twice_while_the_step_tidies_up(faults, isolation):
    faults.add_tracker(isolation=isolation)
    process = faults.start(PROGRAM.format(wait=TIDYING), TRACKYARD_WATCHDOG="1")
    for said in ("ready\n", "waiting\n"):
        assert process.stdout.readline() == said
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    wait_until(lambda: faults.statuses() == ["killed"])
    assert (faults.ends(), ends_of(faults), faults.values("loss")) == ([1], ["killed"], [0.5])


@pytest.mark.slow
@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_p11_what_is_left_after_the_second_control_c_the_watchdog_delivers(faults, isolation):
    # The first call hangs: in the step's process until that dies, in a process until its alarm.
    faults.add_tracker(
        flavor="misbehaving:Misbehaving",
        hook="log",
        way="sleep",
        times=1,
        isolation=isolation,
        hook_timeout=3,
    )
    process = faults.start(PROGRAM.format(wait=SLEEP), TRACKYARD_WATCHDOG="1")
    process.stdout.readline()
    wait_until((faults.root / "backends/local/harm-log").exists)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: ends_of(faults))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    wait_until(lambda: faults.statuses() == ["killed"], 60)

    assert (faults.ends(), ends_of(faults), faults.values("loss")) == ([1], ["killed"], [0.5])
    assert faults.rows("select failure from runs") == [("KeyboardInterrupt: ",)]


PIPELINE = """
import time
from trackyard import log_metric, pipeline, step

@step(experiment_tracker="local")
def train():
    log_metric("loss", 0.5)
    print("ready", flush=True)
    {wait}

@pipeline
def training():
    train()

training()
"""


def test_p11_control_c_twice_in_a_pipeline(faults):
    faults.add_tracker()
    process = faults.start(PIPELINE.format(wait=TIDYING), TRACKYARD_WATCHDOG="1")
    for said in ("ready\n", "waiting\n"):
        assert process.stdout.readline() == said
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: faults.statuses() == ["killed"])
    (run,) = Client().list_pipeline_runs()

    assert (faults.ends(), faults.values("loss")) == ([1], [0.5])
    assert (run.status, run.steps["train"].status) == ("killed", "killed")


# The failure's traceback is made of source that takes long to read.
SLOW = """class Slow:
        is_slow = True
        def get_source(self, name):
            if Slow.is_slow:
                Slow.is_slow = False
                print("formatting", flush=True)
                time.sleep(60)
    names = {"time": time, "__name__": "slow", "__loader__": Slow()}
    code = "print('waiting', flush=True); time.sleep(60)"
    exec(compile(code, "slow.py", "exec"), names)"""


@pytest.mark.parametrize(
    "program", first_by_default([PROGRAM, PIPELINE]), ids=["block", "pipeline"]
)
def test_p11_control_c_twice_before_the_end_is_written(faults, program):
    faults.add_tracker(flush_timeout=1)  # which is waited for, with nothing to wait for
    process = faults.start(program.format(wait=SLOW), TRACKYARD_WATCHDOG="1")
    for said in ("ready\n", "waiting\n"):
        assert process.stdout.readline() == said
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "formatting\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: faults.statuses() == ["killed"])

    assert (faults.ends(), ends_of(faults), faults.values("loss")) == ([1], ["killed"], [0.5])
    if program is PIPELINE:
        wait_until(lambda: Client().list_pipeline_runs()[0].status == "killed")


@pytest.mark.slow
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
