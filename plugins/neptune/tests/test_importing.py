"""What Neptune's exporter and its SDK have left on disk becomes runs of the project."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from trackyard import Client
from trackyard.contract import Metric, RunQuery, TrackyardError
from trackyard_neptune.exports import Exports

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PROJECT, FOLDER = "team/fraud", "team_fraud-e6babcef27199839"
MOMENT = datetime(2025, 3, 1, 10, tzinfo=UTC)
# As neptune-exporter publishes it.
SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("run_id", pa.string()),
        ("attribute_path", pa.string()),
        ("attribute_type", pa.string()),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", pa.timestamp("ms", tz="UTC")),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", pa.struct([("path", pa.string())])),
        (
            "histogram_value",
            pa.struct(
                [
                    ("type", pa.string()),
                    ("edges", pa.list_(pa.float64())),
                    ("values", pa.list_(pa.float64())),
                ]
            ),
        ),
    ]
)


def row(path: str, kind: str, value, step=None) -> dict:
    column = {"file_series": "file", "file_set": "file", "artifact": "file"}.get(kind, kind)
    column = column.removesuffix("_series") + "_value"
    found = {"attribute_path": path, "attribute_type": kind, column: value}
    if step is not None:
        found |= {"step": Decimal(str(step)), "timestamp": MOMENT}
    return found


def export(root: Path, run_id: str, *rows: dict, part: int = 0) -> None:
    """Write a part of a run as the exporter does."""
    path = root / "data" / FOLDER / f"{run_id}-0011223344556677_part_{part}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = [{"project_id": PROJECT, "run_id": run_id, **found} for found in rows]
    pq.write_table(pa.Table.from_pylist(known, schema=SCHEMA), path)


def keep(root: Path, path: str, text: str = "x") -> dict:
    place = root / "files" / FOLDER / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return {"path": path}


@pytest.fixture
def root(project):
    return Path.cwd() / "exports"


def test_an_export_arrives_whole(root):
    export(
        root,
        "FR-1",
        row("sys/id", "string", "FR-1"),
        row("sys/name", "string", "old"),
        row("sys/owner", "string", "ann"),
        row("sys/failed", "bool", True),
        row("sys/creation_time", "datetime", MOMENT),
        row("sys/tags", "string_set", ["b", "a"]),
        row("parameters/lr", "float", 0.1),
        row("parameters/empty", "float", None),
        *(row("train/loss", "float_series", 1 / (s + 1), s) for s in (0, 1, 2.5)),
        row("monitoring/ab/stdout", "string_series", "hello", 0),
        row("weights", "histogram_series", {"type": "COUNTING", "edges": [0, 1], "values": [3]}, 1),
        row("model/weights", "file", keep(root, "FR-1/model/weights.bin")),
        row("shots", "file_series", keep(root, "FR-1/shots/step_1.png"), 1),
        row("set", "file_set", {"path": "FR-1/set"}),
        row("data", "artifact", keep(root, "FR-1/data/files_list.json", "[]")),
        row("out", "file", {"path": "../../../secret"}),
        row("new", "of_tomorrow", None),
    )
    keep(root, "FR-1/set/deep/a.txt")
    (root.parent / "neptune_exporter_errors.jsonl").write_text(
        json.dumps({"run_id": "FR-1", "attribute_path": "lost", "exception": "timeout"})
    )
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (found,) = Client().import_runs("neptune:exports")
    run = Client().get_run("old")

    assert (run.status, run.pipeline, run.context.user) == ("failed", PROJECT, "ann")
    assert run.started_at == MOMENT
    assert run.all_params == {"parameters/lr": 0.1}
    assert run.steps[0].tags["neptune.sys/tags"] == "a, b"
    assert run.metrics["train/loss"].points == 3
    assert {*run.artifacts} == {
        *("monitoring/ab/stdout.txt", "weights.json", "model/weights.bin", "shots.png"),
        *("set/deep/a.txt", "data.json"),
    }
    assert set(found.losses) == {
        "file out: it is not in the export's files",
        "attributes of type 'of_tomorrow'",
        "artifact data: the export has its names and digests alone",
        "lost: the exporter failed: timeout",
    }
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_steps_are_whole_numbers_where_they_are_some(root, tmp_path):
    export(root, "a", *(row("loss", "float_series", 1.0, step) for step in (3, 4.5)))
    source = Exports(root)
    (run,) = source.runs(RunQuery())
    points = [piece for piece in source.read(run.remote_id, tmp_path) if isinstance(piece, Metric)]

    assert [repr(point.step) for point in points] == ["3", "4.5"]


def test_a_fork_has_the_points_of_its_parents_up_to_the_fork(root):
    def series(first, last, value):
        return [row("loss", "float_series", value, step) for step in range(first, last)]

    def forked(parent, step):
        return [
            row("sys/forking/parent", "string", parent),
            row("sys/forking/step", "int", step),
        ]

    export(root, "amber", *series(0, 5, 1.0))
    export(root, "blue", *forked("amber", 2), *series(3, 6, 2.0))
    export(root, "coral", *forked("blue", 4), *series(5, 7, 3.0))
    export(root, "lost", *forked("nobody", 4), *series(5, 7, 3.0))
    rows = {row.run: row for row in Client().import_runs("neptune:exports")}

    assert {name: row.metrics for name, row in rows.items()} == {
        "amber": 5,
        "blue": 6,
        "coral": 7,
        "lost": 2,
    }
    assert list(rows["lost"].losses) == [
        "points before the fork: its parent nobody is not in the export"
    ]


def test_parts_are_one_run_and_an_unfinished_export_is_named(root):
    export(root, "a", row("loss", "float_series", 1.0, 0), part=0)
    export(root, "a", row("loss", "float_series", 1.0, 1), part=1)
    export(root, "b", row("loss", "float_series", 1.0, 1), part=1)
    rows = {row.run: row for row in Client().import_runs("neptune:exports/data")}

    assert (rows["a"].metrics, rows["b"].metrics) == (2, 1)
    assert rows["b"].left == 1


def test_a_damaged_part_is_named_and_the_rest_is_read(root):
    export(root, "a", row("loss", "float_series", 1.0, 0))
    export(root, "b", row("loss", "float_series", 1.0, 0))
    path = next(root.rglob("b-*_part_0.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    rows = Client().import_runs("neptune:exports")

    assert {row.state for row in rows} == {"new", "failed"}


def test_a_damaged_part_of_a_run_is_named_and_the_others_are_read(root):
    for part in (0, 1, 2):
        export(root, "a", row("loss", "float_series", 1.0, part), part=part)
    path = next(root.rglob("a-*_part_1.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    (found,) = Client().import_runs("neptune:exports")

    assert (found.metrics, found.left) == (2, 1)
    assert "a-0011223344556677_part_1.parquet" in next(iter(found.losses))


def test_a_folder_that_was_never_synchronised_arrives(project):
    folder = Path(".neptune", "offline", "run__11112222-3333")
    (folder / "upload_path").mkdir(parents=True)
    (folder / "upload_path" / "note.txt").write_text("x")
    points = [{"value": 1.0, "step": 0.0, "ts": 1.7e9}, {"value": 0.5, "step": 1.0, "ts": 1.7e9}]
    operations = [
        {"type": "AssignString", "path": ["sys", "name"], "value": "kept"},
        {"type": "AssignFloat", "path": ["parameters", "lr"], "value": 0.1},
        {"type": "LogFloats", "path": ["loss"], "values": points},
        {"type": "UploadFile", "path": ["note"], "file_path": "/etc/hostname"},
    ]
    lines = (json.dumps({"obj": o, "version": n}) + "\n" for n, o in enumerate(operations, start=1))
    (folder / "data-1.log").write_text("".join(lines))
    (row,) = Client().import_runs("neptune:./.neptune")
    run = Client().get_run("kept")

    assert (row.metrics, run.all_params) == (2, {"parameters/lr": 0.1})
    assert list(row.losses) == ["artifact note: its file is not in the folder"]


def test_a_place_without_anything_is_named(project):
    Path("empty").mkdir()

    with pytest.raises(TrackyardError, match="neither exports of neptune-exporter nor"):
        Client().import_runs("neptune:empty")
