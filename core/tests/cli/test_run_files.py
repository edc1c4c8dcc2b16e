"""Is a pipeline run as its files say, named as asked, and resumed where it stopped?"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorder import Recorder

from trackyard import Client
from trackyard.cli.main import cli

PROGRAM = """
import os, signal
from pathlib import Path
from trackyard import pipeline, step

def note(name):
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")

@step
def load(rows: int) -> list:
    note("load")
    return list(range(rows))

@step
def train(data: list, rate: float, layers: list[int] = (1, 2)) -> float:
    note("train")
    if Path("kill").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if Path("fail").exists():
        raise ValueError("odd")
    return len(data) * rate

@step
def report(score: float):
    note("report")

@pipeline
def training(rows: int = 3, rate: float = 0.5, layers: list[int] = (1, 2), where: Path = Path("a")):
    report(train(load(rows), rate, list(layers)))
"""


@pytest.fixture
def runs(project, monkeypatch):
    """Give a function that types `trackyard run train.py`, and what its steps noted."""
    monkeypatch.setenv("TRACKYARD_ACTIVE_STACK", "")  # the command sets it for what it starts
    Path("train.py").write_text(PROGRAM)

    def runs(*words, code=0):
        Path("ran.txt").write_text("")
        result = CliRunner().invoke(cli, ["run", "train.py", *words])
        sys.modules.pop("train", None)
        assert result.exit_code == code, result.output
        return result.stderr if code else Client().get_pipeline_run(result.stdout.strip())

    return runs


def ran():
    return Path("ran.txt").read_text().split()


def test_files_say_params_and_the_last_one_and_the_command_line_count_most(runs):
    Path("params.yaml").write_text("rows: 5\nrate: 1e-1\nlayers: [3, 4]\nwhere: here\n")
    Path("more.toml").write_text("[params]\nrows = 6\n")

    first = runs("--config", "params.yaml", "--config", "more.toml")
    second = runs("--config", "params.yaml", "--rows", "7")

    assert first.params == {"rows": 6, "rate": 0.1, "layers": "[3, 4]", "where": "here"}
    assert second.params["rows"] == 7
    assert first.config["config"]["params"]["rows"] == 6


def test_file_says_stack_name_and_options_of_steps(runs, project):
    project.configure("[stacks.default]\n[stacks.other]\nexperiment_trackers = ['local']\n\n")
    project.add_tracker("local", Recorder)
    table = {
        "params": {"rows": 1},
        "stack": "other",
        "name": "{pipeline}-{params.rows}-{date}",
        "steps": {"train": {"experiment_tracker": "local", "retries": 1}},
    }
    Path("run.json").write_text(json.dumps(table))

    run = runs("--config", "run.json")

    assert run.stack == "other"
    assert re.fullmatch(r"training-1-\d{8}", run.name)
    assert run.steps["train"].url is not None
    assert run.steps["load"].url is None
    assert run.config["config"]["steps"] == table["steps"]
    assert runs("--config", "run.json", "--name", "{params.rate:.2f}").name == "0.50"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rats: 1", "params.rats: unknown; did you mean 'rate'?"),
        ("params: {}\nstak: a", "stak: unknown; did you mean 'stack'?"),
        ("steps: {trian: {retries: 1}}", "steps.trian: no step of this pipeline; did you mean"),
        ("steps: {train: {retry: 1}}", "steps.train.retry: unknown; did you mean 'retries'?"),
        ("steps: {train: 3}", "steps.train: must be a table, not 3"),
        ("stack: 3\nparams: {}", "stack: must be a text, not 3"),
        ("rate: fast", "params.rate: "),
        ("- 1", "must be a table of names and values"),
        ("a: [", "is not valid"),
        ("stack: nowhere\nparams: {}", "no stack 'nowhere' is configured"),
    ],
)
def test_mistake_in_a_file_is_named_before_anything_runs(runs, text, problem):
    Path("params.yaml").write_text(text)

    result = CliRunner().invoke(cli, ["run", "train.py", "--config", "params.yaml"])

    assert result.exit_code in (1, 2)
    assert problem in result.stderr
    assert not Path("ran.txt").exists()


def test_name_of_what_there_is_not_is_refused(runs):
    assert "{params.rat} is unknown; did you mean 'params.rate'?" in runs(
        "--name", "{params.rat}", code=1
    )


def test_steps_that_finished_are_taken_from_the_run_that_is_resumed(runs):
    Path("fail").touch()
    runs("--rows", "4", "--rate", "0.25", "--name", "broken", code=1)
    assert ran() == ["load", "train"]
    Path("fail").unlink()
    changed = PROGRAM.replace("len(data) * rate", "len(data) * rate + 1").replace(
        "rows: int = 3,", "bonus: int = 0, rows: int = 3,"
    )
    Path("train.py").write_text(changed)

    run = runs("--resume", "broken")

    assert ran() == ["train", "report"]
    assert {name: found.status for name, found in run.steps.items()} == {
        "load": "cached",
        "train": "finished",
        "report": "finished",
    }
    assert run.steps["train"].outputs["output"].load() == 2.0
    assert (run.params["rows"], run.params["rate"], run.params["bonus"]) == (4, 0.25, 0)
    assert run.config["resumed_from"] == Client().get_pipeline_run("broken").id
    again = runs("--resume", run.name)
    assert ran() == []
    assert {found.status for found in again.steps.values()} == {"cached"}


def test_run_that_was_killed_is_resumed(runs):
    Path("kill").touch()
    Path("ran.txt").write_text("")
    command = [sys.executable, "-m", "trackyard", "run", "train.py", "--name", "killed"]
    os.spawnv(os.P_WAIT, sys.executable, command)
    Path("kill").unlink()

    run = runs("--resume", "killed")

    assert ran() == ["train", "report"]
    assert run.steps["load"].status == "cached"


def test_param_that_finished_steps_have_used_cannot_be_another_one(runs):
    runs("--name", "first")

    assert "--rows: run 'first' was made with 3, which" in runs(
        "--resume", "first", "--rows", "9", code=2
    )
    assert "no pipeline run has the name" in runs("--resume", "nothing", code=1)


def test_step_whose_output_is_gone_runs_again_and_so_do_those_behind_it(runs):
    first = runs("--name", "first")
    Path(first.steps["load"].outputs["output"].uri).unlink()

    runs("--resume", "first")

    assert ran() == ["load", "train", "report"]
