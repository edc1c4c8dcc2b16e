"""Is every run recorded and found again, also when several processes write at once?"""

from __future__ import annotations

import contextlib
import gc
import math
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE, Popen

import attrs
import postgresql
import pytest
from matrices import first_by_default
from sqlalchemy import create_engine, text

from trackyard import ConfigError, RunNotFoundError, TrackyardError
from trackyard.contract.errors import OutputNotFoundError
from trackyard.journal.summaries import Summary
from trackyard.project.configuration import find_project
from trackyard.store import (
    SCHEMA_VERSION,
    OutputRow,
    PipelineRunRow,
    StepRunRow,
    Store,
    StoreError,
)
from trackyard.store.lives import mark_as_dead
from trackyard.store.opening import database_at
from trackyard.store.outbox import to_json, write_owed
from trackyard.store.saving import save_run
from trackyard.store.schema import bring_up_to_date
from trackyard.system.identifiers import new_id


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


@pytest.fixture
def empty_database(database):
    """Give the URL of a database without tables."""
    engine = create_engine(database.replace("postgresql", "postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        store = Store.in_folder(tmp_path / "home")
    else:
        store = Store(database_at(request.getfixturevalue("empty_database"), "store"))
    yield store
    store.close()


def run_row(name, id=None, **values):
    defaults = {"pipeline": "training", "stack": "default", "status": "running", "started_at": 1}
    return PipelineRunRow(id=id or new_id(), name=name, **{**defaults, **values})


def step_row(run, name, **values):
    defaults = {"attempt": 1, "position": 0, "status": "running"}
    return StepRunRow(id=new_id(), pipeline_run_id=run.id, name=name, **{**defaults, **values})


# What is recorded


def test_pipeline_run_is_read_as_it_was_written(store):
    row = run_row("a", params={"rate": 0.1, "name": "é", "none": None, "nan": [1]})
    store.add_pipeline_run(row)
    assert store.find_pipeline_run("a") == row

    store.update_pipeline_run(row.id, status="finished", ended_at=2)
    found = store.find_pipeline_run("a")
    assert (found.status, found.ended_at, found.params) == ("finished", 2, row.params)


def test_step_run_is_read_as_it_was_written(store):
    run = run_row("a")
    row = step_row(
        run,
        "train",
        started_at=1,
        ended_at=2,
        error="ValueError: odd",
        outputs={"output": {"uri": "a"}},
        metadata={"experiment_tracker_url": "https://a"},
        metrics={"loss": 0.5},
    )
    store.add_pipeline_run(run)
    store.add_step_run(row)

    assert store.list_step_runs(run.id) == [row]


def test_times_keep_their_nanoseconds(store):
    row = run_row("a", started_at=1_900_000_000_123_456_789)
    store.add_pipeline_run(row)

    assert store.find_pipeline_run("a").started_at == 1_900_000_000_123_456_789


def test_steps_come_in_the_order_of_the_pipeline_and_of_their_attempts(store):
    run = run_row("a")
    store.add_pipeline_run(run)
    for name, attempt, position in (("b", 2, 1), ("c", 1, 2), ("b", 1, 1), ("a", 1, 0)):
        store.add_step_run(step_row(run, name, attempt=attempt, position=position))
    steps = [(step.name, step.attempt) for step in store.list_step_runs(run.id)]

    assert steps == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]


@pytest.mark.parametrize("text", ["lone \ud800", "nul \0", "é\U0001f600", "x" * 100_000], ids=ascii)
def test_error_of_any_text_is_recorded(store, text):
    run = run_row("a", params={"text": text})
    store.add_pipeline_run(run)
    step = step_row(run, "train", metadata={"text": text})
    store.add_step_run(step)
    store.update_step_run(step.id, error=f"ValueError: {text}")
    (found,) = store.list_step_runs(run.id)

    assert found.error.startswith("ValueError: ")
    assert found.metadata == {"text": text}


def test_metric_that_is_not_a_number_is_recorded(store):
    run = run_row("a")
    store.add_pipeline_run(run)
    store.add_step_run(step_row(run, "train", metrics={"a": float("inf"), "b": float("nan")}))
    (found,) = store.list_step_runs(run.id)

    assert found.metrics["a"] == float("inf")
    assert str(found.metrics["b"]) == "nan"


def test_runs_are_listed_the_latest_first(store):
    for number in range(5):
        pipeline = "training" if number % 2 else "scoring"
        store.add_pipeline_run(run_row(f"run {number}", started_at=number, pipeline=pipeline))

    assert [run.name for run in store.list_pipeline_runs(most=2)] == ["run 4", "run 3"]
    assert [run.name for run in store.list_pipeline_runs("training")] == ["run 3", "run 1"]


def test_death_of_a_process_is_recorded_where_the_run_was_open(store):
    run, ended = run_row("a"), run_row("b", status="finished", ended_at=5)
    first, second = step_row(run, "train"), step_row(run, "load", status="finished", ended_at=3)
    store.add_pipeline_run(run)
    store.add_pipeline_run(ended)
    for row in (first, second):
        store.add_step_run(row)
        mark_as_dead(store, row.id, run.id, "crashed", 9)
        mark_as_dead(store, row.id, ended.id, "crashed", 9)
    steps = {step.name: (step.status, step.ended_at) for step in store.list_step_runs(run.id)}

    assert steps == {"train": ("crashed", 9), "load": ("finished", 3)}
    assert store.find_pipeline_run("a").status == "crashed"
    assert store.find_pipeline_run("b").status == "finished"


# How runs are found


@pytest.fixture
def filled(store):
    store.add_pipeline_run(run_row("training-1", id="a" * 32))
    store.add_pipeline_run(run_row("training-10", id="ab" + "c" * 30))
    store.add_pipeline_run(run_row("100%_x", id="d" * 32))
    return store


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("training-1", "training-1"),
        ("training-10", "training-10"),
        ("a" * 32, "training-1"),
        ("aa", "training-1"),
        ("ab", "training-10"),
        ("100", "100%_x"),
        ("100%", "100%_x"),
        ("d", "100%_x"),
    ],
)
def test_run_is_found_by_name_id_or_prefix(filled, asked, name):
    assert filled.find_pipeline_run(asked).name == name


