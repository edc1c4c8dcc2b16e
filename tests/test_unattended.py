"""Tests that send signals pass where the shell has them ignored, as below `nohup`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os, signal, subprocess, sys
import pytest

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_program_is_ended_by_a_signal(number):
    code = "import os, sys; os.kill(os.getpid(), int(sys.argv[1])); print('lives')"
    done = subprocess.run([sys.executable, "-c", code, str(int(number))], capture_output=True)
    assert (done.returncode, done.stdout) == (-number, b"")

def test_interrupt_of_this_process():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)

def test_hangup_of_the_terminal_does_not_end_it():
    os.kill(os.getpid(), signal.SIGHUP)
"""


def ignore():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.slow
def test_what_the_shell_ignores_ends_a_tests_program(tmp_path):
    (tmp_path / "test_signals.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "unattended", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parent / "plugins"), "PATH": "/usr/bin:/bin"},
        preexec_fn=ignore,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
