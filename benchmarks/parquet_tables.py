"""What does a large table cost as Parquet, beside `mlflow.log_table` of the same?

    uv run benchmarks/parquet_tables.py

Both log the same frame in turns, MLflow into an embedded store, Trackyard into a journal without a
tracker; shown is the least CPU time of the process over the rounds, in milliseconds, beside pandas'
own `to_parquet`. Trackyard searches every text for secrets meanwhile.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROWS = 1_000_000
ROUNDS = 3
MOST = 1.5


def cpu_of(call: Callable[[], object]) -> float:
    """Give the milliseconds of CPU that a call takes."""
    begun = time.process_time_ns()
    call()
    return (time.process_time_ns() - begun) / 1e6


def main() -> int:
    """Measure, print a table, and give 1 where Trackyard costs more than it may."""
    import mlflow
    import pandas

    import trackyard

    chosen = random.Random(1)
    words = ["".join(chosen.choices("abcdefghij", k=7)) for _ in range(5000)]
    frame = pandas.DataFrame(
        {
            "id": range(ROWS),
            "score": [chosen.random() for _ in range(ROWS)],
            "word": [chosen.choice(words) for _ in range(ROWS)],
            "text": [f"row {number} says {words[number % 5000]}" for number in range(ROWS)],
        }
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        Path("trackyard.toml").touch()
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        with mlflow.start_run(), trackyard.start_run("large", experiment_tracker=None) as run:
            rounds = [
                (
                    cpu_of(lambda name=f"{number}.parquet": mlflow.log_table(frame, name)),
                    cpu_of(lambda name=f"{number}.parquet": run.log_table(frame, name)),
                    cpu_of(lambda: frame.to_parquet("bare.parquet")),
                )
                for number in range(ROUNDS)
            ]
        os.chdir("/")
    theirs, ours, bare = (min(times) for times in zip(*rounds, strict=True))
    print(f"{ROWS:,} rows: Trackyard {ours:.0f} ms, MLflow {theirs:.0f} ms, pandas {bare:.0f} ms")
    return 0 if ours <= MOST * theirs else 1


if __name__ == "__main__":
    sys.exit(main())
