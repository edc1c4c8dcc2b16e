"""What does a step cost: untracked, and tracked in MLflow beside the same raw MLflow calls?

    uv run benchmarks/step_overhead.py

Rounds of each variant take turns in one process, so that both meet the same machine. A round is a
pipeline of 20 steps and, for MLflow, 20 times the raw calls that do the same work: create a run
with the same tags, log 3 params and 10 metrics, set the status tag, end the run. Shown are
milliseconds a step, the median of the rounds, and the ratio of tracked to raw, the median of the
rounds' own ratios. The first round warms up and does not count.

The flavor has its own store in sqlite's mode WAL, which MLflow does not use by itself. So the raw
calls are shown both ways: as MLflow makes its store, to which the bar of 1.5 refers, and in WAL.
Exit code 1 says that the bar is missed.
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

STEPS, ROUNDS, MOST = 20, 9, 1.5
PARAMS = {"rate": 0.1, "depth": 3, "name": "baseline"}
METRICS = {f"metric_{index}": index / 10 for index in range(10)}


def pipelines() -> tuple[Callable[[], object], Callable[[], object]]:
    """Make the untracked and the tracked pipeline."""
    from trackyard import log_metrics, log_params, pipeline, step

    @step
    def plain(number: int) -> int:
        return number + 1

    @step(experiment_tracker="local")
    def tracked(number: int) -> int:
        log_params(PARAMS)
        log_metrics(METRICS, step=number)
        return number + 1

    @pipeline
    def untracked_steps() -> None:
        number = 0
        for _ in range(STEPS):
            number = plain(number)

    @pipeline
    def tracked_steps() -> None:
        number = 0
        for _ in range(STEPS):
            number = tracked(number)

    return untracked_steps, tracked_steps


def raw_mlflow(folder: Path, name: str = "raw", mode: str = "DELETE") -> Callable[[], None]:
    """Make the raw calls, on an sqlite store in a mode."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(f"sqlite:///{folder / name}.db")
    experiment = client.create_experiment("raw", (folder / f"{name}-artifacts").as_uri())
    with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    keys = ("run_id", "pipeline", "step", "attempt", "group")
    tags = {f"trackyard.{key}": "0123456789abcdef" for key in keys} | {"mlflow.parentRunId": "x"}

    def run() -> None:
        for number in range(STEPS):
            run_id = client.create_run(experiment, tags=tags, run_name="raw").info.run_id
            now = int(time.time() * 1000)
            client.log_batch(run_id, params=[Param(k, str(v)) for k, v in PARAMS.items()])
            metrics = [Metric(key, value, now, number) for key, value in METRICS.items()]
            client.log_batch(run_id, metrics=metrics)
            client.set_tag(run_id, "trackyard.status", "finished")
            client.set_terminated(run_id, "FINISHED")

    return run


def timed(work: Callable[[], object]) -> float:
    """Give milliseconds a step."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) / STEPS * 1e3


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        untracked, tracked = pipelines()
        variants = {
            "untracked": untracked,
            "tracked": tracked,
            "raw MLflow": raw_mlflow(Path(name)),
            "raw, WAL": raw_mlflow(Path(name), "raw-wal", "WAL"),
        }
        times: dict[str, list[float]] = {label: [] for label in variants}
        for _ in range(ROUNDS + 1):
            for label, work in variants.items():
                times[label].append(timed(work))
    for label, values in times.items():
        print(f"{label:12} {statistics.median(values[1:]):8.2f} ms a step")
    ratios = {}
    for raw in ("raw MLflow", "raw, WAL"):
        pairs = zip(times["tracked"][1:], times[raw][1:], strict=True)
        ratios[raw] = statistics.median(a / b for a, b in pairs)
        print(f"{'ratio':12} {ratios[raw]:8.2f} tracked to {raw}")
    print(f"{'':12} {'':8} (bar: at most {MOST} to raw MLflow)")
    sys.exit(ratios["raw MLflow"] > MOST)


if __name__ == "__main__":
    main()
