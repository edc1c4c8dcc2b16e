"""Is kept what C code and programs write to the files that a step's process prints to?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import attrs

import trackyard
from trackyard import Client, pipeline, step
from trackyard.contract import Job, Outcome, SubprocessOrchestrator, own_environment

RUN = """
import sys
from pathlib import Path
from trackyard.contract import run_packed
print("before")
done = run_packed(Path(sys.argv[1]).read_bytes(), has_own_files=True)
Path(sys.argv[2]).write_bytes(done)
"""


@attrs.define(eq=False, kw_only=True)
class WithFiles(SubprocessOrchestrator):
    """Gives each step a process with files of its own as stdout and stderr."""

    places: ClassVar[int] = 1

    def run(self, job: Job) -> Outcome:
        folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
        packed, reply = folder / "packed", folder / "reply"
        packed.write_bytes(job.pack())
        command = [sys.executable, "-u", "-c", RUN, str(packed), str(reply)]
        with (folder / "out").open("ab") as out, (folder / "err").open("ab") as err:
            process = subprocess.Popen(
                command, env=own_environment(), stdout=out, stderr=err, start_new_session=True
            )
        self.wait_for(job, process.pid, lambda: process.poll() is not None)
        return job.unpack(reply.read_bytes())


@step
def printing() -> None:
    print("by python")
    os.write(1, b"by C\n")
    subprocess.run("echo by a program; echo its error >&2", shell=True, check=True)
    with trackyard.start_run("inner", experiment_tracker=None):
        print("inside")
    print("again")
    os.write(1, b"unfinished")


def test_what_c_code_and_programs_print_to_files_is_kept_once_and_in_order(project):
    project.file.write_text(f'[stacks.default]\norchestrator = "{__name__}:WithFiles"\n')
    done = pipeline(printing)()
    console = Client().get_run(done.id).steps[0].console

    out = [line.text for line in console if line.stream == "out"]
    assert out == ["by python", "by C", "by a program", "again", "unfinished"]
    assert [line.text for line in console if line.stream == "err"][:1] == ["its error"]
