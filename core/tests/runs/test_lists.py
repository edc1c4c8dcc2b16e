"""Are runs listed as one asks for them, from the store and from journals, and quickly?"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import postgresql
import pytest
from filing import Filing
from recorder import Recorder

from trackyard import Client, log_metric, pipeline, start_run, step
from trackyard.project.configuration import find_project
from trackyard.runs.lists import list_runs
from trackyard.store import PipelineRunRow, StepRunRow, Store, listing
from trackyard.store.listing import SORT_KEYS, RunFilter
from trackyard.system.identifiers import new_id

SECOND = 10**9


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(project, request):
    """A store with four runs of known times, as sqlite and as a team's PostgreSQL."""
    if request.param == "postgresql":
        url = request.getfixturevalue("database")
        project.configure(f'store = "{url}"\n')
    store = Store.of(find_project())
    ids = sorted(new_id() for _ in range(4))  # those of one millisecond are in any order
    for index, (pipeline_, status, took) in enumerate(
        [("a", "finished", 5), ("b", "failed", 1), ("a", "running", None), ("a%", "finished", 9)]
    ):
        started = (1000 + index) * SECOND
        ended = None if took is None else started + took * SECOND
        row = PipelineRunRow(ids[index], f"run {index}", pipeline_, "s", status, started, ended)
        store.add_pipeline_run(row)
        metadata = {"experiment_tracker.lo_cal": "x"} if index % 2 else {"experiment_tracker.i": ""}
        step_ = StepRunRow(new_id(), row.id, "t", 1, 0, status, started, ended, metadata=metadata)
        store.add_step_run(step_)
    yield find_project()
    for row in store.list_pipeline_runs():
        store.delete_run(row.id)
    store.close()


def names(project, **wanted):
    return [run.name.removeprefix("run ") for run in list_runs(project, RunFilter(**wanted))]


@pytest.mark.slow
def test_runs_of_the_store_are_filtered(stored):
    assert names(stored) == ["3", "2", "1", "0"]
    assert names(stored, pipeline="a") == ["2", "0"]
    assert names(stored, pipeline="a%") == ["3"]
    assert names(stored, statuses=("failed", "running")) == ["2", "1"]
    assert names(stored, tracker="lo_cal") == ["3", "1"]
    assert names(stored, tracker="local") == names(stored, tracker="%") == []
    assert names(stored, since=1001 * SECOND, until=1003 * SECOND) == ["2", "1"]
    assert names(stored, pipeline="a", statuses=("finished",), tracker="i") == ["0"]


@pytest.mark.parametrize(
    ("key", "ascending"),
    [
        ("started", "0123"),
        ("ended", "1032"),
        ("duration", "1032"),
        ("name", "0123"),
        ("pipeline", "0231"),
        ("status", "1032"),
    ],
)
def test_runs_of_the_store_are_sorted(stored, key, ascending):
    first, *_ = names(stored, sort=key, is_ascending=True)
    assert first == ascending[0]
    if key in ("started", "ended", "duration", "name"):
        assert "".join(names(stored, sort=key, is_ascending=True)) == ascending
        assert "".join(names(stored, sort=key)) == ascending[::-1]


def test_time_in_which_a_run_was_closed_is_none_of_its_duration(stored):
    store = Store.of(find_project())
    with store.writing() as session:  # of its 9 s
        session.execute("UPDATE runs SET paused = 8500000000 WHERE name = 'run 3'")
    store.close()

    (run,) = Client().list_runs(sort="duration", is_ascending=True)[:1]
    assert (run.name, run.seconds) == ("run 3", 0.5)


def test_runs_come_in_pages(stored):
    assert names(stored, most=3) == ["3", "2", "1"]
    assert names(stored, most=3, skip=3) == ["0"]
    assert names(stored, most=3, skip=6) == []


