"""What W&B's own files hold becomes runs of the project, without any account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trackyard import Client, start_run
from trackyard.contract import Artifact, ImportNote, TrackyardError
from trackyard_wandb.foreign_files import foreign_records
from trackyard_wandb.logfile import BLOCK, LogWriter
from trackyard_wandb.media import shown_value
from trackyard_wandb.records import is_row, new_record
from trackyard_wandb.rows import Rows

NOW = 1_700_000_000


def record(kind: str, **fields):
    found = new_record()
    part = getattr(found, kind)
    part.SetInParent()
    for key, value in fields.items():
        if isinstance(value, list):
            getattr(part, key).extend(value)
        else:
            setattr(part, key, value)
    return found


def row(step: int, **values):
    found = record("history")
    for key, value in {"_step": step, "_timestamp": NOW + step, **values}.items():
        found.history.item.add(nested_key=[key], value_json=json.dumps(value))
    return found


def the_run(name: str = "fine-sea-1", **config):
    found = record(
        "run", run_id="abc123", display_name=name, project="fraud", notes="note", tags=["a", "b"]
    )
    found.run.start_time.FromSeconds(NOW)
    for key, value in config.items():
        found.run.config.update.add(key=key, value_json=json.dumps(value))
    return found


def summary(best: float, **more: float):
    found = record("summary")
    for key, value in {"best": best, **more}.items():
        found.summary.update.add(key=key, value_json=json.dumps(value))
    return found


def write(root: Path, *records, name: str = "offline-run-1-abc123") -> Path:
    path = root / name / "run-abc123.wandb"
    writer = LogWriter(path)
    writer.append(found.SerializeToString() for found in records)
    writer.close()
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder `wandb` of a project that has no tracker."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project / "wandb"


def test_a_folder_arrives_whole(root):
    environment = record("environment", username="ann", host="box", program="train.py")
    path = write(
        root,
        the_run(lr=0.1, nested={"deep": 2}),
        environment,
        row(0, loss=1.0, media={"_type": "image-file", "path": "media/images/a.png"}),
        summary(1.0, _runtime=3),
        summary(0.5),
        row(1, loss=float("nan"), stage="late", sub={"inner": 3}),
        row(2, far={"_type": "image-file", "path": "../../../etc/hostname"}),
        record("output_raw", line="hello\n"),
        record("exit", exit_code=1),
    )
    picture = path.parent / "files" / "media" / "images" / "a.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"png")
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    (found,) = Client().import_runs("wandb:./wandb")
    run = Client().get_run("fine-sea-1")

    assert (run.status, run.pipeline, run.context.user) == ("failed", "fraud", "ann")
    assert run.all_params == {"lr": 0.1, "nested.deep": 2}
    assert {key: metric.points for key, metric in run.metrics.items()} == {
        "loss": 2,
        "sub.inner": 1,
    }
    assert {*run.artifacts} == {"media.png", "console.log"}
    tags = run.steps[0].tags
    assert (tags["stage"], tags["wandb.notes"], tags["wandb.tags"]) == ("late", "note", "a, b")
    assert tags["summary.best"] == "0.5"
    assert found.losses == {"image-file far: its file is not in the run's folder": 1}
    assert run.ended_at.timestamp() == NOW + 2
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_a_torn_file_is_named_and_read_on(root):
    rows = [row(step, loss=step, text="x" * 2000) for step in range(40)]
    path = write(root, the_run(), *rows, record("exit"))
    data = bytearray(path.read_bytes())
    data[BLOCK + 100] ^= 0xFF
    path.write_bytes(data)
    (found,) = Client().import_runs("wandb:./wandb")

    assert any("torn at byte" in what for what in found.losses)
    assert 20 < found.metrics < 40
    assert Client().get_run("fine-sea-1").status == "finished"


def test_a_run_that_was_gone_on_with_is_one_run(root):
    write(root, the_run(), row(0, loss=1.0), record("exit", exit_code=1))
    write(root, the_run(), row(1, loss=2.0), record("exit"), name="offline-run-2-abc123")
    (found,) = Client().import_runs("wandb:./wandb")

    assert (found.metrics, Client().get_run("fine-sea-1").status) == (2, "finished")


def test_axes_of_ones_own_are_steps(root):
    axis = record("metric", name="loss", step_metric="epoch")
    write(root, the_run(), axis, row(7, loss=1.0, epoch=3), record("exit"))
    Client().import_runs("wandb:./wandb")

    assert Client().get_run("fine-sea-1").curves["loss"].steps[0] == 3


def test_runs_of_trackyards_own_are_those_runs(wandb_offline):
    with start_run("mine") as run:
        run.log_metric("loss", 0.5, step=3)
    (row,) = Client().import_runs(f"wandb:{wandb_offline}")

    assert (row.state, row.id) == ("own", run.id)


@pytest.mark.parametrize(
    ("name", "kind", "file"),
    [
        ("deep.er/pic", "image", "pic.png"),
        ("pic.png", "image", "pic.png"),
        ("page.htm", "html", "page.html"),
        ("rows", "table", "rows.table.json"),
    ],
)
def test_what_the_tracker_shows_keeps_its_name(tmp_path, name, kind, file):
    path, files = tmp_path / file, tmp_path / "files"
    path.write_bytes(b"content")
    row = {name: shown_value(Artifact(name, path, kind), files), "_timestamp": NOW, "_step": 0}
    (found,) = Rows(tmp_path).of(row, files.joinpath)

    assert (found.name, found.kind) == (name, kind)
    assert found.path.read_bytes() == b"content"


@pytest.fixture
def wandb_offline(root):
    Path("trackyard.toml").write_text(
        '[experiment_trackers.wandb]\nflavor = "wandb"\nmode = "offline"\nproject = "p"\n'
        '[stacks.default]\nexperiment_trackers = ["wandb"]\n'
    )
    return Path(".trackyard", "runs").absolute()


def test_what_is_no_file_of_wandbs_is_named(root, tmp_path):
    path = tmp_path / "x.wandb"
    path.write_bytes(b"something else")

    assert [*foreign_records(path)] == [ImportNote("x.wandb: it is none of W&B's")]
    (row,) = Client().import_runs(f"wandb:{path}")
    assert (row.state, row.problem) == ("failed", f"{path}: it is none of W&B's")
    assert [*Client().list_runs()] == []
    with pytest.raises(TrackyardError, match="no such folder or file"):
        Client().import_runs("wandb:./nothing")


@pytest.mark.slow
def test_a_folder_without_a_run_is_refused_with_what_to_type(root):
    Path("empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "trackyard", "import", "wandb:empty"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "wandb:empty: no run of wandb was found there" in done.stderr
    assert "type the folder that wandb wrote: trackyard import wandb:FOLDER" in done.stderr


@pytest.mark.slow
def test_a_folder_of_todays_wandb_arrives(root):
    code = """
