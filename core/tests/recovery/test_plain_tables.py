"""Plain tables, long and wide, become runs: numbers are points, texts are params."""

from __future__ import annotations

import math

import pytest

from trackyard import Client
from trackyard.contract.errors import TrackyardError
from trackyard.contract.importing import RunQuery
from trackyard.project.configuration import find_project
from trackyard.recovery.plain_tables import Tables
from trackyard.runs.exporting import COLUMNS

LONG = """\
run,step,time,key,value
first,0,2026-01-31T12:00:00Z,loss,0.5
second,0,1769860800,loss,nan
first,1,1769860800500,loss,0.25
first,,,optimizer,adam
first,,,optimizer,adam
first,,,optimizer,sgd
first,x,,loss,1e-3
"""
MOMENT = 1_769_860_800_000_000_000


@pytest.fixture
def root(project):
    project.configure("")
    return project.root


def imported(place):
    return {row.run: row for row in Client().import_runs(f"csv:{place}")}


def points_of(name, key="loss"):
    curve = Client().get_run(name).steps[0].curves[key]
    return [*zip(curve.steps, curve.values, curve.timestamps, strict=True)]


def test_a_long_table_has_a_row_for_each_value(root):
    (root / "results.csv").write_text(LONG)
    rows = imported("results.csv")

    written_at = (root / "results.csv").stat().st_mtime_ns
    assert {*points_of("first")} == {
        (0, 0.5, MOMENT),
        (1, 0.25, MOMENT + 500_000_000),
        (None, 0.001, written_at),
    }
    assert math.isnan(points_of("second")[0][1])
    assert Client().get_run("first").all_params == {"optimizer": "adam"}
    assert Client().get_run("first").pipeline == "results"
    assert rows["first"].losses == {
        "optimizer: a text that differs from the first one": 1,
        "step 'x' of results.csv, row 8": 1,
    }


def test_a_wide_table_has_a_column_for_each_metric(root):
    folder = root / "tables"
    folder.mkdir()
    wide = "\ufeff;step;loss;accuracy;note\r\n0;0;0.5;;fine\r\n1;1.5;0.25;0.5;fine\r\n"
    (folder / "mine.csv").write_bytes(wide.encode())
    (folder / "other.tsv").write_text("run\tloss\nb\t1\n")
    (folder / "link.csv").symlink_to("/etc/passwd")
    rows = imported(folder)

    assert {*rows} == {"mine", "b"}
    assert [point[:2] for point in points_of("mine")] == [(0, 0.5), (1.5, 0.25)]
    assert [point[:2] for point in points_of("mine", "accuracy")] == [(1.5, 0.5)]
    assert Client().get_run("mine").all_params == {"note": "fine"}


def test_a_table_is_only_read_and_what_it_has_more_is_added(root):
    file = root / "results.csv"
    file.write_text(LONG)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    imported(file)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert {row.state for row in imported(file).values()} == {"same"}

    file.write_text(f"{LONG}second,1,,loss,2\n")
    assert {name: row.state for name, row in imported(file).items()} == {
        "first": "same",
        "second": "grown",
    }
    assert [value for _, value, _ in points_of("second")][1:] == [2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first row is to name the columns"),
        (b"run,step\na,1\n", "the first row is to name the columns"),
        (b"loss,loss\n1,2\n", "the first row is to name the columns"),
        (b"loss\n\xff\n", "cannot be read: it is no text in UTF-8"),
    ],
)
def test_what_is_no_table_is_named(content, message, root):
    (root / "results.csv").write_bytes(content)

    with pytest.raises(TrackyardError, match=message):
        imported("results.csv")
    with pytest.raises(TrackyardError, match="no CSV file"):
        imported(find_project().root / "nothing")


def test_what_trackyard_itself_exported_moves_in_another_way(root):
    (root / "results.csv").write_text(",".join(COLUMNS) + "\n")

    with pytest.raises(TrackyardError, match="trackyard archive RUN"):
        imported("results.csv")


def test_a_run_is_read_from_where_it_stands(root):
    """Else the rows of all runs before it would be read for each run."""
    lines = [f"run {run},{step},loss,{step}" for run in range(300) for step in range(3)]
    path = root / "results.csv"
    path.write_text("run,step,key,value\n" + "\n".join(lines))
    tables = Tables(str(path))
    *_, last = tables.list_runs(RunQuery())
    content = path.read_bytes()
    path.write_bytes(b"\xff" * (len(content) - 60) + content[-60:])

    assert len([*tables.read_remote_run(None, last.remote_id)]) == 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_between_those_of_others_and_texts_of_several_lines_are_read(root, end):
    rows = [
        "run,step,key,value",
        "a,0,loss,1",
        'b,0,note,"two\nlines, é"',
        "a,1,loss,2",
        "",
        "b,0,loss,3",
        "a,2,loss,4",
    ]
    content = end.join(rows).replace("two\nlines", "two lines" if end == "\r" else "two\nlines")
    (root / "results.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    rows = imported("results.csv")

    assert {name: row.metrics for name, row in rows.items()} == {"a": 3, "b": 1}
    assert [step for step, *_ in points_of("a")] == [0, 1, 2]
    assert Client().get_run("b").all_params["note"].endswith("lines, é")
