"""Does one get the files that a run logged, also when its journal is gone?"""

from __future__ import annotations

import gc
import json
import tempfile
from pathlib import Path

import pytest
from filing import Filing
from recorder import Recorder

from trackyard import (
    ArtifactNotFoundError,
    Client,
    TrackyardError,
    log_artifact,
    log_text,
    pipeline,
    start_run,
    step,
)
from trackyard.project.configuration import find_project
from trackyard.runs.garbage import collect_garbage
from trackyard.runs.reading_back import TIMEOUT, reading_within, timeout_now


@step(experiment_tracker="filed")
def train() -> None:
    log_text("one", "report.txt")
    log_text("two", "report.txt")
    log_text("left", "a/../odd\0name.txt")
    Path("models").mkdir(exist_ok=True)
    Path("models/a.bin").write_bytes(b"\x00\xff")
    Path("models/b.bin").write_bytes(b"b")
    log_artifact("models")


@step(experiment_tracker="filed")
def evaluate() -> None:
    log_text("evaluated", "report.txt")
    log_text("<p>", "page.html")


@step(experiment_tracker=False)
def load() -> None:
    pass


@pipeline
def training():
    load()
    train()
    evaluate()


@pytest.fixture
def filed(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    return project


@pytest.fixture
def block(filed):
    with start_run("baseline", experiment_tracker="filed") as run:
        run.log_text("hello", "notes/report.txt")
    return Client().get_run("baseline")


def collect():
    rows = collect_garbage(find_project(), older_than=0).runs
    assert {row.state for row in rows} == {"deleted"}


def test_logged_file_is_opened_read_and_saved(block, tmp_path):
    file = block.artifacts["notes/report.txt"]

    assert (file.kind, file.size, file.media_type) == ("text", 5, "text/plain")
    assert (file.read_text(), file.read_bytes()) == ("hello", b"hello")
    with file.open() as text, file.open("rb") as data:
        assert (text.read(), data.read()) == ("hello", b"hello")
    assert file.save(tmp_path / "copy.txt").read_text() == "hello"
    assert file.save(tmp_path) == tmp_path / "notes/report.txt"
    assert block.artifacts.save(tmp_path / "all") == [tmp_path / "all/notes/report.txt"]
    assert list(tmp_path.glob("**/.*.txt.*")) == []


def test_logged_file_is_not_written(block):
    with pytest.raises(ValueError, match="only read: mode is 'r' or 'rb', not 'w'"):
        block.artifacts["notes/report.txt"].open("w")


def test_unknown_name_is_answered_with_near_ones(block):
    with pytest.raises(ArtifactNotFoundError, match=r"; did you mean 'notes/report.txt'\?$"):
        block.artifacts["notes/reprot.txt"]
    with pytest.raises(ArtifactNotFoundError, match=r"a folder: type .in_folder\('notes'\)"):
        block.artifacts["notes"]
    with pytest.raises(ArtifactNotFoundError, match="has no folder 'note'; did you mean 'notes'"):
        block.artifacts.in_folder("note")
    assert "zebra" not in block.artifacts
    assert block.artifacts.get("zebra") is None


@pytest.mark.parametrize("is_collected", [False, True])
def test_files_of_a_pipeline_run_are_there_while_any_tracker_has_them(
    filed, tmp_path, is_collected
):
    run = training()
    if is_collected:
        collect()
    for view in (Client().get_run(run.name), Client().get_pipeline_run(run.name)):
        files = view.artifacts

        assert len(files) == 6
        assert files["train/report.txt"].read_text() == "two"
        assert files["evaluate/report.txt"].read_text() == "evaluated"
        assert files["page.html"].read_text() == "<p>"
        assert set(files.in_folder("models")) == {"models/a.bin", "models/b.bin"}
        assert files["models/a.bin"].read_bytes() == b"\x00\xff"
        assert files["a/../odd\0name.txt"].read_text() == "left"
        assert (tmp_path / "saved/a/odd/name.txt") in files.save(tmp_path / "saved")
    assert run.steps["train"].artifacts["models/b.bin"].read_text() == "b"


def test_file_that_was_logged_again_has_the_earlier_ones(filed):
    file = training().steps["train"].artifacts["report.txt"]

    assert [(one.read_text(), one.earlier) for one in file.earlier] == [("one", ())]
    assert file.earlier[0].logged_at < file.logged_at


def test_look_asks_no_tracker(filed):
    run = training()
    collect()
    (filed.root / "filed").rename(filed.root / "gone")
    view = Client().get_run(run.name)

    load, train, _ = (step.artifacts.shown() for step in view.steps)
    assert (load, train[0]) == ([], "report.txt")  # by the store
    assert view._repr_html_()
    assert repr(view.artifacts)
    assert filed.trackyard("runs", "show", run.name).returncode == 0
    with pytest.raises(ArtifactNotFoundError, match=r"no tracker gives .*: filed: .*No such file"):
        list(view.artifacts)


def test_view_that_was_read_before_goes_on_when_the_journal_is_collected(block):
    file = block.artifacts["notes/report.txt"]
    collect()

    assert file.read_text() == "hello"


def test_damaged_file_comes_from_a_tracker(block):
    (path,) = find_project().home.glob("runs/*/blobs/*/report.txt")
    path.write_text("hellx")

    assert Client().get_run("baseline").artifacts["notes/report.txt"].read_text() == "hello"


def test_tracker_that_cannot_be_read_is_named(project):
    project.add_tracker("local", Recorder)

    @step(experiment_tracker="local")
    def report() -> None:
        log_text("one", "report.txt")

    run = pipeline(report, name="reporting")()
    collect()
    with pytest.raises(TrackyardError, match=r"no tracker gives .* local: flavor .* cannot read"):
        Client().get_run(run.name).artifacts["report.txt"]


@pytest.mark.slow
def test_what_a_tracker_gave_is_deleted_with_what_refers_to_it(filed, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run = training()
    collect()
    file = Client().get_run(run.name).steps[1].artifacts["report.txt"]
    gc.collect()
    assert file.read_text() == "two"
    (place,) = tmp_path.glob("trackyard-*")

    del file
    gc.collect()
    assert not place.exists()


def test_deleted_run_leaves_nothing(filed):
    run = training()
    collect()
    assert len(list((find_project().home / "collected").iterdir())) == 2

    Client().delete_run(run.name)

    assert list((find_project().home / "collected").iterdir()) == []


def test_what_is_left_of_a_run_leads_nowhere_else(filed, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "project"))
    run = training()
    collect()
    place = find_project().home / "collected" / f"{run.steps['train'].id}.json"
    kept = json.loads(place.read_text())
    kept["files"] |= {"../../../evil": "", "/evil": "", "filed/../../../evil": ""}
    place.write_text(json.dumps(kept))

    assert len(Client().get_run(run.name).artifacts) == 6
    assert list(tmp_path.rglob("evil")) == []


def test_what_a_newer_version_left_of_a_run_is_said_to_be_newer(filed):
    run = training()
    collect()
    place = find_project().home / "collected" / f"{run.steps['train'].id}.json"
    place.write_text(json.dumps({"format": 99}))

    with pytest.raises(TrackyardError, match="written by a newer Trackyard"):
        list(Client().get_run(run.name).artifacts)


def test_tracker_that_gives_files_late_is_waited_for_as_long_as_asked():
    with reading_within(3.5):
        assert timeout_now() == 3.5
    assert timeout_now() == TIMEOUT


@pytest.mark.slow
def test_files_are_downloaded_by_a_command(filed):
    run = training()
    download = ["runs", "download", run.name]

    got = filed.trackyard(*download, "models", "--to", "got", "--timeout", "300")
    assert "models/a.bin  2 bytes" in got.stdout
    assert sorted(path.name for path in Path("got").rglob("*.bin")) == ["a.bin", "b.bin"]
    rows = json.loads(filed.trackyard(*download, "page.html", "--json").stdout)
    assert [(row["name"], row["kind"], row["path"]) for row in rows] == [
        ("page.html", "html", "page.html")
    ]
    failed = filed.trackyard(*download, "pag.html")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.endswith("did you mean 'page.html'?\n")
    Path("file").touch()
    assert "is a file" in filed.trackyard(*download, "--to", "file").stderr
