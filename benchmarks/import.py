"""How quickly are runs of others imported, and in how much memory?

    uv run benchmarks/import.py [POINTS [RUNS]]

A run of so many points is made as a database of MLflow's, as event files and as a file of W&B's.
Shown is for each how many points a second are read, the better of two times, and how many are
imported into a project, which writes them down; beside it how many MLflow's database gives by raw
SQL. Seconds are of CPU. Each import is a process of its own, of which the memory is shown, and how
much more it takes for all points than for a tenth of them. At last a project of so many small runs
is imported.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

POINTS, RUNS = 100_000, 1_000
KEYS = 4
NOW = 1_700_000_000
LEAST_OF_SQL = 0.5
# Points a second that are read: half of tensorboard-data-server, which takes 1.2 s a million.
LEAST = {"tensorboard": 10**6 / 2.4, "wandb": 150_000}
MOST_MEMORY = 500  # MB


def mlflow(folder: Path, points: int) -> str:
    """Make a database of MLflow's."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.create_run("0").info.run_id
    client.set_terminated(run)
    rows = (
        (f"metric{n % KEYS}", n / 7, (NOW + n) * 1000, run, n // KEYS, False) for n in range(points)
    )
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
    return f"mlflow:sqlite:///{folder}/mlflow.db"


def small_runs(folder: Path, count: int) -> str:
    """Make a database of MLflow's with so many runs, each with as many points as there are keys."""
    source = mlflow(folder, 0)
    ids = [f"{n:032x}" for n in range(count)]
    run = "INSERT INTO runs (run_uuid, name, experiment_id, status, start_time, end_time, "
    run += "lifecycle_stage) VALUES (?, ?, 0, 'FINISHED', ?, ?, 'active')"
    point = "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
    point += "VALUES (?, ?, ?, ?, 0, 0)"
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("DELETE FROM runs")
        database.executemany(run, [(id_, id_[-6:], NOW * 1000, NOW * 1000 + 1) for id_ in ids])
        rows = [(f"metric{key}", 0.5, NOW * 1000, id_) for id_ in ids for key in range(KEYS)]
        database.executemany(point, rows)
        database.executemany("INSERT INTO params VALUES ('rate', '0.1', ?)", [(i,) for i in ids])
    return source


def tensorboard(folder: Path, points: int) -> str:
    """Make event files."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "logs"), max_queue=1000) as writer:
        for n in range(points):
            writer.add_scalar(f"metric{n % KEYS}", n / 7, n // KEYS, walltime=NOW + n)
    return f"tensorboard:{folder}/logs"


def wandb(folder: Path, points: int) -> str:
    """Make a file of W&B's."""
    from trackyard_wandb.logfile import LogWriter
    from trackyard_wandb.records import new_record

    def records() -> Iterable[bytes]:
        first = new_record()
        first.run.run_id, first.run.project = "abc123", "fraud"
        yield first.SerializeToString()
        for step in range(points // KEYS):
            row = new_record()
            values = {"_step": step, "_timestamp": NOW + step}
            values |= {f"metric{n}": step / 7 for n in range(KEYS)}
            for key, value in values.items():
                row.history.item.add(nested_key=[key], value_json=json.dumps(value))
            yield row.SerializeToString()

    LogWriter(folder / "wandb" / "offline-run-1-abc123" / "run-abc123.wandb").append(records())
    return f"wandb:{folder}/wandb"


SOURCES: dict[str, Callable[[Path, int], str]] = {
    "mlflow": mlflow,
    "tensorboard": tensorboard,
    "wandb": wandb,
}


def sql_rate(source: str, points: int) -> float:
    """Give how many points a second MLflow's database gives by raw SQL."""
    with closing(sqlite3.connect(source.partition("///")[2])) as database:
        begun = time.process_time()
        query = "SELECT key, value, timestamp, step, is_nan FROM metrics ORDER BY key, step"
        count = sum(1 for _ in database.execute(query))
        assert count == points
        return count / (time.process_time() - begun)


def measured(source: str) -> None:
    """Read a source, then import it; print seconds of both, points, and megabytes."""
    from trackyard import Client, Metric
    from trackyard.contract import MetricPoints, Run, RunQuery
    from trackyard.project.configuration import find_project
    from trackyard.recovery.import_sources import open_source

    opened = open_source(find_project(), source)

    def read() -> tuple[float, int]:
        begun, count = time.process_time(), 0
        for run in opened.reader.list_runs(RunQuery(opened.place)):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
                here = Run("0" * 32, "run", "experiment", 0, Path(scratch), attached=True)
                pieces = opened.reader.read_remote_run(here, run.remote_id)
                count += sum(
                    len(piece) if isinstance(piece, MetricPoints) else isinstance(piece, Metric)
                    for piece in pieces
                )
        return time.process_time() - begun, count

    seconds, count = min(read(), read())  # the first one imports modules
    begun = time.process_time()
    rows = Client().import_runs(source)
    ended = time.process_time()
    assert sum(row.metrics for row in rows) == count, rows
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, ended - begun, count, memory]))


def in_process(source: str) -> tuple[float, float, int, float]:
    """Do the same in a process and a project of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as project:
        (Path(project) / "trackyard.toml").touch()
        command = [sys.executable, str(Path(__file__).absolute()), source]
        env = {**os.environ, "XDG_CONFIG_HOME": project}
        done = subprocess.run(
            command, cwd=project, env=env, check=True, stdout=subprocess.PIPE, text=True
        )
        read, imported, count, memory = json.loads(done.stdout.splitlines()[-1])
        return read, imported, count, memory


def main(points: int, runs: int) -> int:
    """Measure, print a table, and give 1 where a bar is missed."""
    missed = []
    for name, make in SOURCES.items():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            few, many = Path(folder) / "few", Path(folder) / "many"
            few.mkdir()
            many.mkdir()
            *_, before = in_process(make(few, points // 10))
            source = make(many, points)
            read, imported, count, memory = in_process(source)
            least = LEAST.get(name, 0.0)
            if name == "mlflow":
                rate = sql_rate(source, points)
                least = LEAST_OF_SQL * rate
                print(f"mlflow: raw SQL gives {rate:,.0f} points a second")
        print(
            f"{name}: reads {count / read:,.0f} points a second, at least {least:,.0f}; "
            f"imports {count / imported:,.0f}; {memory:.0f} MB, {memory - before:+.0f} by points"
        )
        if count != points or count / read < least or memory > MOST_MEMORY:
            missed.append(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _, seconds, count, memory = in_process(small_runs(Path(folder), runs))
        print(f"{runs} runs: {1000 * seconds / runs:.1f} ms each; {memory:.0f} MB")
        if count != KEYS * runs or memory > MOST_MEMORY:
            missed.append("runs")
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    arguments = sys.argv[1:] or [str(POINTS)]
    if arguments[0].isdigit():
        sys.exit(main(int(arguments[0]), int(arguments[1]) if arguments[1:] else RUNS))
    measured(arguments[0])
