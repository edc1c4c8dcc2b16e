"""What does delivering 100,000 metrics to MLflow on sqlite cost, beside MLflow's own calls?

    uv run benchmarks/delivery.py

Three ways take turns, each into a store of its own of the same kind: Trackyard, whose clock runs
from the first log call to the moment when the tracker has the run's end; raw `log_batch(1000)` of
the same metrics, with the run's creation and end; and `mlflow.log_metric` in a loop, which is
measured on fewer metrics and scaled to as many, since all of them would take minutes. MLflow is
imported, and its tables are made, before any clock runs. Shown are seconds, the median of the
rounds, and the ratios, the median of the rounds' own ratios, with the bars that they must keep.
Exit code 1 says that one is missed.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

os.environ["TRACKYARD_PROGRESS"] = "0"
os.environ["TRACKYARD_WATCHDOG"] = "0"

METRICS, LOOPED, ROUNDS = 100_000, 500, 3
BATCH = 1000
# At most this many times what `log_batch` takes, and at least that many times fewer than the loop.
MOST, LEAST = 1.1, 30.0


def trackyard_delivers(tracker: str) -> float:
    """Log through Trackyard and wait until MLflow has everything."""
    from trackyard import start_run
    from trackyard.project.configuration import find_project
    from trackyard.recovery.finishing import find_pending_runs

    with start_run("warm", experiment_tracker=tracker):  # the worker process imports MLflow
        pass
    begun = time.perf_counter()
    with start_run("measured", experiment_tracker=tracker) as run:
        for step in range(METRICS):
            run.log_metric("loss", step / 3, step=step)
    seconds = time.perf_counter() - begun
    assert not find_pending_runs(find_project())
    return seconds


def raw_batches(folder: Path, number: int) -> float:
    """Send the same metrics by `log_batch`."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(f"sqlite:///{folder / f'batches-{number}.db'}")
    experiment = client.create_experiment("raw", (folder / "artifacts").as_uri())
    client.create_run(experiment)
    begun = time.perf_counter()
    run_id = client.create_run(experiment).info.run_id
    now = int(time.time() * 1000)
    for first in range(0, METRICS, BATCH):
        steps = range(first, first + BATCH)
        metrics = [Metric("loss", step / 3, now + step, step) for step in steps]
        client.log_batch(run_id, metrics=metrics)
    client.set_terminated(run_id, "FINISHED")
    return time.perf_counter() - begun


def looped(folder: Path, number: int) -> float:
    """Send some by `mlflow.log_metric`, and scale the seconds to all of them."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / f'loop-{number}.db'}")
    with mlflow.start_run():
        mlflow.log_metric("loss", 0)
        begun = time.perf_counter()
        for step in range(LOOPED):
            mlflow.log_metric("loss", step / 3, step=step)
        return (time.perf_counter() - begun) * METRICS / LOOPED


def mode_of(database: Path) -> str:
    """Give sqlite's journal mode of a store."""
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def main() -> None:
    """Measure and print."""
    times: dict[str, list[float]] = {"Trackyard": [], "log_batch(1000)": [], "log_metric": []}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.chdir(name)
        (folder / "trackyard.toml").write_text(
            "".join(
                f'[experiment_trackers.round{number}]\nflavor = "mlflow"\n'
                f'tracking_uri = "sqlite:///{folder}/round-{number}.db"\n'
                "start_timeout = 600\nflush_timeout = 600\n"
                for number in range(ROUNDS + 1)
            )
        )
        for number in range(ROUNDS + 1):  # the first one warms up
            ways: dict[str, Callable[[], float]] = {
                "Trackyard": lambda: trackyard_delivers(f"round{number}"),  # noqa: B023 - called now
                "log_batch(1000)": lambda: raw_batches(folder, number),  # noqa: B023
                "log_metric": lambda: looped(folder, number),  # noqa: B023
            }
            for label, way in ways.items():
                times[label].append(way())
            modes = {mode_of(path) for path in folder.glob(f"*-{number}.db")}
            assert len(modes) == 1, modes  # a store with a write-ahead log waits less for the disk
    for label, values in times.items():
        note = f"  ({LOOPED:,} measured, scaled)" if label == "log_metric" else ""
        print(f"{label:16} {statistics.median(values[1:]):8.2f} s for {METRICS:,} metrics{note}")
    ours, raw, loop = (values[1:] for values in times.values())
    to_raw = statistics.median(a / b for a, b in zip(ours, raw, strict=True))
    to_loop = statistics.median(b / a for a, b in zip(ours, loop, strict=True))
    print(f"{'to log_batch':16} {to_raw:8.2f} times  (bar: at most {MOST})")
    print(f"{'to log_metric':16} {to_loop:8.1f} times fewer  (bar: at least {LEAST:g})")
    sys.exit(to_raw > MOST or to_loop < LEAST)


if __name__ == "__main__":
    main()
