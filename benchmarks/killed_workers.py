"""Does every promise hold where workers of the orchestrator `process` are killed at random?

    uv run benchmarks/killed_workers.py [--steps 200] [--workers 4] [--retries 0]

A pipeline of mapped steps is tracked in MLflow. Each step logs ten metrics, and notes in a file
which calls have returned; meanwhile workers get kill -9. Afterwards the store, MLflow's own client
and the notes must agree. It exits with 1 where they do not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["TRACKYARD_PROGRESS"] = "0"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

CONFIGURATION = """
[experiment_trackers.local]
flavor = "mlflow"
start_timeout = 120
flush_timeout = 300

[stacks.default]
experiment_trackers = ["local"]
orchestrator = "process"
max_workers = {workers}
"""
STATES = {"finished": "FINISHED", "crashed": "FAILED"}


def workers() -> list[int]:
    """Give the processes of this driver's workers."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                b"trackyard.pipelines.orchestrators.worker" in command
                and int(command[3]) == os.getpid()
            ):
                found.append(int(folder.name))
    return found


def kill_at_random(stop: threading.Event, killed: list[int]) -> None:
    """Kill a worker every now and then."""
    while not stop.wait(random.uniform(0.2, 1.0)):
        alive = workers()
        if alive:
            killed.append(victim := random.choice(alive))
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)


def run_pipeline(steps: int, retries: int, acknowledged: Path) -> str:
    """Run it; say what the call gave."""
    from trackyard import StepCrashedError, current_run, log_metric, pipeline, step

    @step(experiment_tracker="local", retries=retries, retry_delay=0)
    def work(number: int) -> int:
        with (acknowledged / current_run().id).open("a", encoding="utf-8") as file:
            for index in range(10):
                log_metric("value", number + index / 10, step=index)
                os.write(file.fileno(), f"{index}\n".encode())
                time.sleep(0.01)
        return number

    @pipeline
    def killing() -> None:
        work.map(range(steps))

    try:
        killing()
    except StepCrashedError:
        return "crashed"
    return "finished"


def problems(outcome: str, steps: int, acknowledged: Path, home: Path) -> list[str]:
    """Compare what is stored, what MLflow has and what was acknowledged."""
    from mlflow import MlflowClient

    from trackyard import Client

    run = Client().list_pipeline_runs()[0]
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiments = [found.experiment_id for found in client.search_experiments()]
    there: dict[str, Any] = {
        found.data.tags["trackyard.run_id"]: found
        for found in client.search_runs(experiments, max_results=5000)
        if "trackyard.run_id" in found.data.tags
    }
    attempts = [attempt for found in run.steps.values() for attempt in found.attempts]
    last = Counter(found.status for found in run.steps.values())
    expected = "crashed" if last["crashed"] else "finished"
    wrong = []
    if len(run.steps) != steps:
        wrong.append(f"{len(run.steps)} steps of {steps}")
    if (outcome, run.status) != (expected, expected):
        wrong.append(f"outcome {outcome}, stored {run.status}, expected {expected}")
    if there[run.id].info.status != STATES[expected]:
        wrong.append(f"MLflow shows the pipeline run as {there[run.id].info.status}")
    for attempt in attempts:
        found = there.get(attempt.id)
        if found is None or found.info.status != STATES.get(attempt.status):
            shown = found and found.info.status
            wrong.append(f"{attempt.name}: {attempt.status} in the store, {shown} in MLflow")
            continue
        notes = acknowledged / attempt.id
        kept = set(notes.read_text().split()) if notes.exists() else set()
        has = Counter(str(m.step) for m in client.get_metric_history(found.info.run_id, "value"))
        if kept - set(has) or set(has.values()) - {1}:
            wrong.append(f"{attempt.name}: lost {kept - set(has)}, has {dict(has)}")
    print(f"{len(attempts)} attempts: {dict(Counter(a.status for a in attempts))}")
    return wrong


def main() -> None:
    """Run, compare and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--retries", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chdir(name)
        Path("trackyard.toml").write_text(CONFIGURATION.format(workers=options.workers))
        acknowledged = Path("acknowledged").absolute()
        acknowledged.mkdir()
        stop, killed = threading.Event(), []
        killer = threading.Thread(target=kill_at_random, args=(stop, killed))
        killer.start()
        begun = time.monotonic()
        try:
            outcome = run_pipeline(options.steps, options.retries, acknowledged)
        finally:
            stop.set()
            killer.join()
        print(f"{time.monotonic() - begun:.1f} s, {len(killed)} workers killed, {outcome}")
        wrong = problems(outcome, options.steps, acknowledged, Path(name) / ".trackyard")
    print("\n".join(wrong) or "every status is true, no record is lost")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
