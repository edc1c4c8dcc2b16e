"""Do the commands that look at runs write what they are known to write?"""

from __future__ import annotations

import json

import pytest
from filing import Filing

from trackyard import start_run

# Sizes on the disk depend on the file system.
SIZES = {r"\b\d{4,6}(?=\s+filed refused)": "45056", r'(?<="size": )\d+': "45056"}


@pytest.fixture
def tracked(golden_project):
    """A run of every kind of record, with a name that no terminal should see."""
    golden_project.add_tracker("filed", Filing, directory=str(golden_project.root / "filed"))
    golden_project.add_tracker("new", Filing, directory=str(golden_project.root / "new"))
    with start_run("first", "fraud\x1b[2J", experiment_tracker="filed") as run:
        for step in range(10):
            run.log_metrics({"loss": 1 / (step + 1), "acc b": step / 10}, step=step)
        run.log_metric("bad", 1.0)
        run.log_params({"rate": 0.1, "long": "x" * 100, "\x1b[2J": 1})
        run.log_text("hello", "texts/note.txt")
    return golden_project


def test_verify(tracked, golden):
    golden("runs verify", "first")
    (file,) = (tracked.root / "filed").iterdir()
    kept = json.loads(file.read_text())
    kept["metrics"] = kept["metrics"][5:]
    kept["params"] = {"rate": "0.2"}
    file.write_text(json.dumps(kept))
    golden("runs verify", "first", name="runs-verify-different")


def test_replay_plan(tracked, golden):
    golden("replay", "first", "--to", "new", "--plan", name="replay-plan")


def test_gc(tracked, golden):
    golden("gc", "--dry-run", "--older-than", "0", patterns=SIZES)


def test_doctor(golden_project, golden):
    golden_project.add_tracker("away", Filing, problems=["the server at http://a.test is away"])
    golden_project.add_tracker("filed", Filing, directory=str(golden_project.root / "filed"))
    with start_run("first", experiment_tracker="filed") as run:
        run.log_metrics({"loss": 1.0, "bad": 2.0})
    own = {r"\d+\.\d GB": "9.9 GB", r"(?s)python 3.*?(?=\n\d problem)": "VERSIONS"}
    own[r'(?s)(?<="versions": \{).*?\}'] = "}"
    golden("doctor", patterns=own)
