"""Does `trackyard run` run a pipeline as typed, and show what comes of it?"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorder import Recorder

from trackyard import Client
from trackyard.cli.main import cli

PIPELINE = '''
import enum, os, subprocess, sys
from pathlib import Path
from typing import Literal
from trackyard import log_metric, pipeline, step
from helpers import double

print("imported")

class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"

@step
def train(rate: float, fail: bool):
    print("a print of the step's")
    subprocess.run(["echo", "a child's"])
    log_metric("loss", double(rate))
    if fail:
        raise ValueError("the data\\x1b[2J are odd")

@pipeline
def training(rate: float = 0.1, fail: bool = False):
    """Train a model.

    Args:
        rate: How quickly
            it learns.
    """
    train(rate, fail)

@step
def note(values: dict):
    print("values", values)

@pipeline
def typed(
    count: int,
    names: list[str] = [],
    table: dict[str, float] = {},
    limit: float | None = 1.0,
    kind: Literal["a", "b"] = "a",
    size: Size = Size.SMALL,
    place: Path = Path("."),
    plain=3,
    learning_rate=0.1,
    stack: str = "",
    anything=None,
):
    given = (count, names, table, limit, kind, size, place, plain, learning_rate, stack, anything)
    note({"given": repr(given)})

not_a_pipeline = 3
'''
SIMPLE = (
    "from trackyard import pipeline, step\n@step\ndef one(): ...\n@pipeline\ndef only(): one()\n"
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Give back what a run changes in its process, which is the user's own otherwise."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setenv("TRACKYARD_ACTIVE_STACK", "")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("train", "helpers", "package", "package.train"):
            del sys.modules[name]


@pytest.fixture
def train(project):
    (project.root / "helpers.py").write_text("def double(value): return 2 * value\n")
    (project.root / "train.py").write_text(PIPELINE)
    return project


def run(*arguments):
    return CliRunner().invoke(cli, ["run", *arguments], prog_name="trackyard")


def given(result):
    found = re.search(r"^values \{'given': (.*)\}$", result.stdout, re.MULTILINE)
    return eval(found[1])[1:-1].replace("PosixPath", "")


# Running


def test_pipeline_is_run_and_its_name_is_on_stdout(train):
    result = run("train.py:training", "--rate", "0.5")

    assert result.exit_code == 0
    name = result.stdout.splitlines()[-1]
    stored = Client().get_pipeline_run(name)
    assert (stored.status, stored.params) == ("finished", {"rate": 0.5, "fail": False})
    assert stored.steps["train"].metrics == {"loss": 1.0}


def test_lines_are_plain_in_a_pipe(train):
    lines = run("train.py:training").stderr.splitlines()

    assert re.fullmatch(r"pipeline run training-\S+ in \S+", lines[0])
    assert lines[1] == "  ▸ train running"
    assert re.fullmatch(r"  ✓ train finished  \d+\.\d s  loss=0\.2", lines[2])
    assert re.fullmatch(r"  ✓ training-\S+ finished  \d+\.\d s", lines[3])


def test_json_is_all_that_is_on_stdout(train):
    result = train.trackyard("run", "train.py:training", "--json", "--rate=0.5")
    came = json.loads(result.stdout)

    assert came["status"] == "finished"
    assert came["params"] == {"rate": 0.5, "fail": False}
    assert [(s["name"], s["status"], s["metrics"]) for s in came["steps"]] == [
        ("train", "finished", {"loss": 1.0})
    ]
    for text in ("imported", "a print of the step's", "a child's"):
        assert text in result.stderr


def test_failing_step_exits_with_1_and_shows_its_own_code_alone(train):
    result = train.trackyard("run", "train.py:training", "--fail", "--json")

    assert result.returncode == 1
    assert json.loads(result.stdout)["steps"][0]["status"] == "failed"
    assert 'train.py", line' in result.stderr
    assert 'raise ValueError("the data' in result.stderr
    assert "ValueError: the data?[2J are odd" in result.stderr
    assert "pipelines/runner.py" not in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    "reference", ["train.py:training", "./train.py:training", "train:training"]
)
def test_file_and_module_may_be_named(train, reference):
    assert run(reference).exit_code == 0


def test_module_of_a_package_is_found_from_the_working_directory(project):
    (project.root / "package").mkdir()
    (project.root / "package" / "train.py").write_text(SIMPLE)

    assert run("package.train:only").exit_code == 0
    assert run("package/train.py").exit_code == 0


def test_file_imports_its_neighbours_from_any_folder(train, monkeypatch):
    monkeypatch.chdir("/")

    assert run(f"{train.root}/train.py:training", "--help").exit_code == 0


# Parameters


def test_values_have_the_types_of_the_annotations(train):
    arguments = ["--count", "3", "--names", "a,b", "--names", "c", "--table", "x=1", "--kind", "b"]
    arguments += ["--limit", "none", "--size", "large", "--place", "/tmp", "--learning_rate", "1"]
    arguments += ["--plain", "4", "-p", "stack=s", "--param", "anything=[1, 2]"]
    result = run("train.py:typed", *arguments)

    assert result.exit_code == 0, result.output
    assert given(result) == (
        "3, ['a', 'b', 'c'], {'x': 1.0}, None, 'b', <Size.LARGE: 'large'>, ('/tmp'), 4, 1.0, 's', "
        "[1, 2]"
    )


def test_defaults_stay_where_nothing_is_given(train):
    result = run("train.py:typed", "--count=1")

    assert given(result).startswith("1, [], {}, 1.0, 'a', <Size.SMALL: 'small'>, ('.'), 3, 0.1, ''")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [(["--fail"], True), (["--fail", "true"], True), (["--fail=no"], False), ([], False)],
)
def test_flag_may_have_a_value_or_none(train, arguments, value):
    run("train.py:training", *arguments)

    assert Client().list_pipeline_runs()[0].params["fail"] is value


def test_help_shows_the_parameters(train):
    text = " ".join(run("train.py:training", "--help").stdout.split())

    assert "training: Train a model." in text
    assert "--rate NUMBER How quickly it learns. [default: 0.1]" in text
    assert "--fail TRUE|FALSE [default: false]" in text


def test_help_is_there_without_the_file(project):
    result = run("train.py:training", "--rate", "1", "--help")

    assert result.exit_code == 0
    assert "FILE:PIPELINE" in result.stdout
    assert result.stderr == "Note: there is no file 'train.py'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py:typed"], "missing: --count VALUE"),
        (["train.py:typed", "--count", "x"], "must be a whole number, not 'x'"),
        (["train.py:typed", "--count", "1", "--kind", "c"], "must be one of 'a', 'b', not 'c'"),
        (["train.py:typed", "--count", "1", "--size", "huge"], "must be one of"),
        (["train.py:training", "--rat", "1"], "No such option '--rat'"),
        (["train.py:training", "-p", "rat=1"], "no parameter 'rat'; did you mean 'rate'?"),
        (["train.py:training", "-p", "rate"], "must be NAME=VALUE; type: --param rate=VALUE"),
        (["train.py:training", "-p", "rate=x"], "--rate: must be a number, not 'x'"),
        (["train.py:trainin"], "has no pipeline 'trainin'; did you mean 'training'?"),
        (["train.py:zebra"], "has no pipeline 'zebra'; pipelines are 'training', 'typed'"),
        (["train.py"], "has several pipelines; type one of 'training', 'typed'"),
        (["train.py:not_a_pipeline"], "'not_a_pipeline' is no pipeline; write @pipeline above"),
        (["tran.py:training"], "there is no file 'tran.py'; did you mean 'train.py'?"),
        (["nothing:training"], "there is no module 'nothing', and no file of that name"),
        ([":training"], "name a file and a pipeline, such as train.py:training"),
        ([], "Missing argument 'FILE:PIPELINE'"),
    ],
)
def test_wrong_usage_exits_with_2_and_runs_nothing(train, arguments, message):
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (train.root / ".trackyard" / "store.db").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError: No module named 'nothing_of"),
        ("\n\nx = (", "line 3: SyntaxError: '(' was never closed"),
        ("\n1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
        ("from trackyard import step\n@step(retry=1)\ndef a(): ...", "no option 'retry'"),
        ("x = 1", "has no pipeline; write @pipeline above a function"),
    ],
)
def test_broken_file_is_named_with_the_line(project, source, message):
    (project.root / "train.py").write_text(source)
    result = run("train.py:training")

    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_only_pipeline_of_a_file_needs_no_name(project):
    (project.root / "train.py").write_text(SIMPLE)

    assert run("train.py").exit_code == 0


# Stack and trackers


def test_stack_and_trackers_are_chosen_for_one_run(train):
    train.add_tracker("local", Recorder)
    train.add_tracker("team", Recorder)
    stacks = '[stacks.default]\nexperiment_trackers = ["local"]\n[stacks.other]\n'
    train.configure(train.file.read_text() + stacks)
    result = run("train.py:training", "--stack", "other", "-e", "team")

    assert result.exit_code == 0, result.output
    assert Client().get_pipeline_run(result.stdout.split()[-1]).stack == "other"
    assert train.calls(tracker="local") == []
    assert train.logged("metrics", "team") == [["loss", 0.2, None]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stack", "defualt"], "no stack 'defualt' is configured; did you mean 'default'?"),
        (["-e", "taem"], "no experiment tracker 'taem' is configured; did you mean 'team'?"),
    ],
)
def test_unknown_stack_or_tracker_runs_nothing(train, arguments, message):
    train.add_tracker("team", Recorder)
    train.configure(train.file.read_text() + "[stacks.default]\n")
    result = run("train.py:training", *arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert not (train.root / ".trackyard" / "store.db").exists()


# On a terminal


def screen(text):
    """Give what stands on a terminal after a text; the last of each line that was overwritten."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[(?:\d+)?[A-Za-z]|\x1b\[\d+m|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[J":
            lines = [*lines[:row], lines[row][:column]]
        elif part.endswith("A"):
            row -= int(part[2:-1])
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


