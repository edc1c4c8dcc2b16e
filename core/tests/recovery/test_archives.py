"""Runs travel as one file, of which nothing chooses, reaches or fills what is not its own."""

from __future__ import annotations

import json
import math
import stat
import zipfile

import pytest
from recorder import Recorder

from trackyard import Client, start_run
from trackyard.contract.errors import TrackyardError
from trackyard.journal.pending import mark_as_pending

BLOB = "0" * 32 + "/blobs/" + "ab" * 32


@pytest.fixture
def archive(project):
    """Write a run with a child into a file."""
    project.add_tracker("new", Recorder)
    (project.root / "a.txt").write_text("content")
    with start_run("mine", experiment="fraud", experiment_tracker="new", tags={"team": "a"}) as run:
        run.log_params({"rate": 0.1, "odd": math.nan, "long": "x" * 2_000_000})
        for step in range(3):
            run.log_metric("loss", 3 - step, step=step)
        run.log_artifact("a.txt", name="plots/a.txt")
        with (
            pytest.raises(ValueError, match="no"),
            start_run("below", nested=True),
        ):
            raise ValueError("no")
    file = project.root / "runs.trackyard"
    assert Client().archive_runs("mine", file=file) == 2
    return file


@pytest.fixture
def colleague(project, tmp_path):
    """Give a client of another project, which has no tracker."""
    root = tmp_path / "elsewhere"
    root.mkdir()
    (root / "trackyard.toml").write_text("")
    return Client(root)


def rows_of(client, file):
    return client.import_runs(f"archive:{file}")


def points_of(run):
    curve = run.steps[0].curves["loss"]
    return [*zip(curve.steps, curve.values, strict=True)]


def members_of(file):
    with zipfile.ZipFile(file) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def write(file, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member, data in members:
            archive.writestr(member, data)


def with_index(file, **values):
    """Have the index say something else of its first run."""
    members = members_of(file)
    index = json.loads(members["archive.json"])
    index["runs"][0] |= values
    write(file, {**members, "archive.json": json.dumps(index)}.items())


def test_a_colleagues_runs_arrive_whole_under_their_ids(archive, colleague):
    rows = rows_of(colleague, archive)
    ours, theirs = Client().get_run("mine"), colleague.get_run("mine")

    assert [(row.run, row.state, row.left, row.changed) for row in rows] == [
        ("mine", "new", 0, 0),
        ("below", "new", 0, 0),
    ]
    assert (theirs.id, theirs.status, theirs.pipeline) == (ours.id, "finished", "fraud")
    assert (theirs.started_at, theirs.ended_at) == (ours.started_at, ours.ended_at)
    assert theirs.all_params["rate"] == 0.1
    assert len(theirs.all_params["long"]) == len(ours.all_params["long"])
    assert points_of(theirs) == points_of(ours) == [(0, 3), (1, 2), (2, 1)]
    assert theirs.steps[0].curves["loss"].timestamps == ours.steps[0].curves["loss"].timestamps
    assert theirs.steps[0].tags["team"] == "a"
    with theirs.artifacts["plots/a.txt"].open() as stream:
        assert stream.read() == "content"
    (below,) = theirs.children
    assert (below.name, below.status) == ("below", "failed")
    assert colleague.get_run("below").steps[0].error == "ValueError: no"
    assert [row.state for row in rows_of(colleague, archive)] == ["same", "same"]


def test_where_a_run_was_made_its_archive_changes_nothing(archive):
    assert [row.state for row in rows_of(Client(), archive)] == ["own", "own"]


def test_equal_runs_make_equal_files_without_trackers(archive, project):
    again = project.root / "again.trackyard"
    Client().archive_runs("mine", "below", file=again)

    assert again.read_bytes() == archive.read_bytes()
    assert {name.rpartition("/")[2].partition(".")[2] for name in members_of(again)} >= {"json"}
    assert not any("run.json" in name or "delivery" in name for name in members_of(again))


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_archived(project):
    file = project.root / "runs.trackyard"
    with (
        start_run("mine", experiment_tracker=None),
        pytest.raises(TrackyardError, match="still running"),
    ):
        Client().archive_runs("mine", file=file)
    assert not file.exists()


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


OUTSIDE = [
    "../outside.000001.tyj",
    "/etc/outside.000001.tyj",
    "0" * 32 + "/../outside.000001.tyj",
    "0" * 32 + "/..\\outside.000001.tyj",
    "0" * 32 + "/run.json",
    f"{BLOB}/..",
    f"{BLOB}/../../../outside",
    link(f"{BLOB}/value.json"),
    "trackyard.toml",
]


def test_a_member_that_is_no_file_of_an_archive_is_refused(archive, colleague, tmp_path):
    members = [*members_of(archive).items()]
    for member in OUTSIDE:
        write(archive, [*members, (member, "outside")])
        with pytest.raises(TrackyardError, match="is no file of an archive"):
            rows_of(colleague, archive)

    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("outside")]
    assert colleague.list_runs() == []


