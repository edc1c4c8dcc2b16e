"""What a W&B server holds becomes runs of the project: whole, and asked as W&B's client asks."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from wandb_server import WandbRun, WandbServer

from trackyard import Client
from trackyard.contract import TrackyardError
from trackyard_wandb.logfile import LogWriter
from trackyard_wandb.records import new_record

NOW = 1_700_000_000.0
SCRIPT = """
import subprocess, sys, wandb

run = wandb.init(
    project="fraud", entity="acme", id="base", name="native", mode="offline", notes="a note",
    tags=["x"], group="g", config={"a": {"b": 1}},
)
wandb.define_metric("acc", step_metric="epoch")
for step in range(30):
    run.log({"loss": 1 / (step + 1), "acc": step, "epoch": 2 * step})
run.log({"loss": float("nan"), "odd": float("-inf")})
run.summary["best"] = 0.5
model = wandb.Artifact("net", "model")
with model.new_file("weights.bin") as file:
    file.write("heavy")
run.log_artifact(model)
run.log({"page": wandb.Html("<b>x</b>", inject=False), "spread": wandb.Histogram([1, 2, 3])})
print("hello")
run.finish(exit_code=1)
subprocess.run([sys.executable, "-m", "wandb", "sync", run.dir + "/.."], check=True)
"""


def rows(count: int, **more: float) -> dict[int, dict[str, float]]:
    return {
        step: {"_step": step, "_timestamp": NOW + step, "_runtime": step, "loss": step / 2, **more}
        for step in range(count)
    }


@pytest.fixture
def source(server: WandbServer, tmp_path, monkeypatch) -> WandbServer:
    """A server that a project without trackers reads."""
    root = tmp_path / "reading"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", WandbServer.API_KEY)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "none"))
    return server


@pytest.mark.slow
def test_runs_of_a_project_arrive_with_their_sweeps(source):
    first = WandbRun("fraud", "acme", "sunny", tags=["a"], notes="n", is_complete=True)
    first.rows, first.config = rows(12, odd=math.nan), {"lr": 0.1, "tags": {"team": "a"}}
    first.summary = {"loss": 5.5, "best": 1}
    first.files = {"notes/deep.txt": b"plain", "config.yaml": b"own", "output.log": b"hello"}
    first.exported = 7  # the rest is not in a Parquet file yet
    first.events = [{"_timestamp": NOW, "system.cpu": 3.5}]
    trial = WandbRun("fraud", "acme", "trial", sweep="s1", is_complete=True, exit_code=1)
    source.sweeps["s1"] = {
        "state": "FINISHED",
        "displayName": "the search",
        "config": "method: random\nparameters:\n  lr:\n    max: 1\n",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-02T00:00:00Z",
    }
    source.runs |= {"abc": first, "def": trial}
    source.runs["elsewhere"] = WandbRun("other", "acme", "not asked for")
    found = {row.run: row for row in Client().import_runs("wandb:acme/fraud")}
    run, child = Client().get_run("sunny"), Client().get_run("trial")

    assert {name: row.state for name, row in found.items()} == dict.fromkeys(
        ("the search", "trial", "sunny"), "new"
    )
    assert (run.status, run.pipeline, run.all_params) == ("finished", "fraud", {"lr": 0.1})
    curve = run.curves["loss"]
    assert [*curve.steps] == [*range(12)]
    assert [*curve.values] == [step / 2 for step in range(12)]
    assert all(map(math.isnan, run.curves["odd"].values))
    assert run.metrics["system/cpu"].last == 3.5
    tags = run.steps[0].tags
    assert (tags["wandb.tags"], tags["wandb.notes"], tags["team"]) == ("a", "n", "a")
    assert (tags["summary.best"], "summary.loss" in tags) == ("1", False)
    assert {name: file.read_text() for name, file in run.artifacts.items()} == {
        "notes/deep.txt": "plain",
        "console.log": "hello",
    }
    assert (child.status, child.parent_id) == ("failed", found["the search"].id)
    assert Client().get_run("the search").all_params["parameters.lr.max"] == 1

    first.notes = "another"
    first.rows |= rows(14)
    states = {row.run: row.state for row in Client().import_runs("wandb:acme/fraud")}
    assert states == {"the search": "same", "trial": "same", "sunny": "grown"}
    assert Client().get_run("sunny").metrics["loss"].points == 14


def test_a_run_is_one_whether_it_is_read_from_its_file_or_the_server(source, tmp_path):
    record = new_record()
    record.run.run_id, record.run.project, record.run.display_name = "abc", "fraud", "sunny"
    written = [record]
    for step, values in rows(3).items():
        row = new_record()
        row.history.step.num = step
        for key, value in values.items():
            row.history.item.add(nested_key=[key], value_json=json.dumps(value))
        written.append(row)
    path = tmp_path / "wandb" / "offline-run-1-abc" / "run-abc.wandb"
    LogWriter(path).append(found.SerializeToString() for found in written)
    (first,) = Client().import_runs(f"wandb:{path.parent}")
    source.runs["abc"] = WandbRun("fraud", "acme", "sunny", is_complete=True, rows=rows(4))
    (second,) = Client().import_runs("wandb:acme/fraud")

    assert (first.state, second.state, second.id) == ("new", "grown", first.id)
    assert [*Client().get_run("sunny").curves["loss"].values] == [0, 0.5, 1, 1.5]


def test_what_cannot_be_read_is_said(source, monkeypatch):
    with pytest.raises(TrackyardError, match="acme/none: Could not find project none"):
        Client().import_runs("wandb:acme/none")
    source.fault("status", "RunHistoryKeys", status=400)
    source.runs["abc"] = WandbRun("fraud", "acme", "sunny", rows=rows(2))
    (row,) = Client().import_runs("wandb:acme/fraud/abc")
    assert row.state == "failed"
    assert "acme/fraud/abc" in row.problem
    monkeypatch.setenv("WANDB_API_KEY", "w" * 40)
    with pytest.raises(TrackyardError, match="does not let the API key in"):
        Client().import_runs("wandb:acme/fraud")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(TrackyardError, match="type: wandb login"):
        Client().import_runs("wandb:acme/fraud")


@pytest.mark.slow
def test_names_that_lead_elsewhere_are_refused(source):
    run = WandbRun("fraud", "acme", "sunny", is_complete=True)
    run.files = {"../../escaped.txt": b"no", "kept.txt": b"yes"}
    source.runs["abc"] = run
    (row,) = Client().import_runs("wandb:acme/fraud")

    assert [*Client().get_run("sunny").artifacts] == ["kept.txt"]
    assert any("escaped.txt" in what for what in row.losses)


@pytest.mark.slow
def test_what_the_sdk_sent_comes_back(source, tmp_path, monkeypatch):
    (tmp_path / "native").mkdir()
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path / "native", check=True, timeout=120)
    (row,) = Client().import_runs("wandb:acme/fraud")
    run = Client().get_run("native")

    assert (row.losses, run.status, run.all_params) == ({}, "failed", {"a.b": 1})
    assert [*run.curves["acc"].steps] == [2 * step for step in range(30)]
    assert math.isnan(run.curves["loss"].values[-1])
    assert [*run.curves["odd"].values] == [-math.inf]
    assert {name: file.kind for name, file in run.artifacts.items()} == {
        "console.log": "text",
        "net/weights.bin": "model",
        "net/trackyard-model.json": "model",
        "page.html": "html",
        "spread.json": "histogram",
    }
    assert run.artifacts["net/weights.bin"].read_text() == "heavy"
    assert run.steps[0].tags["summary.best"] == "0.5"
    assert Path(run.context.script or "").name
