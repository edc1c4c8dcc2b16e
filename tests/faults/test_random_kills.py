"""Wherever a process is killed: what it has logged is kept, and its run ends as failed, soon.

`benchmarks/random_kills.py` does 300 of these kills, in `.ci/long`; here are as many as a suite can
wait for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import mlflow  # noqa: F401 - it changes the environment when it is imported
import pytest
from evidence import wait_until
from killing import killed, problems_of


@pytest.mark.parametrize(
    ("kills", "least"),
    [
        pytest.param(8, 100, marks=pytest.mark.slow),
        pytest.param(24, 1000, marks=pytest.mark.long(reason="three times as many")),
    ],
)
def test_p3_processes_killed_at_random_points(tmp_path, empty_store, mlflow_server, kills, least):
    store = tmp_path / "store.db"
    store.write_bytes(empty_store.read_bytes())
    databases = {f"sqlite:///{store}": store, mlflow_server.url: mlflow_server.folder / "server.db"}
    seed = time.time_ns()
    results = killed(tmp_path / "killed", list(databases), kills, seed)
    problems = [text for one in results for text in problems_of(one, databases[one["uri"]])]

    assert problems == [], f"with the seed {seed}"
    assert sum(sum(one["noted"]) for one in results) > least


ITSELF = """
import os, signal
from trackyard import start_run
with start_run("itself", experiment_tracker="local") as run:
    run.log_metric("loss", 0.5, 3)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_p3_killed_in_the_statement_after_a_log_call(mlflow_project):
    """With nothing prepared: the watchdog and its worker begin after the death."""
    mlflow_project.configure('[experiment_trackers.local]\nflavor = "mlflow"\nstart_timeout = 0\n')
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    process = subprocess.run(
        [sys.executable, "-c", ITSELF],
        env={**environment, "TRACKYARD_WATCHDOG": "1", "TRACKYARD_ISOLATION": "auto"},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: mlflow_project.statuses() == {"itself": "FAILED"}, 60)

    run = mlflow_project.run("itself")
    (metric,) = mlflow_project.client().get_metric_history(run.info.run_id, "loss")
    assert (metric.value, metric.step) == (0.5, 3)