def test_what_grows_when_it_is_unpacked_is_refused(archive, colleague):
    members = [*members_of(archive).items(), (f"{BLOB}/a", b"\0" * 50_000_000)]
    write(archive, members, zipfile.ZIP_DEFLATED)

    with pytest.raises(TrackyardError, match="is compressed, which archives are not"):
        rows_of(colleague, archive)


def test_a_size_that_is_not_true_fills_nothing(archive, colleague):
    """A member says that it has four billion bytes."""
    data = archive.read_bytes()
    central = data.rindex(b"PK\1\2")
    huge = data[: central + 20] + b"\xfe\xff\xff\xff" * 2 + data[central + 28 :]
    archive.write_bytes(huge)

    with pytest.raises(TrackyardError, match="holds more than its size"):
        rows_of(colleague, archive)


NO_RUNS = [
    {"id": "../../outside"},
    {"status": "won"},
    {"started_at": "soon"},
    {"tags": {"team": 1}},
    {"failure": {"status": "failed", "code": "import os"}},
]


def test_an_index_that_says_what_no_run_is_is_refused(archive, colleague):
    members = members_of(archive)
    for values in NO_RUNS:
        write(archive, members.items())
        with_index(archive, **values)
        with pytest.raises(TrackyardError, match="no archive of Trackyard's"):
            rows_of(colleague, archive)


def test_trackers_that_an_archive_names_are_not_those_of_the_run(archive, colleague):
    table = {"flavor": "recorder:Recorder", "token": "env:HOME"}
    tracker = {"name": "new", "folder": "new", "table": table, "place": "x"}
    with_index(archive, trackers=[tracker], sources=[{"source": "mlflow"}])
    (row, _) = rows_of(colleague, archive)
    described = json.loads((colleague._home / "runs" / row.id / "run.json").read_text())
    mark_as_pending(colleague._home / "runs" / row.id)

    assert (row.state, described["trackers"], "sources" in described) == ("new", [], False)
    assert colleague.sync() == []


def test_a_newer_archive_and_what_is_none_are_named(archive, colleague, project):
    members = members_of(archive)
    index = {**json.loads(members["archive.json"]), "format": 99}
    write(archive, {**members, "archive.json": json.dumps(index)}.items())
    other = project.root / "other"
    other.write_text("x")

    with pytest.raises(TrackyardError, match="newer"):
        rows_of(colleague, archive)
    with pytest.raises(TrackyardError, match="no archive of Trackyard's"):
        rows_of(colleague, other)
    with pytest.raises(TrackyardError, match="there is no such file"):
        rows_of(colleague, project.root / "nothing")


def test_a_damaged_member_is_named_and_the_other_runs_come(archive, colleague):
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b'{"loss":2', b'{"loss":9', 1))
    mine, below = rows_of(colleague, archive)

    assert (mine.state, below.state) == ("failed", "new")
    assert "is damaged" in mine.problem
