"""What does a tracker that hangs in every hook cost the step, and a long backlog in memory?

    uv run benchmarks/hanging_tracker.py

The same training loop, 0.2 ms of arithmetic and one log call a step, runs beside a tracker that
sleeps in every hook, also in its start, and without a tracker. The two take turns of a few
milliseconds, so that both see the same machine; the CPU of the loop's own thread is compared, and
the median of the turns' ratios counts. The block has to end within the tracker's two budgets, and
the same measure without a tracker on either side shows what is noise. Then a million metrics
are logged while that tracker takes nothing, in a process of its own, whose memory is compared
before and after. Shown are the figures with the bars that they must keep; exit code 1 says that one
is missed.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trackyard import start_run

logging.getLogger("trackyard").setLevel(logging.ERROR)  # what it says of the tracker is known

# Pairs of so many steps each, some milliseconds long.
STEPS, PAIRS, BLOCKS, BACKLOG = 40, 100, 8, 1_000_000
START, FLUSH = 1.0, 1.0
# At most so much more CPU, and so many more bytes of memory.
MOST_CPU, MOST_MEMORY = 0.01, 50e6

FLAVOR = '''
import time

from trackyard import flavor, hookimpl


@flavor
class Hanging:
    """Sleep in every hook."""

    @hookimpl
    def tracker_start_run(self, run):
        time.sleep(3600)

    @hookimpl
    def tracker_url(self, run):
        time.sleep(3600)

    @hookimpl
    def tracker_log(self, run, batch):
        time.sleep(3600)

    @hookimpl
    def tracker_end_run(self, run):
        time.sleep(3600)


@flavor
class HangingInLog(Hanging):
    """Start, and sleep in every other hook."""

    @hookimpl
    def tracker_start_run(self, run):
        pass

    @hookimpl
    def tracker_url(self, run):
        return None
'''


def train(run: Any) -> int:
    """Train for a few steps; give the CPU nanoseconds of this thread."""
    begun = time.thread_time_ns()
    for step in range(STEPS):
        total = 0.0
        for value in range(4_000):
            total += value * 0.5
        run.log_metric("loss", total, step=step)
    return time.thread_time_ns() - begun


def compared(tracker: str | None) -> list[float]:
    """Train beside a tracker and without one, in turns that are short: the machine is the same."""
    ratios = []
    for _ in range(BLOCKS):
        with (
            start_run("with", experiment_tracker=tracker) as one,
            start_run("without", experiment_tracker=None) as other,
        ):
            for number in range(PAIRS):
                if number % 2:
                    spent, plain = train(one), train(other)
                else:
                    plain, spent = train(other), train(one)
                ratios.append(spent / plain - 1)
    return ratios


def waited(tracker: str) -> float:
    """Give the wall seconds that a block costs around what is done in it."""
    around = time.monotonic()
    with start_run("block", experiment_tracker=tracker) as run:
        begun = time.monotonic()
        train(run)
        inside = time.monotonic() - begun
    return time.monotonic() - around - inside


def memory() -> int:
    """Give this process's resident memory, in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    # Mapped files are the journal's: the system takes their pages back whenever it wants.
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def backlog() -> None:
    """Log a million metrics that nobody takes; print how many bytes the process has grown."""
    with start_run("backlog", experiment_tracker="log") as run:
        for step in range(1000):
            run.log_metric("loss", step, step=step)
        before = memory()
        for step in range(BACKLOG):
            run.log_metric("loss", step, step=step)
        print(memory() - before, flush=True)
        os._exit(0)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chdir(name)
        Path("hanging.py").write_text(FLAVOR, encoding="utf-8")
        sys.path.insert(0, name)
        os.environ["PYTHONPATH"] = name
        for tracker, flavor in (("start", "Hanging"), ("log", "HangingInLog")):
            with Path("trackyard.toml").open("a", encoding="utf-8") as file:
                file.write(
                    f'[experiment_trackers.{tracker}]\nflavor = "hanging:{flavor}"\n'
                    f"start_timeout = {START}\nflush_timeout = {FLUSH}\n"
                )
        noise, error = median_of(compared(None))
        print(f"{'no tracker on either side':28} {noise:8.2%} ± {error:.2%} more CPU  (the noise)")
        passed = [measure_loop(tracker) for tracker in ("start", "log")]
        grown = int(
            subprocess.run(
                [sys.executable, __file__, "backlog"], check=True, capture_output=True, text=True
            ).stdout
        )
    label = f"{BACKLOG:,} waiting"
    print(f"{label:28} {grown / 1e6:8.1f} MB more  (bar: at most {MOST_MEMORY / 1e6:g} MB)")
    sys.exit(not all([*passed, grown <= MOST_MEMORY]))


def measure_loop(tracker: str) -> bool:
    """Compare loops in pairs; tell whether the bars are kept."""
    longest = max(waited(tracker) for _ in range(2))
    more, error = median_of(compared(tracker))
    label = f"hangs in every hook from {tracker}"
    print(f"{label:28} {more:8.2%} ± {error:.2%} more CPU  (bar: at most {MOST_CPU:.0%})")
    bar = START + FLUSH + 0.5
    print(f"{'':28} {longest:8.2f} s around the loop  (bar: at most {bar:g} s, the budgets)")
    return more <= MOST_CPU and longest <= bar


def median_of(ratios: list[float]) -> tuple[float, float]:
    """Give the median and its standard error, which a few turns that went wrong do not move."""
    first, median, third = statistics.quantiles(ratios, n=4)
    return median, 1.25 * (third - first) / 1.35 / len(ratios) ** 0.5


if __name__ == "__main__":
    backlog() if sys.argv[1:] == ["backlog"] else main()
