"""Does Ctrl-C end every command that takes long without a word, and leave nothing running?"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest
from filing import HangingReader
from hanging import Hanging
from pages import Serving, Silent
from recorder import Recorder

from trackyard import start_run

PIPELINE = """
import pathlib, time
from trackyard import pipeline, step

@step(experiment_tracker=True)
def wait():
    pathlib.Path("begun").touch()
    time.sleep(60)

@pipeline
def waiting():
    wait()
"""
WAIT = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def interrupted(project, *arguments, begun: Path | None = None):
    """Run a command in a group of its own, and send the group what Ctrl-C does once it is busy.

    Args:
        project: Where to run it.
        arguments: The command.
        begun: A file that says that it is busy; a line on stdout or stderr does otherwise.
    """
    environment = project.environment(PYTHONUNBUFFERED="1")
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        environment.pop(name, None)  # what coverage does at the end must not be interrupted
    with subprocess.Popen(
        [sys.executable, "-m", "trackyard", *arguments],
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        timer = Timer(60, process.kill)
        timer.start()
        while begun is not None and not begun.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        first = process.stdout.readline() if begun is None else ""
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate()
        timer.cancel()
    assert "Traceback" not in errors
    assert "Aborted" not in errors
    return process.returncode, first + out, errors


def test_sync_that_watches_ends_well(project):
    project.add_tracker("local", Recorder)
    code, out, errors = interrupted(project, "sync", "--watch", "--json")

    assert (code, out, errors.strip()) == (0, "[]\n", "")


def test_page_that_is_served_ends_well(project):
    project.add_tracker("local", Serving, ui_port=free_port())
    code, out, errors = interrupted(project, "ui")

    assert (code, errors.strip()) == (0, "")
    assert out.startswith("http://127.0.0.1:")


def test_page_that_does_not_answer_yet_is_given_up(project):
    project.add_tracker("local", Silent, ui_port=free_port())
    log = project.root / ".trackyard" / "workers" / "ui-local.log"
    code, out, errors = interrupted(project, "ui", begun=log)

    assert (code, out, errors.strip()) == (130, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing runs amid the fork")
def test_page_is_given_up_where_the_server_is_just_being_started(project):
    result = project.python(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from trackyard.cli.ui import _Server\n"
        "from trackyard.redaction.redactor import Redactor\n"
        "os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "try:\n"
        "    with _Server([sys.executable, '-c', ''], Path('ui.log'), Redactor()): print()\n"
        "except KeyboardInterrupt: print('interrupted')"
    )

    assert (result.stdout, result.stderr) == ("interrupted\n", "")


def test_pipeline_ends_as_killed(project):
    project.add_tracker("local", Recorder)
    (project.root / "train.py").write_text(PIPELINE)
    begun = project.root / "begun"
    code, _, errors = interrupted(project, "run", "train.py:waiting", begun=begun)

    assert code == 130
    assert re.search(r"wait killed  \S+ s  KeyboardInterrupt$", errors, re.MULTILINE)
    assert project.hooks()[-1] == "fail"


def test_command_ends_as_killed(project):
    project.add_tracker("local", Recorder)
    # The command itself ends as Python does, with a traceback that is its own.
    quiet = f"import sys; sys.excepthook = lambda *_: None; {WAIT}"
    begun = project.root / "begun"
    command = ["exec", "-e", "local", "--", sys.executable, "-c", quiet]
    code, _, errors = interrupted(project, *command, begun=begun)

    assert code == 130
    assert re.fullmatch(r"run python  https://tracker.test/\S+\n", errors)
    assert project.hooks()[-1] == "fail"


@pytest.fixture
def logged(project):
    """A project with a run on one tracker, and another one that hangs."""
    project.add_tracker("local", HangingReader, directory=str(project.root / "filed"))
    project.add_tracker("stuck", Hanging)
    with start_run("one", experiment_tracker="local") as run:
        run.log_metric("loss", 1.0)
    return project


def test_replay_ends(logged):
    begun = logged.root / "calls" / "stuck" / "hung"
    code, out, errors = interrupted(logged, "replay", "one", "--to", "stuck", begun=begun)

    assert (code, out, errors.strip()) == (130, "", "")


def test_reading_back_ends(logged):
    begun = logged.root / "filed" / "reading"
    code, out, errors = interrupted(logged, "runs", "verify", "one", begun=begun)

    assert (code, out, errors.strip()) == (130, "", "")
