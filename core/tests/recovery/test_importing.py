"""Runs that others hold become runs of the project: once, whole, the source left as it was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import ClassVar

import pytest
from filing import Filing
from foreign import Foreign, write
from recorder import Recorder

from trackyard import Capabilities, Client, flavor, start_run
from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.contract.importing import RemoteRun, inside
from trackyard.project.configuration import find_project
from trackyard.recovery.importing import parents_first
from trackyard.system.locks import FileLock

MOMENT = 1_600_000_000_000_000_000
WHOLE = {
    "run": {
        "name": "old one",
        "experiment": "fraud",
        "status": "failed",
        "started_at": MOMENT,
        "ended_at": MOMENT + 5_000_000_000,
        "user": "ann",
        "failure": ["failed", "ValueError", "no"],
        "version": "1",
    },
    "tags": {"team": "a"},
    "params": {"rate": 0.1, "odd": "x\ny"},
    "metrics": {"loss": [3, 2, 1], "odd": ["NaN", "Infinity"]},
    "artifacts": {"plots/a.txt": "files/a.txt"},
}


@flavor
class Finite(Recorder):
    """Hold no odd numbers."""

    capabilities: ClassVar[Capabilities] = Capabilities(not_a_number="drop")


@pytest.fixture
def source(project):
    project.add_tracker("there", Foreign, folder=str(project.root / "foreign"))
    project.add_tracker("new", Recorder)
    root = project.root / "foreign"
    (root / "files").mkdir(parents=True)
    (root / "files" / "a.txt").write_text("content")
    return root


def rows_of(**options):
    return Client().import_runs("there", **options)


def one(**options):
    (row,) = rows_of(**options)
    return row


def bytes_of(folder):
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def test_a_run_arrives_whole(source):
    write(source, "r1", **WHOLE)
    row = one()
    run = Client().get_run("old one")

    assert (row.state, row.metrics, row.params, row.tags, row.artifacts) == ("new", 5, 2, 1, 1)
    assert (run.id, run.status, run.pipeline) == (row.id, "failed", "fraud")
    assert run.all_params == {"rate": 0.1, "odd": "x\ny"}
    assert run.steps[0].tags["team"] == "a"
    assert run.steps[0].tags["trackyard.imported_from"] == "foreign:Foreign"
    assert run.steps[0].tags["trackyard.imported_id"] == "r1"
    assert run.context.user == "ann"
    assert run.started_at.timestamp() == MOMENT / 1e9
    with run.artifacts["plots/a.txt"].open() as file:
        assert file.read() == "content"
    assert run.steps[0].error == "ValueError: no"


def test_the_id_follows_from_the_flavor_and_the_sources_own_id_alone(source, project):
    write(source, "r1", **WHOLE)
    before = one().id
    source.rename(project.root / "moved")
    project.configure("")
    project.add_tracker("elsewhere", Foreign, folder=str(project.root / "moved"))

    assert [(row.id, row.state) for row in Client().import_runs("elsewhere")] == [(before, "same")]


def test_a_second_import_changes_nothing(source, project):
    write(source, "r1", **WHOLE)
    one()
    runs = project.root / ".trackyard" / "runs"
    before = bytes_of(runs)
    row = one()

    assert (row.state, row.metrics) == ("same", 5)
    assert bytes_of(runs) == before


def test_a_second_import_of_a_run_without_a_version_adds_nothing(source):
    run = {key: value for key, value in WHOLE["run"].items() if key != "version"}
    write(source, "r1", **{**WHOLE, "run": run})
    one()

    assert one().state == "same"
    assert Client().get_run("old one").metrics["loss"].points == 3


def test_the_source_is_as_it_was(source):
    write(source, "r1", **WHOLE)
    before = bytes_of(source)
    one()

    assert bytes_of(source) == before


def test_a_run_that_has_grown_gets_the_rest_and_its_end(source):
    running = {**WHOLE["run"], "status": "running", "ended_at": None, "failure": None}
    write(source, "r1", **{**WHOLE, "run": running})
    one()
    grown = {
        **WHOLE,
        "run": {**WHOLE["run"], "status": "finished", "version": "2", "failure": None},
    }
    grown["metrics"] = {"loss": [3, 2, 1, 0.5], "odd": ["NaN", "Infinity"], "new": [1]}
    grown["tags"] = {"team": "b"}
    write(source, "r1", **grown)
    row = one()
    run = Client().get_run("old one")

    assert row.state == "grown"
    assert run.status == "finished"
    assert run.metrics["loss"].points == 4
    assert run.steps[0].tags["team"] == "b"
    assert run.metrics["new"].last == 1
    assert len(run.artifacts) == 1


def test_of_the_ends_of_a_run_that_ended_otherwise_later_the_last_one_counts(source):
    for number, status in enumerate(["failed", "finished", "killed", "finished", "failed"]):
        ended_at = MOMENT + (10 - number) * 1_000_000_000  # it is the import that is later
        end = {"status": status, "ended_at": ended_at, "version": str(number)}
        write(source, "r1", **{**WHOLE, "run": {**WHOLE["run"], **end, "failure": None}})
        state = one().state
        run = Client().get_run("old one")

        assert state == ("grown" if number else "new")
        assert (run.status, run.ended_at.timestamp()) == (status, ended_at / 1e9)


def test_a_run_that_grew_after_its_replay_reaches_the_tracker(source, project):
    write(source, "r1", **WHOLE)
    one(to="new")
    grown = {**WHOLE, "run": {**WHOLE["run"], "version": "2"}}
    grown["metrics"] = {"loss": [3, 2, 1, 0.5], "odd": ["NaN", "Infinity"]}
    write(source, "r1", **grown)
    row = one(to="new")

    assert (row.state, row.delivered) == ("grown", True)
    assert len(project.logged("metrics", "new")) == 6


@pytest.mark.slow
def test_a_run_goes_on_to_a_tracker_as_it_was(source, project):
    write(source, "r1", **WHOLE)
    row = one(to="new")
    (start,) = project.calls("start", "new")

    assert row.delivered
    assert project.hooks("new") == ["start", "log", "fail"]
    assert (start["name"], start["id"]) == ("old one", row.id)
    assert len(project.logged("metrics", "new")) == 5


def test_children_stand_below_their_parents_whatever_their_order(source):
    write(source, "a", run={"name": "trial", "parent_id": "b"})
    write(source, "b", run={"name": "search"})
    rows = {row.run: row for row in rows_of()}
    parent = Client().get_run("search")

    assert [child.name for child in parent.children] == ["trial"]
    assert [run.name for run in Client().list_runs()] == ["search"]
    assert Client().get_run(rows["trial"].id).parent_id == rows["search"].id


def test_a_run_that_carries_an_id_of_trackyards_is_that_run(source):
    own = "0123456789abcdef0123456789abcdef"
    write(source, "r1", tags={"trackyard.run_id": own}, metrics={"loss": [1]})
    write(source, "r2", tags={"trackyard.run_id": "no id"}, metrics={"loss": [1]})

    assert [row.id == own for row in rows_of()] == [True, False]
    assert [row.state for row in rows_of()] == ["same", "same"]


def test_a_run_of_this_project_is_left_alone(source):
    with start_run("mine", experiment_tracker=None) as run:
        run.log_metric("loss", 1)
    write(source, "r1", tags={"trackyard.run_id": run.id}, metrics={"loss": [1, 2]})

    assert one().state == "own"
    assert Client().get_run("mine").metrics["loss"].points == 1


def test_what_cannot_be_read_is_named_and_does_not_stop_the_rest(source):
    write(source, "r1", artifacts={"a": "/etc/hostname", "b": "files/a.txt"}, metrics={"loss": [1]})
    write(source, "r2", raises="torn at byte 7")
    write(source, "r3", metrics={"loss": [1]})
    first, second, third = rows_of()

    assert (first.left, first.artifacts) == (1, 1)
    assert first.losses == {"artifact a: elsewhere": 1}
    assert second.state == "failed"
    assert "torn at byte 7" in second.problem
    assert third.state == "new"
    assert {run.name for run in Client().list_runs()} == {"r1", "r3"}


def test_points_and_files_have_times_that_can_be(source):
    late = {"run": {"started_at": MOMENT, "ended_at": 10**30}, "metrics": {"loss": [1]}}
    write(source, "r1", **late, moment=10**25)
    row = one()

    assert any(what.startswith("ended_at: 1000") for what in row.losses)
    assert row.changes == {"times that cannot be, which became that of the start": 1}
    assert Client().get_run(row.id).started_at.timestamp() == MOMENT / 1e9


def test_what_only_the_end_of_a_file_tells_counts(source):
    write(source, "r1", late={"status": "killed", "ended_at": MOMENT, "name": "late"})
    one()

    assert Client().get_run("late").status == "killed"


def test_a_plan_writes_nothing_and_says_what_the_target_cannot_hold(source, project):
    project.add_tracker("finite", Finite)
    write(source, "r1", **WHOLE)
    row = one(is_plan=True, to="finite")

    assert (row.state, row.metrics, row.bytes, row.left) == ("planned", 5, 7, 2)
    assert not (project.root / ".trackyard" / "runs").exists()


def test_runs_are_chosen(source):
    for number in range(4):
        run = {"name": f"n{number}", "experiment": f"e{number % 2}", "started_at": MOMENT + number}
        write(source, f"r{number}", run=run, metrics={"loss": [number]})

    def chosen(**options):
        return [row.run for row in rows_of(is_plan=True, **options)]

    assert chosen(experiment="e1") == ["n1", "n3"]
    assert chosen(runs=["n2", "r3"]) == ["n2", "n3"]
    assert chosen(limit=2) == ["n0", "n1"]
    rows = rows_of(filter="metrics.loss > 1")
    assert [row.run for row in rows if row.state == "new"] == ["n2", "n3"]
    assert {run.name for run in Client().list_runs()} == {"n2", "n3"}


def test_an_imported_run_is_found_and_listed_as_such(source):
    write(source, "r1", **WHOLE)
    one()

    assert [
        run.name for run in Client().search_runs("kind = 'imported' and params.rate = 0.1")
    ] == ["old one"]


def test_secrets_are_left_out(source):
    write(source, "r1", params={"api_key": "abcdefgh12345678"})
    one()

    assert Client().get_run("r1").all_params == {"api_key": "***"}


@pytest.mark.parametrize(
    ("source_name", "message"),
    [
        ("their", "did you mean 'there'"),
        ("mlfow:./x", "no flavor 'mlfow' is installed"),
        ("zebra:./x", "no flavor 'zebra' is installed; installed are 'archive', "),
        ("new", "cannot list runs"),
    ],
)
def test_a_source_that_is_none_is_named(source, source_name, message):
    with pytest.raises(ConfigError, match=message):
        Client().import_runs(source_name)


def test_one_import_at_a_time(source):
    home = find_project().home
    home.mkdir(exist_ok=True)
    lock = FileLock(home / "importing.lock")
    assert lock.acquire()
    try:
        with pytest.raises(TrackyardError, match="another import is under way"):
            rows_of()
    finally:
        lock.release()


@pytest.mark.slow
def test_the_command_shows_a_table_and_json(source, project):
    write(source, "r1", **WHOLE)
    write(source, "r2", raises="torn")
    table = project.trackyard("import", "there")
    found = json.loads(project.trackyard("import", "there", "--json").stdout)

    assert table.returncode == 1
    assert table.stdout.split("\t")[:4] == ["old one", "fraud", "failed", "new"]
    assert "r2: tracker_read_run: ValueError: torn" in table.stderr
    assert [row["state"] for row in found] == ["same", "failed"]


def test_what_arrived_is_compared_with_its_source_here_and_on_trackers(source, project):
    write(source, "r1", **WHOLE)
    write(source, "r2", run={"name": "left", "version": "1"}, artifacts={"x": "../x.txt"})
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    rows_of(to="filed", runs=["r1"])
    verified = Client().verify_import("there")
    write(source, "r1", **{**WHOLE, "params": {"rate": 0.2}, "metrics": {"loss": [3, 2, 7]}})
    table = project.trackyard("runs", "verify", "--source", "there", "r1", "--tracker", "filed")
    (there,) = Client().verify_import("there", "old one", tracker="filed")

    assert [(row.run, row.tracker, row.state) for row in verified] == [
        *(("old one", "", "same"), ("old one", "filed", "same")),
        ("left", "", "missing"),
    ]
    assert verified[0].records == 9
    assert verified[2].left == {"artifact x: elsewhere": 1}
    assert {(d.kind, d.key, d.problem) for d in there.differences} == {
        *(("param", "rate", "different"), ("metric", "loss", "missing")),
        ("metric", "loss", "extra"),
    }
    assert table.returncode == 1
    assert "param 'rate' different: 0.2 in the journal, 0.1 there" in table.stderr
    assert "0 of 1 runs are as in the source" in table.stderr
    with pytest.raises(ConfigError, match="none of these runs is on experiment tracker 'old'"):
        Client().verify_import("there", "old one", tracker="old")


def test_what_was_killed_goes_on(source, project):
    for number in range(30):
        write(source, f"r{number:02}", run={"version": "1"}, metrics={"loss": [*range(2000)]})
    command = [sys.executable, "-m", "trackyard", "import", "there"]
    runs = project.root / ".trackyard" / "runs"
    with subprocess.Popen(command, env=project.environment()) as process:
        while process.poll() is None and not (runs.is_dir() and any(runs.iterdir())):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    rows_of()

    assert len(Client().list_runs(most=100)) == 30
    assert all(run.metrics["loss"] == 1999 for run in Client().search_runs())
    assert not (project.root / ".trackyard" / "importing").exists()


def was_touched(folder, since):
    try:
        return folder.stat().st_mtime_ns > since
    except FileNotFoundError:
        return False


@pytest.mark.long(reason="40 kills of an import of 300 runs")
def test_after_40_kills_at_random_moments_everything_is_there_once(source, project):
    for number in range(300):
        run = {"status": "finished", "version": "1"}
        write(source, f"r{number:03}", run=run, metrics={"loss": [*range(200)]}, tags={"team": "a"})
    command = [sys.executable, "-m", "trackyard", "import", "there", "--json"]
    chosen, importing = random.Random(40), project.root / ".trackyard" / "importing"
    were_killed = 0
    for _ in range(40):
        begun = time.time_ns()
        with subprocess.Popen(
            command, env=project.environment(), stdout=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not was_touched(importing, begun):
                time.sleep(0.005)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chosen.uniform(0, 0.2))
            process.kill()
        were_killed += process.returncode == -signal.SIGKILL
    rows = rows_of()

    assert {row.state for row in rows} <= {"new", "same"}
    assert len(rows) == len({row.id for row in rows}) == 300
    assert len(Client().list_runs(most=1000)) == 300
    found = Client().search_runs("status = 'finished' and metrics.loss = 199", limit=1000)
    assert len(found) == 300
    kept = [Client().get_run(row.id).metrics["loss"].points for row in rows]
    assert kept == [200] * 300
    assert were_killed
    assert not importing.exists()


def test_parents_go_first_also_in_a_circle():
    runs = [RemoteRun("c", parent_id="b"), RemoteRun("b", parent_id="a"), RemoteRun("a")]
    circle = [RemoteRun("x", parent_id="y"), RemoteRun("y", parent_id="x")]

    assert [run.remote_id for run in parents_first(iter(runs))] == ["a", "b", "c"]
    assert {run.remote_id for run in parents_first(iter(circle))} == {"x", "y"}


def test_a_path_that_a_foreign_file_names_is_followed_only_below_its_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "own").write_text("x")
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")

    assert inside(root, root / "own") == root / "own"
    for place in ("../secret", "link", str(tmp_path / "secret"), "nothing", "own\0"):
        assert inside(root, root / place) is None
