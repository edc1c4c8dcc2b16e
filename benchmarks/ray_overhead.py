"""What does an untracked pipeline on a local Ray cluster cost beside bare Ray tasks?

    uv run benchmarks/ray_overhead.py

Both run the same 60 steps of 50 ms on three workers, in turns; shown are the medians of the rounds
and the ratio. The bar is 1.2; exit code 1 says that it is missed.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TRACKYARD_PROGRESS"] = "0"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # below `uv run` Ray would pack this folder
STEPS, ROUNDS, MOST = 60, 5, 1.2


def payload(number: int) -> int:
    """Take 50 ms."""
    time.sleep(0.05)
    return number


def timed(work: Callable[[], object]) -> float:
    """Give the seconds that a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    import ray

    from trackyard import pipeline, step

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    ray.init(address="local", num_cpus=3, include_dashboard=False, configure_logging=False)
    bare = ray.remote(payload)
    work = step(payload)

    @pipeline
    def steps() -> None:
        work.map(range(STEPS))

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chdir(name)
        Path("trackyard.toml").write_text('[stacks.default]\norchestrator = "ray"\n')
        variants: dict[str, Callable[[], object]] = {
            "bare Ray": lambda: ray.get([bare.remote(number) for number in range(STEPS)]),
            "pipeline": steps,
        }
        times: dict[str, list[float]] = {label: [] for label in variants}
        for _ in range(ROUNDS + 1):
            for label, run in variants.items():
                times[label].append(timed(run))
    medians = {label: statistics.median(values[1:]) for label, values in times.items()}
    for label, median in medians.items():
        print(f"{label:10} {median:6.2f} s")
    ratio = medians["pipeline"] / medians["bare Ray"]
    print(f"{'ratio':10} {ratio:6.2f}    (bar: at most {MOST})")
    ray.shutdown()
    sys.exit(ratio > MOST)


if __name__ == "__main__":
    main()
