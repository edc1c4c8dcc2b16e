"""Does `trackyard runs logs` show what a run printed, and what it prints now?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from recorder import Recorder

import trackyard
from trackyard.cli.main import cli


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def logs(*arguments):
    return CliRunner().invoke(cli, ["runs", "logs", *arguments], catch_exceptions=False)


@trackyard.step
def load() -> int:
    print("loading")
    return 1


@trackyard.step
def train(data: int) -> None:
    print(f"training on {data}")


@trackyard.pipeline
def training() -> None:
    train(load())


def test_lines_of_a_block_are_shown(local):
    with trackyard.start_run("block"):
        print("one")
        print("\x1b[2Jtwo")

    assert logs("block").output == "one\ntwo\n"
    moment, text = logs("block", "--timestamps").output.splitlines()[0].split(" ")
    assert (moment[-1], text) == ("Z", "one")


def test_lines_of_steps_bear_their_names(local):
    run = training()

    assert logs(run.name).output == "load | loading\ntrain | training on 1\n"
    assert logs(run.name, "--step", "train").output == "training on 1\n"
    rows = json.loads(logs(run.name, "--json").output)
    assert [(row["step"], row["stream"], row["text"]) for row in rows] == [
        ("load", "out", "loading"),
        ("train", "out", "training on 1"),
    ]


def test_unknown_step_is_named(local):
    run = training()
    result = logs(run.name, "--step", "tarin")

    assert result.exit_code == 1
    assert "has no step 'tarin'; did you mean 'train'?" in result.stderr


def test_run_that_printed_nothing_says_so(local):
    with trackyard.start_run("silent", experiment_tracker=None) as run:
        run.log_metric("loss", 1.0)

    result = logs("silent")
    assert (result.stdout, result.stderr) == ("", "run 'silent' has printed nothing that is kept\n")


def test_followed_run_is_shown_while_it_runs(local):
    code = """
import sys, trackyard
with trackyard.start_run("followed"):
    print("begun", flush=True)
    sys.stdin.readline()
    print("ended", flush=True)
"""
    options = {"cwd": local.root, "env": local.environment(), "text": True}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **options, **pipes) as run:
        assert run.stdout.readline() == "begun\n"
        command = [sys.executable, "-m", "trackyard", "runs", "logs", "followed", "--follow"]
        with subprocess.Popen(command, **options, stdout=subprocess.PIPE) as follower:
            assert follower.stdout.readline() == "begun\n"
            run.stdin.write("\n")
            run.stdin.flush()
            assert follower.stdout.read() == "ended\n"
        assert run.wait(60) == 0