LIVE = """
import subprocess, sys, threading
from trackyard import log_metric, pipeline, step

@step(experiment_tracker=True)
def train():
    log_metric("loss", 0.5)
    print("hello")
    sys.stdin.readline()
    sys.stderr.write("half a line, ")
    sys.stdin.readline()
    print("whole")

@pipeline
def training():
    train()
"""


def test_live_line_shows_status_time_and_last_metric(project):
    """The step goes on when the line has been seen, so that no time is guessed."""
    import pty
    import subprocess

    project.add_tracker("local", Recorder)
    (project.root / "train.py").write_text(LIVE)
    ours, theirs = pty.openpty()
    environment = project.environment(COLUMNS="200", TERM="xterm", NO_COLOR="1")
    process = subprocess.Popen(
        [sys.executable, "-m", "trackyard", "run", "train.py"],
        cwd=project.root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    timer = threading.Timer(60, process.kill)
    timer.start()
    seen = ""

    def read_until(pattern):
        nonlocal seen
        while not re.search(pattern, "\n".join(screen(seen)), re.MULTILINE):
            seen += os.read(ours, 4096).decode()

    read_until(r"^hello$")
    read_until(r"^  ▸ train running  \d+\.\d s  loss=0\.5$")
    read_until(r"^    https://tracker\.test/training/\w{32}$")
    process.stdin.write(b"\n")
    process.stdin.flush()
    read_until(r"^half a line, $")
    process.stdin.write(b"\n")
    process.stdin.flush()
    try:
        while more := os.read(ours, 4096):
            seen += more.decode()
    except OSError:
        pass
    timer.cancel()
    process.stdin.close()
    os.close(ours)
    assert process.wait() == 0
    lines = [line.rstrip() for line in screen(seen)]
    assert [re.sub(r"\d+\.\d s|[0-9a-f]{32}|-\d+-\d+-\w+", "#", line) for line in lines] == [
        f"pipeline run training# in {Path.cwd()}",
        "hello",
        "half a line, whole",
        "  ✓ train finished  #  loss=0.5",
        "    https://tracker.test/training/#",
        "  ✓ training# finished  #",
        *lines[6:],
    ]


def test_step_that_failed_in_another_process_shows_its_own_frames_alone(project):
    project.configure('[stacks.default]\nexperiment_trackers = []\norchestrator = "process"\n')
    (project.root / "apart.py").write_text(
        "from trackyard import pipeline, step\n"
        "@step\n"
        "def train():\n"
        "    raise ValueError('boom')\n"
        "@pipeline\n"
        "def training(): train()\n"
    )
    result = project.trackyard("run", "apart.py:training")
    _, _, shown = result.stderr.partition("Traceback (most recent call last):\n")

    assert result.returncode == 1
    assert shown.splitlines()[-1] == "ValueError: boom"
    assert ", in train\n" in shown
    assert "pipelines" not in shown
    assert "RemoteTraceback" not in result.stderr
