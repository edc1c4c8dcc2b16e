# company_orchestrator.py
"""Steps as commands of their own, such as a cluster's scheduler runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Event

import attrs

from trackyard.contract import GRACE, Job, Outcome, StepCrashedError, own_environment, run_packed


@attrs.define(eq=False, kw_only=True)
class CommandOrchestrator:
    """Runs each step as a command, which may begin with `srun` or `docker run`."""

    prefix: list[str] = attrs.field(factory=list, metadata={"help": "What the command begins with"})
    places: int = attrs.field(default=2, metadata={"help": "How many steps run at once"})
    is_elsewhere = True
    _stopping: Event = attrs.field(init=False, factory=Event)

    def run(self, job: Job) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            packed, outcome = Path(folder, "job"), Path(folder, "outcome")
            packed.write_bytes(job.pack())
            command = [*self.prefix, sys.executable, "-m", __name__, str(packed), str(outcome)]
            process = subprocess.Popen(command, env=own_environment(), start_new_session=True)
            code = self._end_of(process, job.patience or 1e9)
            if code or not outcome.exists():  # it may have called os._exit(0)
                raise StepCrashedError(f"the step's command ended with exit code {code}")
            return job.unpack(outcome.read_bytes())

    def _end_of(self, process: subprocess.Popen[bytes], patience: float) -> int:
        end = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < end and not self._stopping.is_set():
            time.sleep(0.05)
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
            if process.poll() is None:  # it is being stopped, or does not heed its timeout
                os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        return process.wait()

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None: ...


if __name__ == "__main__":  # in the step's process
    Path(sys.argv[2]).write_bytes(run_packed(Path(sys.argv[1]).read_bytes()))
