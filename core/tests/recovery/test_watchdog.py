"""Does a watchdog do nothing where nothing is left, and never miss what is?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from recorder import Recorder

from trackyard import log_metric, pipeline, start_run, step
from trackyard.journal.pending import mark_as_pending, mark_as_to_be_indexed
from trackyard.project.configuration import find_project
from trackyard.recovery.drivers import DriverMark
from trackyard.recovery.guarding import line_of
from trackyard.recovery.leftovers import has_leftovers
from trackyard.system.helpers import helper_path

WATCH = """
import sys
from trackyard.recovery import watchdog
watchdog.main()
print([name for name in ("attrs", "trackyard.recovery.finishing") if name in sys.modules])
"""


def watched(line):
    """Run a watchdog whose runner has died, and give what it has imported of two modules."""
    # 0 is no process: the pipe tells of the end.
    command = [sys.executable, "-c", WATCH, "0"]
    path = os.pathsep.join(helper_path(find_project().root))
    done = subprocess.run(
        command,
        input=line,
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.stdout.decode().strip()


@pytest.fixture
def home(project):
    """Give the home of a project in which a block and a pipeline have ended well."""
    project.add_tracker("local", Recorder)

    @step(experiment_tracker="local")
    def tracked():
        log_metric("loss", 1)

    @step
    def untracked():
        pass

    @pipeline
    def line():
        tracked()
        untracked()

    line()
    with start_run("block", experiment_tracker="local") as run:
        run.log_metric("loss", 1)
    return find_project().home


def test_runs_that_ended_well_leave_nothing_to_do(home):
    assert not has_leftovers(str(home))


def test_a_project_without_a_home_has_nothing_to_do(project):
    assert not has_leftovers(str(project.root / "nowhere"))


@pytest.mark.parametrize(
    "leave",
    [
        lambda home, run: mark_as_pending(run),
        lambda home, run: mark_as_to_be_indexed(run),
        lambda home, run: (home / "indexed").unlink(),
        lambda home, run: DriverMark(find_project(), "0" * 32).make([("fit", 0)]),
    ],
    ids=["a pending run", "a run to be indexed", "an old project", "a driver"],
)
def test_whatever_recovery_looks_at_is_left_to_it(home, leave):
    leave(home, next((home / "runs").iterdir()))

    assert has_leftovers(str(home))


def test_the_watchdog_of_a_script_that_ended_well_imports_nothing_for_recovery(home):
    assert watched(line_of(find_project())) == "[]"


def test_the_watchdog_does_its_work_where_a_run_is_pending(home):
    run = next((home / "runs").iterdir())
    mark_as_pending(run)

    assert "finishing" in watched(line_of(find_project()))
    assert not has_leftovers(str(home))


@pytest.mark.parametrize("keep", ["30d", "no time"])
def test_a_project_whose_journals_are_deleted_by_age_is_always_looked_at(project, keep):
    project.configure(f'[journal]\nkeep = "{keep}"\n')

    assert line_of(find_project()) == os.fsencode(project.root) + b"\n"
