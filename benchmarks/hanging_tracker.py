"""What does a tracker that hangs in every hook cost the step, and a long backlog in memory?

    uv run benchmarks/hanging_tracker.py

The same training loop, 0.2 ms of arithmetic and one log call a step, runs beside a tracker that
sleeps in every hook and without a tracker, in pairs that take turns; the CPU of the loop's own
thread is compared, and the step has to end within the tracker's two budgets. Then a million metrics
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

logging.getLogger("trackyard").setLevel(logging.ERROR)  # what it says of the tracker is known

STEPS, PAIRS, BACKLOG = 4_000, 15, 1_000_000
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


def loop(tracker: str | None) -> tuple[float, float]:
    """Train; give the CPU seconds of this thread in the loop, and the wall seconds around it."""
    from trackyard import start_run

    around = time.monotonic()
    with start_run("loop", experiment_tracker=tracker) as run:
        begun = time.thread_time()
        for step in range(STEPS):
            total = 0.0
            for value in range(4_000):
                total += value * 0.5
            run.log_metric("loss", total, step=step)
        spent = time.thread_time() - begun
        inside = time.monotonic()
    return spent, time.monotonic() - inside + (inside - around - spent)


def memory() -> int:
    """Give this process's resident memory, in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    # Mapped files are the journal's: the system takes their pages back whenever it wants.
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def backlog() -> None:
    """Log a million metrics that nobody takes; print how many bytes the process has grown."""
    from trackyard import start_run

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
    with tempfile.TemporaryDirectory() as name:
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
    ratios, waits = [], []
    for number in range(PAIRS + 1):
        order = (tracker, None) if number % 2 else (None, tracker)
        results = {which: loop(which) for which in order}
        ratios.append(results[tracker][0] / results[None][0] - 1)
        waits.append(results[tracker][1])
    more, longest = statistics.median(ratios[1:]), max(waits)
    label = f"hangs in every hook from {tracker}"
    print(f"{label:28} {more:8.2%} more CPU in the loop  (bar: at most {MOST_CPU:.0%})")
    bar = START + FLUSH + 0.5
    print(f"{'':28} {longest:8.2f} s around the loop  (bar: at most {bar:g} s, the budgets)")
    return more <= MOST_CPU and longest <= bar


if __name__ == "__main__":
    backlog() if sys.argv[1:] == ["backlog"] else main()
