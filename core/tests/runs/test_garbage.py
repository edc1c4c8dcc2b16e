"""Is a run deleted only once every tracker has everything of it?"""

from __future__ import annotations

import fcntl
import json
import os
import time

import pytest
from filing import Filing
from keeper import Keeper
from recorder import Recorder

from trackyard import Client, flavor, hookimpl, log_metric, pipeline, start_run, step
from trackyard.project.configuration import find_project
from trackyard.runs.folders import find_runs
from trackyard.runs.garbage import collect_garbage


@flavor
class Away(Recorder):
    """Be away."""

    @hookimpl
    def tracker_start_run(self, run):
        raise ConnectionError("nobody listens")


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def tracked(name, tracker="local", key="loss"):
    with start_run(name, experiment_tracker=tracker) as run:
        run.log_metric(key, 1.0)
    return find_project().home / "runs" / run.id


def collected(**options):
    found = collect_garbage(find_project(), **{"older_than": 0, **options})
    return {row.run: (row.state, row.reason) for row in found.runs}


def counted(**options):
    return collect_garbage(find_project(), **{"older_than": 0, **options}).kept


def test_run_that_every_tracker_has_is_deleted(local):
    folder = tracked("whole")

    assert collected(is_dry_run=True) == {"whole": ("would be deleted", "")}
    assert folder.exists()
    assert collected() == {"whole": ("deleted", "")}
    assert not folder.exists()
    assert collected() == {}
    names = {path.name for path in find_project().home.iterdir()}
    assert sorted(names - {"store.db-shm", "store.db-wal"}) == [  # of a connection that is kept
        ".gitignore",
        "collected",
        "indexed",
        "pending",
        "runs",
        "store.db",
    ]


def test_run_that_some_tracker_lacks_is_kept(local):
    local.add_tracker("away", Away, start_timeout=0.1, flush_timeout=0.1)
    tracked("half", ["local", "away"])

    assert collected() == {
        "half": ("kept", "away does not have all of it; type: trackyard sync"),
    }


def test_run_that_was_refused_in_part_is_kept(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    tracked("refused", "filed", key="bad")

    assert collected() == {"refused": ("kept", "filed refused 1 record(s)")}


def test_run_that_an_sdk_keeps_offline_is_kept_until_it_is_uploaded(project):
    project.add_tracker("kept", Keeper)
    tracked("offline", "kept")
    assert collected() == {"offline": ("kept", "kept keeps it offline; type: trackyard sync")}

    assert project.trackyard("sync").returncode == 0
    assert collected() == {"offline": ("deleted", "")}


def test_run_that_no_tracker_got_is_kept_and_counted(project):
    folder = tracked("quiet", None)

    assert collected() == {}
    assert counted() == {"no tracker has it": 1}
    assert folder.is_dir()


def test_run_that_no_tracker_got_keeps_its_pipeline_run(local):
    @step(experiment_tracker="local")
    def first() -> int:
        log_metric("loss", 1)
        return 1

    @step(experiment_tracker=None)
    def second(number: int) -> None:
        log_metric("loss", number)

    @pipeline
    def training() -> None:
        second(first())

    training()
    assert collected() == {
        "first": ("kept", "another run of its pipeline run, or of its parent, is kept")
    }
    assert counted() == {"no tracker has it": 1}


def test_without_an_index_every_folder_is_looked_at(local):
    with_tracker, without = tracked("whole"), tracked("quiet", None)
    (find_project().home / "indexed").unlink()

    assert counted(is_dry_run=True) == {"no tracker has it": 1}
    assert collected() == {"whole": ("deleted", "")}
    assert (with_tracker.exists(), without.exists()) == (False, True)


def test_run_that_lives_or_is_being_delivered_is_kept(local):
    with start_run("alive", experiment_tracker="local"):
        assert collected() == {"alive": ("kept", "it is running, or being delivered")}
    (run,) = find_runs(find_project(), "alive")
    lock = run.folder / "local" / "delivery.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert collected() == {"alive": ("kept", "it is running, or being delivered")}
    assert collected() == {"alive": ("deleted", "")}


@pytest.mark.slow
def test_folder_that_cannot_be_read_is_kept(local):
    folder = tracked("torn")
    (folder / "run.json").write_text("{")

    assert collected() == {folder.name: ("kept", "it cannot be read")}


def test_young_run_is_kept_and_counted(local):
    folder = tracked("old")
    tracked("young")
    past = time.time() - 3 * 3600
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (past, past))

    assert counted(older_than=3600, is_dry_run=True) == {"it is too young": 1}
    assert collected(older_than=3600) == {"old": ("deleted", "")}


def test_runs_of_a_pipeline_run_go_together(local):
    local.add_tracker("filed", Filing, directory=str(local.root / "filed"))

    @step(experiment_tracker="local")
    def first() -> int:
        log_metric("loss", 1)
        return 1

    @step(experiment_tracker="filed")
    def second(number: int) -> None:
        log_metric("bad", 1)

    @pipeline
    def training() -> None:
        second(first())

    training()
    assert collected() == {
        "first": ("kept", "another run of its pipeline run, or of its parent, is kept"),
        "second": ("kept", "filed refused 1 record(s)"),
    }


@pytest.mark.slow
def test_command_says_what_it_did(local):
    tracked("a")
    tracked("b")
    result = local.trackyard("gc", "--older-than", "0", "--dry-run")
    assert result.returncode == 0
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [
        ["a", "would be deleted"],
        ["b", "would be deleted"],
    ]
    assert result.stderr.startswith("would be deleted: 2 run(s), 0.")

    assert (
        local.trackyard("gc").stderr == "deleted: 0 run(s), 0.0 MB; kept: 2 (2: it is too young)\n"
    )
    rows = json.loads(local.trackyard("gc", "--older-than", "0s", "--json").stdout)
    assert [(row["run"], row["state"]) for row in rows] == [("a", "deleted"), ("b", "deleted")]
    assert (
        local.trackyard("gc").stderr == "there is no journal\ndeleted: 0 run(s), 0.0 MB; kept: 0\n"
    )


@pytest.mark.parametrize("text", ["soon", "-1", "3 parsecs", ""])
def test_odd_time_is_wrong_usage(local, text):
    result = local.trackyard("gc", "--older-than", text)

    assert result.returncode == 2
    assert "is no time such as 12h, 30d or 4w" in result.stderr


def test_deleted_run_leaves_no_row_and_no_mark_of_its_child_runs(project):
    with start_run("outer", experiment_tracker=None) as outer:
        with start_run("middle", nested=True) as middle:
            with start_run("inner", nested=True):
                log_metric("loss", 1)
            middle.log_metric("loss", 2)
        outer.log_metric("loss", 3)
    client = Client()
    client.delete_run(middle.id)

    assert [run.id for run in client.list_runs()] == [outer.id]
    assert client.list_runs(parent=outer.id) == []
    assert len(client.search_runs("metrics.loss < 3")) == 0
    with start_run("other", experiment_tracker=None) as other:
        other.log_metric("loss", 4)
    home = find_project().home
    client.delete_run(outer.id)
    assert [path.name for path in (home / "runs").iterdir()] == [other.id]
    rows = client._store.execute("SELECT id FROM runs", {})
    assert [row["id"] for row in rows] == [other.id]
    marks = [
        p
        for name in ("pending", "lacking", "unindexed", "offline")
        for p in (home / name).glob("*")
    ]
    assert marks == []
