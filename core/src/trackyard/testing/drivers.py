"""How does a check have an orchestrator run steps: in a script of its own, which may hang?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.orchestrators import Orchestrator
from trackyard.project.configuration import find_project
from trackyard.project.trackers import Trackers
from trackyard.testing import driven_steps as steps
from trackyard.testing.contract import BrokenContract, expect
from trackyard.testing.driving import LINES, processes_below
from trackyard.testing.workbench import toml_table


@attrs.frozen
class Seen:
    """What a script saw.

    Attributes:
        value: What its scenario gave.
        error: What it raised: `kind`, `arguments`, `code`, `text`, `traceback`; or None.
        seconds: How long it took.
        left: Processes that were still there at its end.
        runs: Its pipeline runs, the latest first: `status`, and `steps` and `errors` by name.
    """

    value: Any
    error: dict[str, Any] | None
    seconds: float
    left: list[str]
    runs: list[dict[str, Any]]

    @property
    def statuses(self) -> dict[str, str]:
        """The statuses of the last run's steps."""
        found: dict[str, str] = self.runs[0]["steps"]
        return found

    def finished(self) -> Any:
        """Give the value of a scenario in which nothing goes wrong."""
        if self.error is not None:
            raise BrokenContract(f"the pipeline raised {self.error['kind']}: {self.error['text']}")
        return self.value

    def raised(self, *kinds: str) -> dict[str, Any]:
        """Give the error of a scenario in which a step ends badly."""
        if self.error is None:
            raise BrokenContract(f"the pipeline raised nothing and its steps are {self.statuses}")
        kind, text = self.error["kind"], self.error["text"]
        expect(kind in kinds, f"the pipeline raised {kind}: {text}")
        return self.error


class Driver:
    """A project whose stack has the orchestrator under test.

    Args:
        root: The project's folder, which is the working directory.
        table: The stack's table, as in `[stacks.NAME]`.
        patience: Seconds that a script with a few short steps may take at most.
    """

    def __init__(self, root: Path, table: Mapping[str, Any], patience: float) -> None:
        self.root = root
        self.patience = patience
        self.table = dict(table)
        text = toml_table("stacks.default", {"experiment_trackers": [], **self.table})
        (root / "trackyard.toml").write_text(text, encoding="utf-8")

    @cached_property
    def orchestrator(self) -> Orchestrator:
        """An instance with this configuration, which runs nothing."""
        found: Orchestrator = Trackers(find_project(self.root)).orchestrator()
        return found

    def run(self, scenario: str) -> Seen:
        """Run a scenario to its end.

        Raises:
            BrokenContract: It hangs, or leaves nothing behind.
        """
        script = self._start(scenario)
        try:
            script.wait(self.patience)
        except subprocess.TimeoutExpired:
            raise BrokenContract(f"the pipeline had not ended after {self.patience:g} s") from None
        finally:
            _kill(script)
        return self._seen()

    def stop(self, scenario: str, count: int) -> tuple[Seen, list[int]]:
        """Run a scenario, send Ctrl-C to its script when some steps run, and wait for its end.

        Args:
            scenario: A scenario of `driven_steps`.
            count: How many steps run by then.

        Returns:
            What it saw, and the steps' processes that are still there.
        """
        script = self._start(scenario)
        if not steps.wait_for(str(self.root / LINES), count, self.patience):
            _kill(script)
            raise BrokenContract(f"{count} step(s) did not begin within {self.patience:g} s")
        began = time.monotonic()
        script.send_signal(signal.SIGINT)
        try:
            script.wait(self.patience)
        except subprocess.TimeoutExpired:
            raise BrokenContract(f"it went on for {self.patience:g} s after Ctrl-C") from None
        finally:
            _kill(script)
        seen = attrs.evolve(self._seen(), seconds=time.monotonic() - began)
        running = {int(line.split()[1]) for line in self.lines() if line.startswith("begins")}
        left = sorted(pid for pid in running - {script.pid} if _is_running(pid))
        for process in left:
            with suppress(OSError):  # it has ended
                os.kill(process, signal.SIGKILL)
        return seen, left

    def lines(self) -> list[str]:
        """Give what the steps have noted."""
        return steps.noted(str(self.root / LINES))

    def _start(self, scenario: str) -> subprocess.Popen[bytes]:
        paths = [str(self.root), *(path for path in sys.path if path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "trackyard.testing.driving", scenario, "seen.json"]
        # A file and no pipe, whose end a process that is left behind would hold open.
        with (self.root / "errors").open("wb") as errors:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def _seen(self) -> Seen:
        file = self.root / "seen.json"
        if not file.is_file():
            text = (self.root / "errors").read_text(encoding="utf-8", errors="replace")
            last = (text.strip().splitlines() or ["it said nothing"])[-1]
            raise BrokenContract(f"the script that drives the pipeline has died: {last}")
        return Seen(**json.loads(file.read_text(encoding="utf-8")))


def runs_elsewhere(driver: Driver) -> str | None:
    """Require that steps run in other processes."""
    return None if driver.orchestrator.is_elsewhere else "steps run in the driver's process"


def runs_several(driver: Driver) -> str | None:
    """Require that several steps run at once."""
    return None if driver.orchestrator.places > 1 else "it runs one step at a time"


def _kill(script: subprocess.Popen[bytes]) -> None:
    """End a script with all that it has started, unless it has ended itself."""
    if script.poll() is not None:
        return
    below = [*processes_below(script.pid)]
    script.kill()
    for process in below:
        with suppress(OSError):  # it has ended
            os.kill(process, signal.SIGKILL)
    script.wait()


def _is_running(process: int, seconds: float = 5.0) -> bool:
    """Tell whether a process is still there after a while."""
    end = time.monotonic() + seconds
    while _state(process) not in ("", "Z"):
        if time.monotonic() > end:
            return True
        time.sleep(0.05)
    return False


def _state(process: int) -> str:
    """Give the letter of a process's state; empty where there is none."""
    command = ["ps", "-o", "stat=", "-p", str(process)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()[:1]