import wandb
with wandb.init(project="fraud", name="real", config={"lr": 0.1, "nested": {"deep": 2}}) as run:
    for step in range(20):
        run.log({"loss": 1 / (step + 1), "hist": wandb.Histogram([1, 2, 3])})
    artifact = wandb.Artifact("model", type="model")
    with artifact.new_file("weights.txt") as file:
        file.write("1")
    run.log_artifact(artifact)
"""
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    (row,) = Client().import_runs("wandb:./wandb")
    run = Client().get_run("real")

    assert (run.status, run.metrics["loss"].points) == ("finished", 20)
    assert run.all_params == {"lr": 0.1, "nested.deep": 2}
    assert any("model" in what for what in row.losses)


def test_a_name_like_a_column_of_wandbs_is_that_of_the_metric(tmp_path):
    for config, key in (({}, "_step_"), ({"trackyard": {"run_id": "x"}}, "_step")):
        rows = Rows(tmp_path)
        rows.note_config(config)
        assert [*rows.of({"_step_": 1.0, "_timestamp": NOW, "_step": 0}, Path)] == []
        (points,) = rows.rest()

        assert points.key == key


@pytest.mark.parametrize("number", [0, 1, 127, 128, 70_000])
def test_a_row_is_told_from_other_records_without_parsing_it(number):
    row, other = new_record(), new_record()
    row.num = other.num = number
    row.history.item.add(key="loss", value_json="1")
    other.config.update.add(key="rate", value_json="1")

    assert is_row(row.SerializeToString())
    assert not is_row(other.SerializeToString())
    assert not is_row(b"")
