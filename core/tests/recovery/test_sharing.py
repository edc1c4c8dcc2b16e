"""Do journals reach the artifact store of a team, and is everything of a run read from there?

A machine is a folder; both have one database and one artifact store.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from left_behind import remove, wait_until
from s3_server import s3_environment, s3_server

from trackyard import Client, TrackyardError, pipeline, start_run, step
from trackyard.journal.pending import to_be_shared_folders
from trackyard.project.configuration import find_project
from trackyard.recovery.growing import GrowingRuns
from trackyard.recovery.sharing import SharedJournal, share_journals


class Machines:
    """Two machines of a team without a tracker that both can reach."""

    def __init__(self, root, monkeypatch, store):
        self._root, self._monkeypatch = root, monkeypatch
        self.journals = root / "shared" / "journals"
        for name in ("one", "two"):
            (root / name).mkdir()
            (root / name / "trackyard.toml").write_text(
                f'store = "sqlite:///{root / "team.db"}"\n'
                "[journal]\nupload = true\n"
                f'[stacks.default]\nartifact_store = "{store or root / "shared"}"\n'
            )
        self.go_to("one")

    def go_to(self, machine):
        self._monkeypatch.chdir(self._root / machine)

    def leave_without_a_trace(self):
        """Go on on the second machine, when the first one is gone with its disk."""
        assert share_journals(find_project()) == []
        self.go_to("two")
        remove(self._root / "one")


@pytest.fixture
def machines(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    return Machines(tmp_path, monkeypatch, None)


@pytest.fixture
def s3():
    with s3_server() as address, s3_environment(address):
        yield boto3.client("s3")


def logged(name="mine"):
    with start_run(name, tags={"stage": "dev"}) as run:
        run.log_params({"rate": 0.1})
        for i in range(5):
            run.log_metric("loss/all", 1 / (i + 1), step=i)
        run.log_text("hello", "notes/a.txt")
        print("it trains")
    return run


def test_everything_of_a_run_without_a_tracker_is_read_from_there(machines):
    run = logged()
    machines.leave_without_a_trace()
    view = Client().get_run(run.id)
    curve = view.curves["loss/all"]
    assert [*curve.steps] == [0, 1, 2, 3, 4]
    assert curve.values[4] == 0.2
    assert view.artifacts["notes/a.txt"].read_text() == "hello"
    assert "it trains" in "".join(line.text for line in view.console)
    assert view.steps[0].params == {"rate": 0.1}


def test_no_tracker_is_named_there(machines):
    machines.go_to("one")
    file = Path("trackyard.toml")
    file.write_text(
        file.read_text().replace(
            "[stacks.default]\n", '[stacks.default]\nexperiment_trackers=["t"]\n'
        )
        + '[experiment_trackers.t]\nflavor = "filing:Filing"\ndirectory = "filed"\n'
    )
    run = logged()
    share_journals(find_project())
    described = json.loads((machines.journals / run.id / "run.json").read_text())
    assert "filing" not in json.dumps(described)
    assert described["trackers"] == []


def test_a_run_that_goes_on_is_sent_as_far_as_it_is(machines):
    with start_run("on") as run:
        run.log_metric("loss", 0.5, step=0)
        wait_until(lambda: Client().search_runs("status = 'running'"))
        (left,) = share_journals(find_project())
        assert (left.name, left.problem) == ("on", "")
        (journal,) = (machines.journals / run.id).glob("*.tyj")
        size = journal.stat().st_size
        assert 0 < size < 4096  # without the room that it is made with
        machines.go_to("two")
        assert [*Client().get_run(run.id).curves["loss"].values] == [0.5]
        machines.go_to("one")
        run.log_metric("loss", 0.25, step=1)
        print("it goes on")
        share_journals(find_project())
        assert journal.stat().st_size > size
        machines.go_to("two")
        found = Client().get_run(run.id)
        assert [*found.curves["loss"].values] == [0.5, 0.25]
        assert found.console.text == "it goes on\n"
        with pytest.raises(TrackyardError, match="goes on on another machine"):
            Client().archive_runs(run.id, file="run.trackyard")
        machines.go_to("one")
    assert share_journals(find_project()) == []
    assert to_be_shared_folders(find_project().home) == []


def test_a_process_sends_what_goes_on(machines):
    growing = GrowingRuns(find_project())
    with start_run("on") as run:
        run.log_metric("loss", 0.5)
        growing.share()
        assert not machines.journals.exists()  # a minute is not over
        growing._next_sharing = 0.0
        growing.share()
        assert growing._sharing.wait(60) == 0
        assert (machines.journals / run.id / "run.json").exists()


def test_a_run_is_archived_and_replayed_from_there_as_it_was(machines, tmp_path):
    run = logged()
    before = [*Client().get_run(run.id).curves["loss/all"].timestamps]
    machines.leave_without_a_trace()
    assert Client().archive_runs(run.id, file=tmp_path / "run.trackyard") == 1
    (tmp_path / "third").mkdir()
    machines.go_to("third")
    Path("trackyard.toml").write_text("")
    [*Client().import_runs(f"archive:{tmp_path / 'run.trackyard'}")]
    view = Client().get_run(run.id)
    assert [*view.curves["loss/all"].timestamps] == before
    assert view.steps[0].params == {"rate": 0.1}
    assert view.artifacts["notes/a.txt"].read_text() == "hello"


def test_the_steps_of_a_pipeline_are_there(machines):
    @step
    def fit():
        with start_run("inner", nested=True) as inner:
            inner.log_metric("loss", 0.5)
        return 1

    @pipeline
    def training():
        fit()

    training()
    ids = [folder.name for folder in to_be_shared_folders(find_project().home)]
    machines.leave_without_a_trace()
    assert ids
    assert {path.name for path in machines.journals.iterdir()} == {*ids}


def test_tags_that_come_later_are_sent(machines):
    run = logged()
    share_journals(find_project())
    Client().set_tags(run.id, {"reviewed": "yes"})
    assert [folder.name for folder in to_be_shared_folders(find_project().home)] == [run.id]
    machines.leave_without_a_trace()
    assert Client().get_run(run.id).tags["reviewed"] == "yes"


def test_a_run_that_was_killed_is_sent_by_its_watchdog(machines, monkeypatch):
    monkeypatch.delenv("TRACKYARD_WATCHDOG")
    dies = (
        "import os, trackyard\n"
        "with trackyard.start_run('dead') as run:\n"
        "    run.log_metric('loss', 0.5)\n"
        "    print(run.id, flush=True)\n"
        "    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", dies], capture_output=True, text=True, check=False)
    id_ = done.stdout.strip()
    wait_until(lambda: not to_be_shared_folders(find_project().home))
    machines.leave_without_a_trace()
    view = Client().get_run(id_)
    assert (view.status, [*view.curves["loss"].values]) == ("crashed", [0.5])


def test_sync_says_what_the_store_lacks_and_gc_keeps_it(machines, tmp_path):
    run = logged()
    (tmp_path / "shared").write_text("no folder")
    (row,) = Client().sync()
    assert (row.id, row.tracker, row.state, row.pending) == (
        run.id,
        "artifact store",
        "incomplete",
        1,
    )
    assert row.problem.startswith(f"artifact store {tmp_path / 'shared'} cannot be written: ")
    (tmp_path / "shared").unlink()
    assert Client().sync() == []
    assert to_be_shared_folders(find_project().home) == []


def test_without_a_store_that_others_reach_sync_says_so(machines):
    file = Path("trackyard.toml")
    file.write_text(file.read_text().split("[stacks")[0])
    logged()
    (row,) = Client().sync()
    assert row.problem == "no stack names an artifact store outside of this project's home"


def test_a_run_that_is_deleted_is_deleted_there(machines):
    run, other = logged(), logged("other")
    share_journals(find_project())
    Client().delete_run(run.id)
    assert [path.name for path in machines.journals.iterdir()] == [other.id]


@pytest.mark.slow
def test_a_bucket_serves_as_well_and_what_it_did_not_take_comes_later(tmp_path, monkeypatch, s3):
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    machines = Machines(tmp_path, monkeypatch, "s3://team/outputs")
    run = logged()
    (row,) = Client().sync()
    assert row.problem.startswith("artifact store s3://team/outputs cannot be written: ")
    s3.create_bucket(Bucket="team")
    assert Client().sync() == []
    machines.leave_without_a_trace()
    view = Client().get_run(run.id)
    assert [*view.curves["loss/all"].steps] == [0, 1, 2, 3, 4]
    assert view.artifacts["notes/a.txt"].read_text() == "hello"
    Client().delete_run(run.id)
    assert "Contents" not in s3.list_objects_v2(Bucket="team", Prefix="outputs/journals/")


def test_what_lies_there_and_no_journal_has_stays_there(machines, tmp_path):
    run = logged()
    machines.leave_without_a_trace()
    (machines.journals / run.id / "sitecustomize.py").write_text("raise SystemExit")
    described = machines.journals / run.id / "run.json"
    said = json.loads(described.read_text())
    said["trackers"] = [{"name": "t", "folder": "t", "table": {"flavor": "evil:Evil"}, "place": ""}]
    described.write_text(json.dumps(said))
    (tmp_path / "two" / "evil.py").write_text("open('canary', 'w')")
    view = Client().get_run(run.id)
    assert [*view.curves["loss/all"].steps] == [0, 1, 2, 3, 4]
    assert view.artifacts["notes/a.txt"].read_text() == "hello"
    assert not (tmp_path / "two" / "canary").exists()
    found = SharedJournal.find(find_project(), run.id, tmp_path / "fetched")
    found.fetch_files()
    files = {path.name for path in found.folder.rglob("*") if path.is_file()}
    assert "sitecustomize.py" not in files
    assert {"run.json", "a.txt"} <= files
