"""What Comet's offline archives hold becomes runs of the project, without any account."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from trackyard import Client
from trackyard.contract import TrackyardError

START = 1_700_000_000_000


def message(kind: str, **payload) -> str:
    return json.dumps({"type": kind, "payload": {"local_timestamp": START, **payload}}) + "\n"


def metric(value: float, step: int, context: str | None = None) -> str:
    point = {"metricName": "loss", "metricValue": value, "step": step, "epoch": None}
    return message("metric_msg", metric=point, context=context)


MESSAGES = [
    message("log_other", key="Name", value="old one"),
    message("parameter_msg", param={"paramName": "lr", "paramValue": 0.1}),
    message("parameter_msg", param={"paramName": "curr_step", "paramValue": 3}),
    metric(1.0, 0),
    metric(0.5, 1),
    message("standard_output", output="hello\n", stderr=False),
    message("of_tomorrow"),
    message("metric_msg"),
    "torn",
]


def upload(name: str, path: str) -> str:
    about = {"fileName": name, "type": "asset", "step": 1, "assetId": "a"}
    return message("file_upload", file_path=path, additional_params=about, upload_type="asset")


def archive(path: Path, messages: list[str], **files: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"offline_id": "abc", "project_name": "fraud", "tags": ["a", "b"]}
    about |= {"start_time": START, "stop_time": START + 5000}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("experiment.json", json.dumps(about))
        file.writestr("messages.json", "".join(messages))
        for name, text in files.items():
            file.writestr(name, text)
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project / "archives"


def test_an_archive_arrives_whole(root):
    messages = [*MESSAGES[:-1], upload("note.txt", "tmp1"), upload("gone.txt", "../up"), "torn"]
    path = archive(root / "abc.zip", messages, tmp1="content")
    before = path.read_bytes()
    (row,) = Client().import_runs("comet:./archives")
    run = Client().get_run("old one")

    assert (run.status, run.pipeline, run.all_params) == ("finished", "fraud", {"lr": 0.1})
    assert run.started_at.timestamp() == START / 1000
    assert run.metrics["loss"].points == 2
    assert run.steps[0].tags["comet.tags"] == "a, b"
    assert {*run.artifacts} == {"note.txt", "console.log"}
    assert row.losses == {
        "file ../up: it is not in the archive": 1,
        "messages of type 'of_tomorrow'": 1,
        "a message of type 'metric_msg' that says no 'metric'": 1,
        f"line {len(messages)} of the messages is torn": 1,
    }
    assert path.read_bytes() == before


def test_points_of_a_context_are_a_metric_of_their_own_as_on_comets_page(root):
    points = [metric(1.0, 0, "train"), metric(2.0, 0, "validate"), metric(3.0, 0)]
    archive(root / "abc.zip", [MESSAGES[0], *points])
    Client().import_runs("comet:./archives")
    last = {key: found.last for key, found in Client().get_run("old one").metrics.items()}

    assert last == {"train_loss": 1.0, "validate_loss": 2.0, "loss": 3.0}


def test_a_folder_that_was_not_zipped_is_a_run_that_died(root):
    root.mkdir()
    (root / "messages.json").write_text("".join(MESSAGES))
    (root / "experiment.json").write_text(json.dumps({"offline_id": "abc", "start_time": START}))
    Client().import_runs("comet:./archives")

    assert Client().get_run("old one").status == "crashed"


def test_a_file_that_is_a_trap_is_named(root, monkeypatch):
    monkeypatch.setattr("trackyard_comet.importing._LARGE", 1000)
    archive(root / "abc.zip", [upload("big", "big")], big="0" * 5_000_000)
    (row,) = Client().import_runs("comet:./archives")

    assert list(row.losses) == ["file big: it is too large for what the archive has of it"]


def test_an_archive_of_something_else_is_passed_over(root):
    root.mkdir()
    with zipfile.ZipFile(root / "x.zip", "w") as other:
        other.writestr("data.csv", "1")

    assert Client().import_runs("comet:./archives") == []


@pytest.mark.parametrize("description", [b"{", b"[1]"])
def test_a_damaged_archive_is_named_and_stops_no_other(root, description):
    whole = archive(root / "whole.zip", [])
    (root / "cut.zip").write_bytes(whole.read_bytes()[:-30])
    with zipfile.ZipFile(root / "odd.zip", "w") as odd:
        odd.writestr("experiment.json", description)
    rows = {row.remote_id: row for row in Client().import_runs("comet:./archives")}

    assert [rows[name].state for name in ("cut.zip", "odd.zip")] == ["failed", "failed"]
    assert "it is damaged, or none of Comet's" in rows["cut.zip"].problem
    assert [row.state for row in rows.values()].count("new") == 1


def test_no_place_is_named(root):
    root.mkdir()
    with pytest.raises(TrackyardError, match="no such folder or archive"):
        Client().import_runs("comet:./nothing")
