"""How much CPU do imports and quick commands cost over a bare interpreter?

    uv run benchmarks/import_cpu.py

Each command runs as a process of its own, in turns with a bare interpreter; shown is the median of
the differences of user and system time, in milliseconds, beside its budget.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

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
    "import pluggy, attrs (for comparison)": (["-c", "import pluggy, attrs"], None),
}


def cpu_seconds(arguments: list[str]) -> float:
    """Run a Python process and give the CPU time that it used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure, print, and give 1 where a budget is exceeded."""
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
