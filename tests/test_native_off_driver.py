"""Do an SDK's own calls land in the step's run where the step runs in another process?

One pipeline on the orchestrator `process` has three trackers at once, and is read back with each
backend's own reader; the SDKs take seconds to import.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trackyard_wandb.logfile import read_log
from trackyard_wandb.records import items_of, parse

PROJECT = """
[experiment_trackers.local]
flavor = "mlflow"
start_timeout = 60
flush_timeout = 60

[experiment_trackers.board]
flavor = "tensorboard"

[experiment_trackers.team]
flavor = "wandb"
mode = "offline"
settings = {x_save_requirements = false}

[stacks.default]
experiment_trackers = ["local", "board", "team"]
orchestrator = "process"
max_workers = 1
"""
CHILDREN = """
import trackyard

def log_from(rank, run_id):
    trackyard.log_metric(f"child{rank}", rank, step=0)
    if rank == 1:
        import mlflow
        mlflow.log_metric("spawned", 1.0, step=0, run_id=run_id)

def log_natively():
    import mlflow
    mlflow.log_metric("forked", 1.0, step=0)
"""
PROGRAM = """
import multiprocessing
import children
import trackyard

@trackyard.step(experiment_tracker=True)
def train():
    import mlflow, wandb
    from tensorboardX import SummaryWriter
    mlflow.log_metric("native", 1.0, step=3)
    wandb.log({"native": 1.0})
    with SummaryWriter() as writer:
        writer.add_scalar("native", 1.0, 3)
    trackyard.log_metric("portable", 5.0, step=0)
    context = multiprocessing.get_context("spawn")
    run_id = mlflow.active_run().info.run_id
    ranks = [context.Process(target=children.log_from, args=(rank, run_id)) for rank in (1, 2)]
    ranks.append(multiprocessing.get_context("fork").Process(target=children.log_natively))
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()

if __name__ == "__main__":
    trackyard.pipeline(train)()
"""
EXPECTED = {"native": [1.0], "portable": [5.0], "child1": [1.0], "child2": [2.0]}


@pytest.fixture
def done(mlflow_project):
    mlflow_project.configure(PROJECT)
    (mlflow_project.root / "children.py").write_text(CHILDREN)
    (mlflow_project.root / "program.py").write_text(PROGRAM)
    variables = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    variables.pop("TRACKYARD_ISOLATION")  # as users have it
    ended = subprocess.run(
        [sys.executable, "program.py"],
        check=False,
        cwd=mlflow_project.root,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return mlflow_project


@pytest.mark.slow
def test_native_calls_and_those_of_children_land_in_the_run_of_the_step(done):
    assert in_mlflow(done) == {**EXPECTED, "spawned": [1.0], "forked": [1.0]}
    assert in_tensorboard(done.home / "tensorboard") == EXPECTED
    assert in_wandb(done.home / "runs") == EXPECTED
    assert set(done.statuses().values()) == {"FINISHED"}
    assert not (done.root / "runs").exists(), "a stray folder of TensorBoard's"
    assert not (done.root / "wandb").exists(), "a stray folder of W&B's"


def in_mlflow(project):
    run = project.run("train")
    client = project.client()
    histories = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return {key: [point.value for point in points] for key, points in histories.items()}


def in_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = {path.parent for path in folder.rglob("*tfevents*")}
    reader = EventAccumulator(str(run)).Reload()
    return {key: [point.value for point in reader.Scalars(key)] for key in reader.Tags()["scalars"]}


def in_wandb(runs):
    (path,) = runs.glob("*/team/offline-run-*/*.wandb")
    found = {}
    for row in (parse(data).history for data, _ in read_log(path)):
        for key, value in items_of(row.item).items():
            if not key.startswith(("_", "trackyard")):
                found.setdefault(key, []).append(float(value))
    return found
