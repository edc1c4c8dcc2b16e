"""Does looking grow with the runs that a project has?

    uv run benchmarks/growth.py [RUNS...]

One project grows to 10, 1,000, 10,000 and 100,000 runs, or to the sizes that are given; they are
made by the product's own code, with folders, journals and rows: half are blocks and half are
pipeline runs with one step, and every tenth has a tracker. At each size every command runs as a
process of its own, and every call warm in this one. Shown are milliseconds of CPU, a command's
less those of a bare interpreter, and the exponent between the last two sizes: 0 does not grow, 1
grows as the number of runs does. Exit code 1 says that a bar is missed:

* at the last size, at most 1.3 times the figure at the size that is 1,000 or next to it;
* `runs list`, filtered and sorted, within 300 ms;
* `gc --dry-run`, with nothing to delete, within 1 s and 60 MB;
* `doctor` within 1 s;
* `get_run(id)` within 2 ms.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path

import attrs

SIZES = (10, 1_000, 10_000, 100_000)
ROUNDS, CALLS = 5, 20
MOST = 1.3
# So much is measured wrongly, in milliseconds of a command and of a call.
NOISE = {"command": 15.0, "call": 0.5}
CONFIGURATION = """
[stacks.default]

[experiment_trackers.memory]
flavor = "trackyard.testing.memory:MemoryTracker"
isolation = "thread"
"""


@attrs.frozen
class Figure:
    """What something costs in a project of one size."""

    milliseconds: float
    megabytes: float = 0.0


@attrs.frozen
class Bar:
    """What something may cost at every size."""

    milliseconds: float
    megabytes: float = math.inf


BARS = {
    "runs list, filtered and sorted": Bar(300),
    "gc --dry-run": Bar(1000, 60),
    "doctor": Bar(1000),
    "get_run(id)": Bar(2),
}


def make_runs(first: int, last: int) -> None:
    """Make runs by the product's own code, in the working directory."""
    from trackyard import log_metric, log_params, pipeline, start_run, step

    @step(experiment_tracker=None)
    def train(number: int) -> int:
        log_params({"rate": number % 7 / 10})
        log_metric("loss", number % 1009, step=0)
        if number % 50 == 49:
            raise ValueError("as every now and then")
        return number

    @pipeline
    def training(number: int) -> None:
        train(number)

    for number in range(first, last):
        if number % 2:
            try:
                training(number)
            except ValueError:
                continue
        else:
            tracker = "memory" if number % 10 == 0 else None
            with start_run(
                f"block-{number}", experiment="sweep", experiment_tracker=tracker
            ) as run:
                run.log_params({"rate": number % 7 / 10})
                run.log_metric("loss", number % 1009, step=0)


def commands(last: int) -> dict[str, list[str]]:
    """Give the commands that look, by their names."""
    from trackyard import Client

    pipeline_run = Client().list_runs("training", most=1)[0].name
    block, other = f"block-{(last - 1) // 2 * 2}", f"block-{last // 4 * 2}"
    fitting = ["--filter", "metrics.loss < 500 and params.rate = 0.2", "--sort", "metrics.loss"]
    return {
        "runs list": ["runs", "list"],
        "runs list, of failed by duration": (
            ["runs", "list", "--status", "failed", "--sort", "duration"]
        ),
        "runs list, filtered and sorted": ["runs", "list", *fitting],
        "runs show BLOCK": ["runs", "show", block],
        "runs show PIPELINE": ["runs", "show", pipeline_run],
        "runs compare": ["runs", "compare", block, other],
        "runs verify": ["runs", "verify", f"block-{(last - 1) // 10 * 10}"],
        "runs export": ["runs", "export", block, "--output", "exported.json"],
        "gc --dry-run": ["gc", "--dry-run"],
        "doctor": ["doctor"],
        "sync": ["sync"],
    }


