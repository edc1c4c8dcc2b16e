"""Do the commands that look at runs write what they are known to write?"""

from __future__ import annotations

import json
import time

import pytest
from filing import Filing

from trackyard import start_run
from trackyard.project.configuration import find_project
from trackyard.store import PipelineRunRow, StepRunRow, Store

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


def test_logs(tracked, golden):
    with start_run("printing", experiment_tracker=None):
        print("epoch 1", "\x1b[2J", "token=abcdefgh12345678")
    golden("runs logs", "printing", patterns={r"\d{4}-\d\d-\d\dT[\d:.]+Z": "TIME"})


def test_replay_plan(tracked, golden):
    golden("replay", "first", "--to", "new", "--plan", name="replay-plan")


def test_gc(tracked, golden):
    golden("gc", "--dry-run", "--older-than", "0", patterns=SIZES)


def test_store(three_runs, golden):
    golden("store rebuild")
    golden("store upgrade")


def test_doctor(golden_project, golden):
    golden_project.add_tracker("away", Filing, problems=["the server at http://a.test is away"])
    golden_project.add_tracker("filed", Filing, directory=str(golden_project.root / "filed"))
    with start_run("first", experiment_tracker="filed") as run:
        run.log_metrics({"loss": 1.0, "bad": 2.0})
    own = {r"\d+\.\d GB": "9.9 GB", r"(?s)python 3.*?(?=\n\d problem)": "VERSIONS"}
    own[r'(?s)(?<="versions": \{).*?\}'] = "}"
    golden("doctor", "--connect", patterns=own)


SECOND = 10**9
SECONDS_IN_PIPES = {r"(?<=\t)\d+\.\d(?=\t)": "0.1", r"(?<=seconds\t)\d+\.\d": "0.1"}


@pytest.fixture
def three_runs(tracked):
    """Two runs of a pipeline, of which one failed, and the run of a block."""
    store = Store.in_folder(find_project().home)
    began = time.time_ns() - 3600 * SECOND
    for index, status in enumerate(["finished", "failed"]):
        ids = [f"{index}{number}" * 16 for number in range(3)]
        start = began + index * 60 * SECOND
        end = start + 30 * SECOND
        row = PipelineRunRow(ids[0], f"training-{index}", "training", "default", status, start, end)
        params = {"rate": 0.1 + index, "size": 3}
        store.add_pipeline_run(PipelineRunRow(**{**as_dict(row), "params": params}))
        more = {"metadata": {"experiment_tracker.filed": "filing:Filing"}}
        more["metadata"]["experiment_tracker_url.filed"] = f"https://filed.test/{index}"
        more["metrics"] = {"loss": 0.5 - index / 10}
        first = StepRunRow(ids[1], ids[0], "load", 1, 0, "finished", start, end - 20 * SECOND)
        error = "ValueError: the shapes of two arrays differ" if index else None
        rows = (ids[2], ids[0], "train", 1, 1, status, end - 20 * SECOND, end, error)
        store.add_step_run(first)
        store.add_step_run(StepRunRow(*rows, **more))
    store.close()
    return tracked


def as_dict(row):
    names = ("id", "name", "pipeline", "stack", "status", "started_at", "ended_at")
    return {name: getattr(row, name) for name in names}


def test_runs_list(three_runs, golden):
    golden("runs list", patterns={r"(?<=finished  )\d+\.\d ": "0.1 ", **SECONDS_IN_PIPES})
    golden("runs list", "--limit", "1", "--pipeline", "training", name="runs-list-pages")
    golden("runs list", "--status", "killed", name="runs-list-none")
    golden("runs list", "--sort", "size", name="runs-list-wrong")


def test_runs_show(three_runs, golden):
    golden("runs show", "training-1")
    patterns = {r"(?<=seconds     )\d+\.\d": "0.1", **SECONDS_IN_PIPES}
    patterns[r"(?<=finished  )\d+\.\d "] = "0.1 "
    patterns[r'(?<="timestamp": )\d+'] = "1"
    golden("runs show", "first", name="runs-show-block", patterns=patterns)


def test_runs_compare(three_runs, golden):
    golden("runs compare", "training-0", "training-1")


def test_runs_url_and_open(three_runs, golden):
    golden("runs url", "training-0")
    golden("runs open", "training-0", "--tracker", "new")


def test_runs_export(three_runs, golden):
    times = {r"\b\d{19}\b": "1767323045000000000"}
    golden("runs export", "training-0", "--format", "csv", as_json=False, patterns=times)
    command = ("runs export", "first", "--format", "csv")
    golden(*command, as_json=False, name="runs-export-block", patterns=times)


def test_runs_download(three_runs, golden):
    times = {r'(?<="logged_at": ").*?"': 'TIME"'}
    golden("runs download", "first", "--to", "got", patterns=times)
    golden("runs download", "first", "note.txt", name="runs-download-wrong")


def test_runs_delete(three_runs, golden):
    golden("runs delete", "training-0")
    store = Store.in_folder(find_project().home)
    row = store.find_pipeline_run("training-0")

    def put_back():
        store.delete_run(row.id)
        store.add_pipeline_run(row)

    golden("runs delete", "training-0", "--yes", name="runs-delete-yes", reset=put_back)
    store.close()


def test_every_command_of_runs_has_a_golden_file():
    from golden import FOLDER

    from trackyard.cli.runs import _COMMANDS

    missing = [name for name in _COMMANDS if not (FOLDER / f"runs-{name}.txt").exists()]
    assert missing == []


def test_help_of_runs(golden):
    golden("runs", "--help", name="runs-help", as_json=False)


def test_end(golden_project, golden):
    store = Store.in_folder(find_project().home)

    def fall_silent():
        row = PipelineRunRow("a" * 32, "training-9", "training", "s", "running", time.time_ns())
        store.add_pipeline_run(row)

    fall_silent()
    golden("runs end", "training-9", reset=fall_silent)
    store.close()


def test_annotate(tracked, golden):
    golden("runs tag", "first", "stage=prod")
    golden("runs note", "first", "the good one")
    golden("runs rename", "first", "first")