def test_runs_of_either_store_are_shown_compared_and_deleted(stored):
    client = Client()
    view = client.get_run("run 1")
    assert (view.status, view.pipeline, view.seconds) == ("failed", "b", 1.0)
    assert [(s.name, s.status, s.has_journal) for s in view.steps] == [("t", "failed", False)]
    assert client.compare_runs("run 0", "run 1").statuses == ("finished", "failed")

    client.delete_run("run 1")
    assert names(stored) == ["3", "2", "0"]


def test_every_way_of_sorting_is_known():
    assert set(SORT_KEYS) == set(listing._EXPRESSIONS)


def test_runs_of_blocks_stand_among_those_of_pipelines(project):
    project.add_tracker("local", Recorder)
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))

    @step(experiment_tracker=["local", "filed"])
    def train() -> None:
        log_metric("loss", 1)

    @pipeline
    def training():
        train()

    with start_run("first", "exp", experiment_tracker="local"):
        pass
    run = training()
    with pytest.raises(ZeroDivisionError), start_run("second", experiment_tracker="filed"):
        raise ZeroDivisionError
    client = Client()

    assert [(r.name, r.kind, r.status) for r in client.list_runs()] == [
        ("second", "run", "failed"),
        (run.name, "pipeline", "finished"),
        ("first", "run", "finished"),
    ]
    assert [r.name for r in client.list_runs("exp")] == ["first"]
    assert [r.name for r in client.list_runs(statuses=["failed"])] == ["second"]
    assert [r.name for r in client.list_runs(tracker="filed")] == ["second", run.name]
    assert [r.name for r in client.list_runs(sort="name", is_ascending=True)][:2] == [
        "first",
        "second",
    ]
    assert [r.name for r in client.list_runs(most=1, skip=1)] == [run.name]
    now = datetime.now(UTC)
    assert client.list_runs(since=now) == []
    assert len(client.list_runs(since=now - timedelta(hours=1), until=now)) == 3
    first = client.list_runs()[-1]
    assert repr(first) == "<RunSummary first exp finished>"
    assert 0 <= first.seconds < 60
    assert '">second</a></td>' in client.list_runs()._repr_html_()


def test_run_that_lives_and_one_whose_process_is_gone_say_so(project):
    with start_run("alive", experiment_tracker=None) as run:
        run.log_metric("loss", 1)
        (folder,) = (find_project().home / "runs").iterdir()
        assert not (folder / "run.json").exists() or Client().list_runs()[0].status == "running"
    code = (
        "import os, trackyard\n"
        "with trackyard.start_run('dead', experiment_tracker='local') as run:\n"
        "    run.log_metric('loss', 1)\n"
        "    os._exit(1)\n"
    )
    project.add_tracker("local", Recorder)
    project.python(code)
    found = {r.name: (r.status, r.seconds) for r in list_runs(find_project(), RunFilter())}

    assert found["dead"] == ("crashed", None)
    assert found["alive"][0] == "finished"


def test_looking_makes_no_store(project):
    assert Client().list_runs() == []
    assert not (find_project().home / "store.db").exists()


@pytest.mark.slow
def test_list_of_ten_thousand_runs_takes_little_time(project):
    store = Store.in_folder(find_project().home)
    now = time.time_ns()
    with store.writing() as session:
        session.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
            "INSERT INTO runs (id, kind, name, experiment, stack, status, started_at, ended_at) "
            "SELECT printf('%032x', i), 'pipeline', 'run ' || i, 'p', 's', 'finished', "
            f"{now} + i, {now} + i FROM n"
        )
    store.close()
    environment = {
        key: value
        for key, value in project.environment().items()
        if not key.startswith("COVERAGE_PROCESS")
    }

    def cpu_seconds(*arguments):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    command = ("-m", "trackyard", "runs", "list")
    least = min(cpu_seconds(*command) - cpu_seconds("-c", "pass") for _ in range(5))
    imported = project.python(
        "import sys; sys.argv = ['trackyard', 'runs', 'list']\n"
        "from trackyard.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('sqlalchemy', 'pluggy', 'rich') if name in sys.modules])"
    )

    assert imported.stdout.splitlines()[-1] == "[]"
    assert least <= 0.3, f"{least:.2f} s of CPU"
