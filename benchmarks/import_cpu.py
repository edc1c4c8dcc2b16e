"""How much CPU do imports and quick commands cost over a bare interpreter?

    uv run benchmarks/import_cpu.py

Each command runs as a process of its own, in turns with a bare interpreter; shown is the median of
the differences of user and system time, in milliseconds, beside its budget. The project that they
run in has 10,000 pipeline runs.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trackyard.store import Store

ROUNDS = 15
NAMES = "from trackyard import Client, flavor, hookimpl, log_metric, pipeline, step"
COMMANDS = {
    "import trackyard": (["-c", "import trackyard"], 60),
    NAMES: (["-c", NAMES], 150),
    "trackyard --help": (["-m", "trackyard", "--help"], 300),
    "trackyard experiment-tracker flavor list": (
        ["-m", "trackyard", "experiment-tracker", "flavor", "list"],
        300,
    ),
    "trackyard experiment-tracker list": (
        ["-m", "trackyard", "experiment-tracker", "list"],
        300,
    ),
    "trackyard runs list (of 10,000)": (["-m", "trackyard", "runs", "list"], 300),
    "trackyard runs list, filtered and sorted": (
        ["-m", "trackyard", "runs", "list", "--status", "failed", "--sort", "duration"],
        300,
    ),
    "import pluggy, attrs (for comparison)": (["-c", "import pluggy, attrs"], None),
}


def cpu_seconds(arguments: list[str]) -> float:
    """Run a Python process and give the CPU time that it used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_project(folder: Path, runs: int = 10_000) -> None:
    """Fill the store of a project."""
    store = Store.in_folder(folder / ".trackyard")
    now = time.time_ns()
    with store.writing() as session:
        session.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :runs) "
            "INSERT INTO runs (id, kind, name, experiment, stack, status, started_at, ended_at) "
            "SELECT printf('%032x', i), 'pipeline', 'training ' || i, 'training', 'default', "
            "CASE i % 5 WHEN 0 THEN 'failed' ELSE 'finished' END, :now + i, :now + 3 * i FROM n",
            {"runs": runs, "now": now},
        )
    store.close()


def main() -> int:
    """Measure, print, and give 1 where a budget is exceeded."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        make_project(Path(folder))
        os.chdir(folder)
        return measure()


def measure() -> int:
    """Measure every command."""
    exceeded = False
    for label, (arguments, budget) in COMMANDS.items():
        cpu_seconds(arguments)
        differences = [cpu_seconds(arguments) - cpu_seconds(["-c", "pass"]) for _ in range(ROUNDS)]
        cost = statistics.median(differences) * 1e3
        limit = "" if budget is None else f"  of {budget} ms"
        print(f"{cost:7.0f} ms{limit:12}  {label}")
        exceeded |= budget is not None and cost > budget
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
