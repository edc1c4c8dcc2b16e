"""Do native calls of a command land in its run, though the command knows nothing of Trackyard?"""

from __future__ import annotations

import sys

import pytest
from native_sdk import FilingTracker, NativeTracker
from recorder import Recorder

from trackyard import Client

SDK = "native_sdk:NativeTracker"
LOG = """
import os, native_sdk
from trackyard.contract import Metric
native_sdk.log(Metric("loss", float(os.environ.get("LOSS", 0.5)), 3, 1_790_000_000_000_000_000))
"""


@pytest.fixture
def other(project):
    project.add_tracker("other", Recorder)
    return project


def execute(project, *options, code=LOG, python=sys.executable, **env):
    done = project.trackyard("exec", *options, "--", *python.split(), "-c", code, **env)
    assert done.returncode == 0, done.stderr
    return done


def losses(project):
    return [m[:3] for m in project.logged("metrics", "other") if m[0] == "loss"]


def test_calls_of_a_command_reach_the_other_trackers_and_stand_in_their_own_once(other):
    other.add_tracker("native", NativeTracker)
    execute(other, "-e", "native", "-e", "other")

    assert losses(other) == [["loss", 0.5, 3]]
    assert other.logged("metrics", "native") == []
    assert list(other.root.glob(".trackyard/runs/*/native/native.jsonl"))


def test_a_source_is_captured_in_a_command(other):
    execute(other, "-e", "other", "--capture", SDK)

    assert losses(other) == [["loss", 0.5, 3]]


def test_files_of_an_sdk_are_read_once_whichever_process_writes_them(other):
    other.add_tracker("filing", FilingTracker)
    code = "import native_sdk\nnative_sdk.log_to_file('loss', 0.25, 1)\n"
    execute(other, "-e", "filing", "-e", "other", code=code)

    assert losses(other) == [["loss", 0.25, 1]]


def test_a_child_of_the_command_joins_as_the_command_does(other):
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {LOG!r}], check=True)"
    execute(other, "-e", "other", "--capture", SDK, code=code)

    assert losses(other) == [["loss", 0.5, 3]]


def test_a_python_that_looks_at_no_path_gets_the_sdks_own_variables(other):
    other.add_tracker("native", NativeTracker)
    code = "import os\nprint(os.environ.get('NATIVE_RUN'))"
    joined = execute(other, "-e", "native", code=code)
    own = execute(other, "-e", "native", code=code, NATIVE_RUN="mine")
    apart = execute(other, "-e", "native", code=code, python=f"{sys.executable} -E")

    assert joined.stdout == "None\n"
    assert own.stdout == "mine\n"  # for programs that it starts, too
    assert apart.stdout.strip() in {run.id for run in Client().list_runs()}


def test_what_the_path_had_before_is_loaded_as_without(other):
    site = other.root / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import builtins\nbuiltins.greeting = 'hello'\n")
    path = other.environment()["PYTHONPATH"]
    done = execute(*(other, "-e", "other"), code="print(greeting)", PYTHONPATH=f"{site}:{path}")

    assert done.stdout == "hello\n"
