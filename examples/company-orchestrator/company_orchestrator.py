# company_orchestrator.py
"""Steps as commands of their own, such as a cluster's scheduler runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

from trackyard import StepCrashedError
from trackyard.contract import Job, Outcome, SubprocessOrchestrator, own_environment, run_packed


@attrs.define(eq=False, kw_only=True)
class CommandOrchestrator(SubprocessOrchestrator):
    """Runs each step as a command, which may begin with `srun` or `docker run`."""

    prefix: list[str] = attrs.field(factory=list, metadata={"help": "What the command begins with"})
    places: int = attrs.field(default=2, metadata={"help": "How many steps run at once"})

    def run(self, job: Job) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            packed, outcome = Path(folder, "job"), Path(folder, "outcome")
            packed.write_bytes(job.pack())
            command = [*self.prefix, sys.executable, "-m", __name__, str(packed), str(outcome)]
            process = subprocess.Popen(command, env=own_environment(), start_new_session=True)
            self.wait_for(job, process.pid, lambda: process.poll() is not None)
            code = process.wait()
            if code or not outcome.exists():  # it may have called os._exit(0)
                raise StepCrashedError(f"the step's command ended with exit code {code}")
            return job.unpack(outcome.read_bytes())


if __name__ == "__main__":  # in the step's process
    Path(sys.argv[2]).write_bytes(run_packed(Path(sys.argv[1]).read_bytes()))
