"""What do a program and all the processes that it starts cost: CPU, memory, time?

The program runs below a process that takes over all of its orphans, so that workers, watchdogs and
other helpers count, too, and those that outlive the program. Only Linux can do that; elsewhere an
orphan is not counted, and `counts_all` is False.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

_PR_SET_CHILD_SUBREAPER = 36
# `ru_maxrss` is in kB, but on macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@attrs.frozen
class Process:
    """What one process has cost.

    Attributes:
        is_main: It is the program itself, and no process that it started.
        cpu: Seconds of CPU, user and system.
        memory: The most resident memory that it had, in bytes.
    """

    is_main: bool
    cpu: float
    memory: int


@attrs.frozen
class Cost:
    """What a program and all of its processes have cost.

    Attributes:
        wall: Seconds until the program itself ended.
        wall_of_all: Seconds until the last of its processes ended.
        processes: Each of them, in the order in which they ended.
        output: What the program printed.
        counts_all: Orphans are among them.
    """

    wall: float
    wall_of_all: float
    processes: tuple[Process, ...]
    output: str
    counts_all: bool = True

    @property
    def cpu(self) -> float:
        """Seconds of CPU of all processes."""
        return sum(process.cpu for process in self.processes)

    @property
    def main(self) -> Process:
        """The program itself."""
        return next(process for process in self.processes if process.is_main)

    @property
    def helpers(self) -> tuple[Process, ...]:
        """The others, the one with the most memory first."""
        others = (process for process in self.processes if not process.is_main)
        return tuple(sorted(others, key=lambda process: -process.memory))


def cost_of(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Cost:
    """Run a program to the end of all of its processes, and give what they cost.

    Args:
        command: The program and its arguments.
        cwd: The folder that it runs in.
        env: Its environment; this process's by default.

    Raises:
        subprocess.CalledProcessError: It failed; its output, with that of the others, is in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        result, output = Path(folder) / "cost.json", Path(folder) / "output"
        with output.open("wb") as file:
            subprocess.run(
                [sys.executable, __file__, str(result), *command],
                check=False,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        text = output.read_text(encoding="utf-8", errors="replace")
        found = json.loads(result.read_text(encoding="utf-8"))
    if found["code"]:
        raise subprocess.CalledProcessError(found["code"], [*command], output=text)
    processes = tuple(Process(*process) for process in found["processes"])
    return Cost(found["wall"], found["wall_of_all"], processes, text, found["counts_all"])


def _counts_orphans() -> bool:
    """Have this process take over what its children leave behind."""
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def _serve(result: Path, command: Sequence[str]) -> None:
    """Run the program, wait for all that it leaves behind, and write down what they cost."""
    counts_all = _counts_orphans()
    begun = time.monotonic()
    program = subprocess.Popen(command)
    code, ended, processes = 0, begun, []
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        is_main = pid == program.pid
        if is_main:
            code = program.returncode = os.waitstatus_to_exitcode(status)
            ended = time.monotonic()
        memory = usage.ru_maxrss * _RSS_UNIT
        processes.append((is_main, usage.ru_utime + usage.ru_stime, memory))
    found = {
        "code": code,
        "wall": ended - begun,
        "wall_of_all": time.monotonic() - begun,
        "processes": processes,
        "counts_all": counts_all,
    }
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2:])