def test_prefix_that_fits_several_names_them(filled):
    with pytest.raises(RunNotFoundError) as caught:
        filled.find_pipeline_run("training")
    message = str(caught.value)

    assert message.startswith("several pipeline runs begin with 'training': ")
    assert "training-10" in message


@pytest.mark.parametrize("asked", ["zebra", "", "%", "_", "raining", "'; --"])
def test_run_that_is_not_there_is_answered_with_the_latest(filled, asked):
    with pytest.raises(
        RunNotFoundError, match=r"no pipeline run has the name, .* latest are: .*100%"
    ):
        filled.find_pipeline_run(asked)


def test_empty_store_says_that_there_is_none(store):
    with pytest.raises(RunNotFoundError, match="the latest are: none"):
        store.find_pipeline_run("a")


# Outputs


def output_row(step, name="training.load.rows", **values):
    defaults = {"uri": "a.json", "materializer": "json", "size": 1, "sha256": "0" * 64}
    defaults |= {"version": 0, "created_at": 1}
    return OutputRow(id=new_id(), name=name, step_run_id=step.id, **{**defaults, **values})


def add(store, *rows):
    store.end_step_run(rows[0].step_run_id, {"status": "running"}, rows)
    known = {row.id: row for row in store.list_outputs_of(rows[0].step_run_id)}
    return [known[row.id] for row in rows]


@pytest.fixture
def step(store):
    run = run_row("a")
    store.add_pipeline_run(run)
    row = step_row(run, "load")
    store.add_step_run(row)
    return row


def test_outputs_are_numbered_by_name(store, step):
    first = add(store, output_row(step), output_row(step, "training.load.labels"))
    second = add(store, output_row(step, uri="b.json"))

    assert [row.version for row in (*first, *second)] == [1, 1, 2]
    assert store.find_output("training.load.rows") == second[0]
    assert store.find_output("training.load.rows", 1) == first[0]
    assert store.list_outputs("rows") == [second[0], first[0]]
    assert store.list_outputs() == [first[1], second[0]]


