"""How much memory does delivering ten million points to MLflow take, and how much time?

    uv run benchmarks/long_delivery.py [POINTS]

A script logs the points, one call each, and waits until MLflow on sqlite has them all; then the
store is asked how many it has. Shown are the most resident memory of the script, of the worker and
of the watchdog, and seconds of CPU of all of them. Exit code 1 says that the worker took more than
its bar, or that points are missing.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from shared.processes import cost_of

POINTS = 10_000_000
MOST = 300e6  # bytes in the worker

CONFIGURATION = """
[experiment_trackers.local]
flavor = "mlflow"
start_timeout = 600
flush_timeout = 86400
"""
PROGRAM = """
import sys
from trackyard import start_run
with start_run("long", experiment_tracker="local") as run:
    for step in range(int(sys.argv[1])):
        run.log_metric("loss", step / 3, step=step)
"""


def points_in(database: Path) -> int:
    """Give how many points a store of MLflow's has."""
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM metrics").fetchone()[0])


def main() -> int:
    """Measure, print, and give 1 where a bar is missed."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else POINTS
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "trackyard.toml").write_text(CONFIGURATION, encoding="utf-8")
        environment = {**os.environ, "TRACKYARD_PROGRESS": "0"}
        command = [sys.executable, "-c", PROGRAM, str(points)]
        cost = cost_of(command, cwd=folder, env=environment)
        (database,) = folder.rglob("mlflow.db")
        arrived = points_in(database)
    worker, *others = cost.helpers
    print(f"{arrived:,} of {points:,} points arrived, in {cost.wall:.0f} s")
    print(f"{'script':10}{cost.main.memory / 1e6:8.0f} MB{cost.main.cpu:8.1f} s of CPU")
    bar = f"  (bar: at most {MOST / 1e6:g} MB)"
    print(f"{'worker':10}{worker.memory / 1e6:8.0f} MB{worker.cpu:8.1f} s of CPU{bar}")
    for other in others:
        print(f"{'other':10}{other.memory / 1e6:8.0f} MB{other.cpu:8.1f} s of CPU")
    return int(arrived != points or worker.memory > MOST)


if __name__ == "__main__":
    sys.exit(main())