def calls(last: int) -> dict[str, Callable[[], object]]:
    """Give the calls that look, by their names."""
    from trackyard import Client

    client = Client()
    listed = client.list_runs(most=1000)
    ids = [run.id for run in listed if run.kind == "run"][:20]
    numbers = iter(range(10**9))
    of_some = "metrics.loss < 500 and params.rate = 0.2"
    name = f"block-{last // 4 * 2}"
    row = "SELECT * FROM runs WHERE id = :id"
    return {
        "the raw query": lambda: client._store.execute(row, {"id": ids[next(numbers) % len(ids)]}),
        "get_run(id)": lambda: client.get_run(ids[next(numbers) % len(ids)]),
        "get_run(name)": lambda: client.get_run(name),
        "list_runs()": client.list_runs,
        "search_runs(filter)": lambda: client.search_runs(of_some, "metrics.loss", limit=50),
        "compare_runs of 4": lambda: client.compare_runs(*ids[:4]),
    }


def cost_of_command(arguments: list[str]) -> Figure:
    """Run a command and give what it costs beside a bare interpreter."""
    samples = []
    for _ in range(ROUNDS):
        bare, _ = _run_process(["-c", "pass"])
        samples.append(_run_process(["-m", "trackyard", *arguments]))
        samples[-1] = samples[-1][0] - bare, samples[-1][1]
    return Figure(statistics.median(s for s, _ in samples) * 1e3, max(m for _, m in samples))


def _run_process(arguments: list[str]) -> tuple[float, float]:
    """Run a Python process; give its seconds of CPU and its most megabytes."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(arguments)} exits with {process.returncode}: {said}")
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def cost_of_call(call: Callable[[], object]) -> Figure:
    """Call something warm and give what it costs."""
    call()
    samples = []
    for _ in range(CALLS):
        before = time.process_time()
        call()
        samples.append(time.process_time() - before)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figure(statistics.median(samples) * 1e3, megabytes)


def measure(size: int) -> dict[str, tuple[str, Figure]]:
    """Measure everything at one size of the project."""
    found = {name: ("command", cost_of_command(a)) for name, a in commands(size).items()}
    return found | {name: ("call", cost_of_call(call)) for name, call in calls(size).items()}


def missed(sizes: list[int], of: str, kind: str, figures: list[Figure]) -> list[str]:
    """Say which bars something misses."""
    problems = []
    base = figures[max(i for i, size in enumerate(sizes) if size <= 1000 or i == 0)]
    last = figures[-1]
    if last.milliseconds > base.milliseconds * MOST + NOISE[kind]:
        problems.append(f"grows {last.milliseconds / base.milliseconds:.1f} times")
    bar = BARS.get(of)
    if bar and last.milliseconds > bar.milliseconds:
        problems.append(f"more than {bar.milliseconds:g} ms")
    if bar and last.megabytes > bar.megabytes:
        problems.append(f"{last.megabytes:.0f} MB, more than {bar.megabytes:g}")
    return problems


def exponent(sizes: list[int], figures: list[Figure]) -> float:
    """Give the power of the number of runs with which something grows, by the last two sizes."""
    one, two = (max(figure.milliseconds, 0.01) for figure in figures[-2:])
    return math.log(two / one) / math.log(sizes[-1] / sizes[-2])


def main(arguments: Iterable[str]) -> int:
    """Measure, print, and give 1 where a bar is missed."""
    sizes = sorted({int(size) for size in arguments} or SIZES)
    os.environ["TRACKYARD_PROGRESS"] = "0"
    found: list[dict[str, tuple[str, Figure]]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chdir(folder):
        (Path(folder) / "trackyard.toml").write_text(CONFIGURATION)
        made = 0
        for size in sizes:
            started = time.process_time()
            make_runs(made, size)
            per_run = (time.process_time() - started) / max(1, size - made) * 1e3
            print(f"{size} runs, made at {per_run:.1f} ms of CPU each", flush=True)
            made = size
            found.append(measure(size))
    print("".join(f"{size:>12,}" for size in sizes), " exponent")
    is_missed = False
    for name, (kind, _) in found[0].items():
        figures = [figure for of_size in found for _, figure in [of_size[name]]]
        problems = missed(sizes, name, kind, figures)
        is_missed |= bool(problems)
        grows = f"{exponent(sizes, figures):9.2f}" if len(sizes) > 1 else f"{'':9}"
        values = "".join(f"{figure.milliseconds:12.2f}" for figure in figures)
        print(f"{values} {grows}  {name}{'  MISSED: ' if problems else ''}{', '.join(problems)}")
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