def test_output_is_found_by_the_end_of_its_name(store, step):
    add(store, output_row(step), output_row(step, "scoring.load.rows"))
    add(store, output_row(step, "training.fit.model"))

    assert store.find_output("model").name == "training.fit.model"
    assert store.find_output("scoring.load.rows").name == "scoring.load.rows"
    with pytest.raises(OutputNotFoundError, match="several outputs are called 'rows': "):
        store.find_output("rows")
    with pytest.raises(OutputNotFoundError, match=r"did you mean 'training\.fit\.model'"):
        store.find_output("training.fit.modle")
    with pytest.raises(OutputNotFoundError, match="has no version 7; the latest is 1"):
        store.find_output("model", 7)


def test_readers_of_an_output_are_recorded(store, step):
    (output,) = add(store, output_row(step))
    reader = step_row(store.find_pipeline_run("a"), "train", started_at=5)
    store.add_step_run(reader)
    store.end_step_run(reader.id, {"status": "running"}, read=[output.id, output.id])

    assert store.list_output_readers(output.id) == [reader]
    assert store.find_step_run(output.step_run_id) == (step, store.find_pipeline_run("a"))


def test_what_the_store_is_owed_keeps_its_names_on_disk(store, step):
    """A project may hold notes of a version that called an output an artifact."""
    call = ["end_step_run", [step.id, {"status": "finished"}, [owed_output(step)], []], {}]
    write_owed(store, [call])

    assert store.find_output("rows").uri == "a.json"
    assert to_json([store.list_outputs()[0]])[0]["row"] == "ArtifactRow"


def owed_output(step):
    return {"row": "ArtifactRow", "values": attrs.asdict(output_row(step))}


# Where the store lies


def test_store_is_a_database_that_the_project_names(project, empty_database, monkeypatch):
    project.configure('store = "env:STORE_URL"\n')
    monkeypatch.setenv("STORE_URL", empty_database)
    store = Store.of(find_project())
    store.add_pipeline_run(run_row("a"))
    store.close()

    engine = create_engine(empty_database.replace("postgresql", "postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM runs")).scalars().all() == ["a"]
    engine.dispose()
    assert not (project.root / ".trackyard" / "store.db").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "store: is no database URL such as postgresql://user@host/database"),
        ("postgresql://u:pass@127.0.0.1:abc/a", "store: is no database URL such as postgresql://"),
        ("postgresql://u:pass@[::1/a", "store: is no database URL such as postgresql://"),
        ("nosuch://host/a", "store: 'nosuch' is not supported; supported are PostgreSQL, as"),
        ("mysql://host/a", "'mysql' is not supported; supported are PostgreSQL, as postgresql://"),
        ("postgresql+asyncpg://host/a", "'postgresql.asyncpg' is not supported"),
        ("env:NOT_THERE", "store: env:NOT_THERE: the environment variable NOT_THERE is not set"),
        ("postgresql://user:pass@127.0.0.1:1/a", r"://user:\*\*\*@127.0.0.1:1/a: cannot be opened"),
    ],
)
def test_database_that_cannot_be_used_is_named(project, url, message):
    project.configure(f'store = "{url}"\n')

    with pytest.raises((ConfigError, TrackyardError), match=message):
        Store.of(find_project())


@pytest.mark.parametrize("folder", ["a b", "a%20b", "a#b", "a?mode=ro", "é", ":memory:"])
def test_store_may_lie_in_a_folder_of_any_name(tmp_path, folder):
    store = Store.in_folder(tmp_path / folder)
    store.close()

    assert (tmp_path / folder / "store.db").is_file()


def test_folder_of_the_store_is_private(tmp_path):
    Store.in_folder(tmp_path / "home").close()

    assert (tmp_path / "home").stat().st_mode & 0o077 == 0


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(
        TrackyardError, match=f"{tmp_path}/file/home: cannot be made: Not a directory"
    ):
        Store.in_folder(tmp_path / "file" / "home")


def test_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "store.db").write_text("This is no database." * 100)

    with pytest.raises(TrackyardError, match=r"store\.db: cannot be opened: .*not a database"):
        Store.in_folder(tmp_path)


