"""A program that test processes share is started once and ends with the last of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matrices import first_by_default

PLUGINS = str(Path(__file__).parent / "plugins")
USER = """
import sys
from pathlib import Path
from shared import shared_program

folder = Path(sys.argv[1])
program = "import os, time; open('up', 'a').write(f'{os.getpid()} '); time.sleep(600)"
with shared_program(folder, lambda: [sys.executable, "-c", program], (folder / "up").exists):
    print("uses it", flush=True)
    input()
"""


@pytest.fixture
def user(tmp_path):
    """Give a function that starts a process which uses the program until it reads a line."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", USER, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": PLUGINS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"


def wait_until_it_has_ended(process):
    end = time.monotonic() + 30
    while lives(process):
        assert time.monotonic() < end, "it goes on without users"
        time.sleep(0.02)


@pytest.mark.parametrize("ending", first_by_default(["return", "kill"]))
def test_it_is_started_once_and_ends_with_its_last_user(user, tmp_path, ending):
    users = [user(), user()]
    assert [process.stdout.readline() for process in users] == ["uses it\n"] * 2
    (program,) = map(int, (tmp_path / "up").read_text().split())

    users[0].communicate("\n")
    assert lives(program)
    if ending == "kill":
        users[1].send_signal(signal.SIGKILL)
    else:
        users[1].communicate("\n")

    wait_until_it_has_ended(program)


def test_it_is_started_again_for_one_that_comes_later(user, tmp_path):
    first = user()
    first.stdout.readline()
    (program,) = map(int, (tmp_path / "up").read_text().split())
    first.communicate("\n")
    wait_until_it_has_ended(program)
    (tmp_path / "up").unlink()

    assert user().stdout.readline() == "uses it\n"
    (other,) = map(int, (tmp_path / "up").read_text().split())
    assert lives(other)
    assert other != program
