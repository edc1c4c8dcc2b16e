"""Do the orchestrators that come with core keep the contract?"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from trackyard.testing import OrchestratorSuite
from trackyard.testing.driving import processes_below
from trackyard.testing.running import run_file


def test_processes_are_named_by_their_commands_and_pythons_own_is_none_of_them():
    before = set(processes_below(os.getpid()))
    spawned = multiprocessing.get_context("spawn").Process(target=print)
    spawned.start()  # Python starts a process for itself, which stays
    spawned.join()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as waiting:
        found = processes_below(os.getpid())
        (name,) = [found[pid] for pid in found if pid not in before]
        assert name == f"`{sys.executable} -c input()`"
        waiting.kill()
        os.waitid(os.P_PID, waiting.pid, os.WEXITED | os.WNOWAIT)
        assert processes_below(os.getpid())[waiting.pid].endswith("and was not waited for")


BACKGROUND = """
import pytest

from trackyard.testing import OrchestratorSuite


class TestLocal(OrchestratorSuite):
    patience = 30.0

    @pytest.fixture
    def config(self):
        return {"orchestrator": "local"}
"""


@pytest.mark.slow  # a pipeline that is interrupted
def test_ctrl_c_is_checked_where_a_shell_has_the_suite_ignore_it(tmp_path):
    file = tmp_path / "test_background.py"
    file.write_text(BACKGROUND, encoding="utf-8")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as behind `&`, and under nohup
    try:
        (result,) = run_file(file, ["test_ctrl_c_stops_the_steps"])
    finally:
        signal.signal(signal.SIGINT, before)

    assert result.outcome == "passed", result.reason


@pytest.mark.slow  # nothing of it stands between a step and its caller
class TestLocal(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "local"}


class TestProcess(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "process", "max_workers": 2}