def test_store_of_a_newer_version_is_refused_with_what_to_type(tmp_path):
    Store.in_folder(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("insert into schema_version (version) values (?)", (SCHEMA_VERSION + 1,))
    connection.commit()
    connection.close()

    with pytest.raises(TrackyardError, match=r"newer Trackyard .* pip install --upgrade trackyard"):
        Store.in_folder(tmp_path)


def test_store_of_version_4_is_gone_on_with(tmp_path):
    Store.in_folder(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.executescript(
            "DROP INDEX runs_by_duration; ALTER TABLE runs DROP COLUMN paused; "
            "UPDATE schema_version SET version = 4;"
        )
    store = Store.in_folder(tmp_path)
    (row,) = store.execute("SELECT COUNT(*) AS n FROM runs WHERE paused = 0", {})
    (index,) = store.execute("SELECT sql FROM sqlite_master WHERE name = 'runs_by_duration'", {})
    versions = store.execute("SELECT version, least FROM schema_version ORDER BY version", {})
    store.close()

    assert row["n"] == 0
    assert "paused" in index["sql"]
    assert [(v["version"], v["least"]) for v in versions] == [(4, 4), (SCHEMA_VERSION, 4)]


@pytest.mark.parametrize("step", [10**30, -(10**400)])
def test_steps_of_more_than_64_bits_are_kept_as_numbers(tmp_path, step):
    store = Store.in_folder(tmp_path)
    metric = {"points": 1, "last": 1.0, "least": 1.0, "greatest": 1.0, "last_step": step}
    with store.writing() as session:
        columns = {"kind": "run", "name": "a", "experiment": "b", "status": "finished"}
        save_run(session, {"id": "a" * 32, **columns}, Summary(metrics={"m": metric}).plain())
    (row,) = store.execute("SELECT last_step FROM metrics", {})
    store.close()

    assert row["last_step"] == (1e30 if step > 0 else -math.inf)


VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE pipeline_runs (
    id VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL UNIQUE,
    pipeline VARCHAR(255) NOT NULL, stack VARCHAR(255) NOT NULL, status VARCHAR(16) NOT NULL,
    started_at BIGINT NOT NULL, ended_at BIGINT, params TEXT NOT NULL
);
CREATE INDEX pipeline_runs_by_time ON pipeline_runs (started_at);
CREATE TABLE step_runs (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    pipeline_run_id VARCHAR(32) NOT NULL REFERENCES pipeline_runs (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL, attempt INTEGER NOT NULL, position INTEGER NOT NULL,
    status VARCHAR(16) NOT NULL, started_at BIGINT, ended_at BIGINT, error TEXT,
    outputs TEXT NOT NULL, metadata TEXT NOT NULL, metrics TEXT NOT NULL
);
CREATE UNIQUE INDEX step_runs_by_run ON step_runs (pipeline_run_id, name, attempt);
INSERT INTO schema_version VALUES (1);
INSERT INTO pipeline_runs VALUES ('a', 'old', 'training', 'default', 'finished', 1, 2, '{"x": 1}');
INSERT INTO step_runs VALUES ('b', 'a', 'load', 1, 0, 'finished', 1, 2, NULL, '{}', '{}', '{}');
"""


def check_migrated(store):
    (step,) = store.list_step_runs("a")
    assert step.name == "load"
    assert store.find_pipeline_run("old").params == {"x": 1}
    assert add(store, output_row(step))[0].version == 1


def test_older_store_keeps_its_runs(tmp_path):
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.executescript(VERSION_1)
    connection.close()
    store = Store.in_folder(tmp_path)
    check_migrated(store)
    store.close()

    again = Store.in_folder(tmp_path)  # it is of the new version now
    assert again.list_outputs()
    again.close()


def test_older_database_keeps_its_runs(empty_database):
    database = database_at(empty_database, "store")
    with database.writing() as session:
        session.execute(VERSION_1.replace(": 1", "\\: 1"))
    store = Store(database)
    with pytest.raises(StoreError, match="type: trackyard store upgrade"):
        store.find_pipeline_run("old")
    bring_up_to_date(database, is_asked_for=True)
    check_migrated(store)
    store.close()


def test_older_store_is_migrated_once_by_threads_that_open_it_at_once(tmp_path):
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.executescript(VERSION_1)
    connection.close()

    def open_it(_):
        store = Store.in_folder(tmp_path)
        found = store.find_pipeline_run("old").name
        store.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_it, range(8))) == ["old"] * 8


def test_store_whose_making_was_interrupted_is_completed(tmp_path):
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("create table schema_version (version integer not null)")
    connection.commit()
    connection.close()
    store = Store.in_folder(tmp_path)
    store.add_pipeline_run(run_row("a"))

    assert store.find_pipeline_run("a")
    store.close()


# Several at once

OPEN = """
import sys
from pathlib import Path
from trackyard.system.identifiers import new_id
from trackyard.store import PipelineRunRow, Store
print("ready", flush=True)
sys.stdin.readline()
store = Store.in_folder(Path("home"))
store.add_pipeline_run(PipelineRunRow(new_id(), sys.argv[1], "p", "default", "running", 1))
"""


def test_processes_that_make_the_store_at_once_all_write(tmp_path):
    processes = [
        Popen(
            [sys.executable, "-c", OPEN, f"run {n}"],
            cwd=tmp_path,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        for n in range(4)
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1].decode() for process in processes]

    assert errors == [""] * 4
    store = Store.in_folder(tmp_path / "home")
    assert {run.name for run in store.list_pipeline_runs()} == {f"run {n}" for n in range(4)}
    store.close()


def test_threads_that_make_the_store_at_once_all_write(tmp_path):
    for number in range(5):
        folder = tmp_path / str(number)

        def open_and_write(thread, folder=folder):
            store = Store.in_folder(folder)
            store.add_pipeline_run(run_row(f"run {thread}"))
            store.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(open_and_write, range(8)))

        store = Store.in_folder(folder)
        assert len(store.list_pipeline_runs()) == 8
        store.close()


DRIVERS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from trackyard.system.identifiers import new_id
from trackyard.store import OutputRow, PipelineRunRow, StepRunRow, Store
from trackyard.store.opening import database_at

def drive(name):
    url = sys.argv[2]
    store = Store(database_at(url, "store")) if "://" in url else Store.in_folder(Path(url))
    run = PipelineRunRow(new_id(), name, "p", "default", "running", 1)
    store.add_pipeline_run(run)
    for number in range(5):
        step = StepRunRow(new_id(), run.id, f"step {number}", 1, number, "running")
        store.add_step_run(step)
        row = OutputRow(new_id(), "p.step.output", 0, "u", "json", 1, "0", step.id, 1)
        store.end_step_run(step.id, {"status": "finished"}, [row])
    store.update_pipeline_run(run.id, status="finished")
    store.close()

names = [f"{sys.argv[1]}-{number}" for number in range(int(sys.argv[3]))]
with ThreadPoolExecutor(len(names)) as pool:
    list(pool.map(drive, names))
"""


@pytest.mark.parametrize(
    ("kind", "processes", "each"),
    first_by_default([("sqlite", 4, 2), ("postgresql", 5, 10)]),
    ids=str,
)
def test_many_drivers_at_once_lose_nothing(request, tmp_path, kind, processes, each):
    if kind == "sqlite":
        url = str(tmp_path)
        Store.in_folder(tmp_path).close()
    else:
        url = request.getfixturevalue("empty_database")
    command = [sys.executable, "-c", DRIVERS]
    started = [
        Popen([*command, str(number), url, str(each)], stderr=PIPE) for number in range(processes)
    ]
    assert [process.communicate(timeout=120)[1].decode() for process in started] == [""] * processes

    store = Store.in_folder(tmp_path) if kind == "sqlite" else Store(database_at(url, "store"))
    runs = store.list_pipeline_runs(most=1000)
    assert len(runs) == processes * each
    assert {run.status for run in runs} == {"finished"}
    for run in runs:
        assert [step.status for step in store.list_step_runs(run.id)] == ["finished"] * 5
    versions = [row.version for row in store.list_outputs("p.step.output")]
    assert versions == list(range(processes * each * 5, 0, -1))
    store.close()


def test_eight_threads_may_write(store):
    run = run_row("a")
    store.add_pipeline_run(run)

    def write(thread):
        for number in range(20):
            row = step_row(run, f"step {thread}-{number}")
            store.add_step_run(row)
            store.update_step_run(row.id, status="finished")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    steps = store.list_step_runs(run.id)
    assert len(steps) == 160
    assert {step.status for step in steps} == {"finished"}


@pytest.mark.slow
def test_connections_are_closed_with_the_last_user_of_a_store(tmp_path):
    """From Python 3.13 on a forgotten one is a ResourceWarning in the user's own tests."""
    store = Store.in_folder(tmp_path)
    close = store.database._close
    assert close.alive

    del store
    gc.collect()

    assert not close.alive
