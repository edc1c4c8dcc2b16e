"""Do the orchestrators that come with core keep the contract?"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

from trackyard.testing import OrchestratorSuite
from trackyard.testing.driving import processes_below


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


@pytest.mark.slow  # nothing of it stands between a step and its caller
class TestLocal(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "local"}


class TestProcess(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "process", "max_workers": 2}
