"""What Trackio's databases hold becomes runs of the project, and no table is changed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from trackyard import Client
from trackyard.contract import TrackyardError

TIME = "2025-03-01T10:00:00+00:00"


def database(path: Path, *rows: dict, is_old: bool = False) -> Path:
    """Write a database as Trackio does; old ones have no `run_id`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = "" if is_old else "run_id TEXT,"
    connection = sqlite3.connect(path)
    connection.executescript(f"""
        CREATE TABLE metrics (id INTEGER PRIMARY KEY, {own} timestamp TEXT, run_name TEXT,
            step INTEGER, metrics BLOB{"" if is_old else ", log_id TEXT"});
        CREATE TABLE configs (id INTEGER PRIMARY KEY, {own} run_name TEXT, config BLOB);
    """)
    config = json.dumps({"lr": 0.1, "_Username": "ann"}).encode()
    names = "run_name, config" if is_old else "run_name, config, run_id"
    marks = "?, ?" if is_old else "?, ?, ?"
    connection.execute(
        f"INSERT INTO configs ({names}) VALUES ({marks})", ("first", config, "id1")[: 3 - is_old]
    )
    for step, values in enumerate(rows):
        known = {"timestamp": TIME, "run_name": "first", "step": step}
        known |= {"metrics": json.dumps(values).encode()} | ({} if is_old else {"run_id": "id1"})
        columns = ", ".join(known)
        marks = ", ".join("?" * len(known))
        connection.execute(f"INSERT INTO metrics ({columns}) VALUES ({marks})", [*known.values()])
    connection.commit()
    connection.close()
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project / "trackio"


@pytest.mark.parametrize("is_old", [False, True])
def test_a_database_arrives_whole(root, is_old):
    shown = {"_type": "trackio.image", "file_path": "fraud/first/0/a.png"}
    histogram = {"_type": "trackio.histogram", "bins": [0, 1], "values": [3]}
    table = {"_type": "trackio.table", "_value": [{"a": 1}]}
    path = database(
        root / "fraud.db",
        {"loss": 1.0, "image": shown, "out": {**shown, "file_path": "../../secret"}},
        {"loss": "NaN", "weights": histogram, "rows": table},
        is_old=is_old,
    )
    picture = root / "media" / "fraud" / "first" / "0" / "a.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"png")
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    (row,) = Client().import_runs("trackio:./trackio")
    run = Client().get_run("first")

    assert (run.status, run.pipeline, run.context.user) == ("finished", "fraud", "ann")
    assert (run.all_params, run.metrics["loss"].points) == ({"lr": 0.1}, 2)
    assert {*run.artifacts} == {"image.png", "weights.json", "rows.json"}
    assert row.losses == {"artifact out: its file is not in Trackio's folder": 1}
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert path.exists()


def test_a_project_that_grows_is_gone_on_with(root):
    path = database(root / "fraud.db", {"loss": 1.0})
    (first,) = Client().import_runs("trackio:./trackio")
    path.unlink()
    database(path, {"loss": 1.0}, {"loss": 0.5})
    (second,) = Client().import_runs("trackio:./trackio/fraud.db")

    assert (first.state, second.state, first.id) == ("new", "grown", second.id)
    assert Client().get_run("first").metrics["loss"].points == 2


def test_what_is_none_of_trackios_is_named(root):
    root.mkdir()
    (root / "x.db").write_text("no database")

    with pytest.raises(TrackyardError, match="no database of Trackio's"):
        Client().import_runs("trackio:./trackio")
    with pytest.raises(TrackyardError, match="no folder, file or project"):
        Client().import_runs("trackio:nothing")


def test_a_damaged_database_is_named_and_stops_no_other(root):
    database(root / "fraud.db", {"loss": 1.0})
    (root / "x.db").write_text("no database")
    rows = {row.remote_id: row for row in Client().import_runs("trackio:./trackio")}

    assert "no database of Trackio's" in rows["x.db"].problem
    assert rows["id1"].state == "new"
