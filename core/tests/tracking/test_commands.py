"""Does `trackyard exec` track a command that knows nothing of Trackyard?"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from matrices import first_by_default
from recorder import Recorder

from trackyard import Client
from trackyard.tracking.commands import failure_of_code

WAITING = """
import pathlib, signal, sys, time
def leave(number, frame):
    sys.exit({code})
signal.signal(signal.{name}, leave)
pathlib.Path("up").touch()
time.sleep(60)
"""


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def execute(project, *command, **env):
    env = {"TRACKYARD_PROGRESS": "0", **env}  # its address is a line of its own
    return project.trackyard("exec", "--experiment-tracker", "local", "--", *command, **env)


def signalled(project, number, *command):
    """Run a command, send `exec` a signal once the file `up` is there, give its exit code."""
    arguments = [sys.executable, "-m", "trackyard", "exec", "-e", "local", "--", *command]
    process = subprocess.Popen(
        arguments, cwd=project.root, env=project.environment(), start_new_session=True
    )
    end = time.monotonic() + 30
    while not (project.root / "up").exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    return process.wait(30)


def test_address_is_printed_when_a_command_or_a_block_starts(local):
    executed = execute(local, "true", TRACKYARD_PROGRESS="1")
    block = local.python("import trackyard\nwith trackyard.start_run('b'):\n    print('in it')\n")

    for name, result in (("true", executed), ("b", block)):
        assert re.fullmatch(rf"run {name}  https://tracker.test/\S+\n", result.stderr)


def test_command_that_ends_well_is_finished(local):
    result = execute(local, "sh", "-c", "echo out; echo err >&2")

    assert (result.returncode, result.stdout, result.stderr) == (0, "out\n", "err\n")
    assert local.hooks() == ["start", "log", "end"]
    ((name, *_, text),) = local.logged("artifacts")
    assert name == "console.log"
    assert sorted(line.split(" ", 1)[1] for line in text.splitlines()) == ["err err", "out out"]
    (start,) = local.calls("start")
    assert start["name"] == "sh"
    assert start["tags"]["trackyard.command"] == "sh -c 'echo out; echo err >&2'"


def test_exit_code_makes_it_failed_and_is_passed_on(local):
    assert execute(local, "sh", "-c", "exit 3").returncode == 3

    failure = local.calls("fail")[0]["failure"]
    assert (failure["status"], failure["message"]) == (
        "failed",
        "the command ended with exit code 3",
    )


@pytest.mark.parametrize(
    ("name", "status"), [("KILL", "crashed"), ("SEGV", "crashed"), ("TERM", "killed")]
)
def test_command_that_a_signal_ends(local, name, status):
    number = signal.Signals[f"SIG{name}"]

    assert execute(local, "sh", "-c", f"kill -{name} $$").returncode == 128 + number
    failure = local.calls("fail")[0]["failure"]
    assert (failure["status"], failure["kind"], failure["signal"]) == (
        status,
        f"SIG{name}",
        number,
    )


@pytest.mark.parametrize("name", first_by_default(["SIGTERM", "SIGINT", "SIGHUP"]))
def test_signals_are_passed_on_and_the_run_is_killed(local, name):
    code = WAITING.format(code=9, name=name)

    assert signalled(local, signal.Signals[name], sys.executable, "-c", code) == 9
    failure = local.calls("fail")[0]["failure"]
    assert (failure["status"], failure["kind"]) == ("killed", name)


def test_command_that_ends_well_after_a_signal_is_finished(local):
    code = WAITING.format(code=0, name="SIGUSR1")

    assert signalled(local, signal.SIGUSR1, sys.executable, "-c", code) == 0
    assert local.hooks() == ["start", "end"]


@pytest.mark.slow
def test_run_of_a_killed_exec_is_crashed(local):
    code = (
        "import os, pathlib, time; pathlib.Path('up').write_text(str(os.getpid())); time.sleep(60)"
    )
    assert signalled(local, signal.SIGKILL, sys.executable, "-c", code) == -signal.SIGKILL
    os.kill(int((local.root / "up").read_text()), signal.SIGKILL)

    assert local.trackyard("sync").returncode == 0
    assert local.calls("fail")[-1]["failure"]["status"] == "crashed"


def test_script_logs_into_its_run(local):
    (local.root / "model.txt").write_text("weights")
    trackyard = f"{sys.executable} -m trackyard log"
    script = (
        f"{trackyard} metric loss 0.25 --step 3 && {trackyard} metric delta -1e-3 && "
        f"{trackyard} param rate 0.1 && {trackyard} tag stage base && "
        f"{trackyard} artifact model.txt --name models/best.txt"
    )
    result = execute(local, "sh", "-ec", script)

    assert result.returncode == 0, result.stderr
    assert local.logged("metrics") == [["loss", 0.25, 3], ["delta", -0.001, None]]
    assert local.logged("params") == [["rate", "0.1"]]
    assert local.logged("tags") == [["stage", "base"]]
    assert local.logged("artifacts")[0][::4] == ["models/best.txt", "weights"]


def test_python_child_logs_by_the_library(local):
    code = "import trackyard; trackyard.log_metric('loss', 0.5)"

    assert execute(local, sys.executable, "-c", code).returncode == 0
    assert local.logged("metrics") == [["loss", 0.5, None]]


@pytest.mark.slow
def test_it_may_be_a_step_of_a_pipeline(local):
    options = ["--pipeline", "etl", "--step", "load", "--run", "monday", "--param", "rows=3"]
    for _ in range(2):
        local.trackyard("exec", *options, "--tag", "team=a", "true")

    first, second = local.calls("start")
    assert (first["step"], first["tags"]["team"]) == ("load", "a")
    assert first["group"] == second["group"] is not None
    assert local.logged("params") == [["rows", "3"]] * 2


def test_mistakes_are_said_in_a_line(local):
    unknown = execute(local, "no-such-program")
    assert (unknown.returncode, unknown.stderr) == (
        127,
        "Error: no-such-program: cannot be run: No such file or directory\n",
    )
    (local.root / "notes.txt").touch(mode=0o644)
    not_executable = execute(local, "./notes.txt")
    assert (not_executable.returncode, not_executable.stderr) == (
        126,
        "Error: ./notes.txt: cannot be run: Permission denied\n",
    )
    assert [call["failure"]["status"] for call in local.calls("fail")] == ["failed"] * 2
    assert "add --pipeline" in local.trackyard("exec", "--step", "a", "true").stderr
    outside = local.trackyard("log", "metric", "loss", "1")
    assert outside.returncode == 1
    assert outside.stderr.startswith("Error: no run is active")
    assert outside.stderr.endswith("type: trackyard exec -- COMMAND\n")
    assert local.trackyard("log", "metric", "loss", "high").returncode == 2


@pytest.mark.parametrize(
    "options", [["--attempt", "0"], ["--attempt", "x"], ["--run", ""], ["--step", ""]], ids=str
)
def test_wrong_option_is_wrong_usage(local, options):
    result = local.trackyard("exec", "--pipeline", "etl", *options, "true")

    assert result.returncode == 2
    assert f"Invalid value for '{options[0]}'" in result.stderr
    assert not local.calls()


def test_program_is_told_of_a_command_that_is_missing(local):
    result = local.trackyard("exec", "--json", "--pipeline", "etl", "--run", "a", "no-such-program")

    end = json.loads(result.stderr.splitlines()[-1])
    assert (result.returncode, end["exit_code"], end["status"]) == (127, 127, "failed")


def test_bytes_that_are_no_text_are_shown_as_escapes(local):
    command = ("exec", "--pipeline", "etl", "--run", "r\udcff", "sh", "-c", "# \udcff")
    result = local.trackyard(*command, TRACKYARD_PROGRESS="0")

    assert (result.returncode, result.stderr) == (0, "")
    assert local.calls("start")[0]["tags"] == {
        "trackyard.run_name": "r\\udcff",
        "trackyard.command": "sh -c '# \\udcff'",
    }
    assert local.hooks() == ["start", "end"]


def test_what_is_switched_off_runs_untracked(local):
    result = execute(local, "sh", "-c", "exit 4", TRACKYARD_DISABLE="1")

    assert result.returncode == 4
    assert not local.calls()
    assert not (local.root / ".trackyard").exists()


def test_exit_codes_and_signals():
    assert failure_of_code(0) is None
    assert failure_of_code(0, signal.SIGTERM) is None
    assert failure_of_code(-signal.SIGRTMIN).kind in ("SIGRTMIN", f"signal {signal.SIGRTMIN}")


def resume(project, *arguments):
    return project.trackyard("exec", "--resume", *arguments, TRACKYARD_PROGRESS="0")


@pytest.mark.slow
def test_a_command_goes_on_with_a_run_that_ended(local):
    first = [sys.executable, "-c", "import trackyard; trackyard.log_metric('loss', 2, step=0)"]
    local.trackyard("exec", "-e", "local", "--name", "mine", "--", *first)
    second = [sys.executable, "-c", "import trackyard; trackyard.log_metric('loss', 1, step=1)"]
    more = ["--param", "seed=1", "--tag", "stage=late"]
    result = resume(local, "mine", *more, "--json", "--", *second)

    assert result.returncode == 0, result.stderr
    ended = json.loads(result.stderr.splitlines()[-1])
    view = Client().get_run("mine")
    assert (ended["id"], ended["status"]) == (view.id, "finished")
    assert [*view.curves["loss"].values] == [2, 1]
    assert (view.steps[0].params["seed"], view.tags["stage"]) == ("1", "late")
    assert len(view.sessions) == 2
    assert len(Client().list_runs()) == 1


def test_what_cannot_be_resumed_is_said(local):
    assert "no run of start_run" in resume(local, "nothing", "--", "true").stderr
    refused = resume(local, "mine", "--name", "other", "--", "true")
    assert refused.returncode == 2
    assert "--resume goes on with a run as it is; leave out --name" in refused.stderr
