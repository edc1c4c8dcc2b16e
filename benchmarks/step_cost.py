"""What does a step cost in all processes, and a script with one, beside others that do the same?

    uv run benchmarks/step_cost.py [untracked] [script] [tracked] [cold]

Each part is measured in turns, so that all candidates meet the same machine; shown are medians of
the rounds. CPU is that of all processes that a program starts, also of those that outlive it: they
become this program's children, which sums them (Linux alone has that).

* `untracked`: a chain of steps whose outputs lie on disk, as in Kedro with JSON files, and as two
  rows and a JSON file by sqlite3 alone;
* `script`: a program with one untracked step, from its start to the end of its last process, beside
  an empty program and one of a Kedro node;
* `tracked`: a chain of steps that log 3 params and 10 metrics to MLflow on sqlite, and the same
  calls of MLflow's own, in the flavor's mode WAL (MLflow's default is slower): a long chain less a
  short one. Trackyard's runs have their context besides, some 20 tags and the packages in a file;
* `cold`: a program's start to the first line of a tracked step, and to its end, with the store
  there already.

Exit code 1 says that a bar is missed.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

ROUNDS = 7
CHAIN, SHORT, LONG = 50, 10, 210
MOST_MS, MOST_SCRIPT = 1.0, 0.2  # milliseconds of a step, seconds of CPU of a script
MOST_CPU, MOST_WALL, MOST_COLD = 1.3, 1.2, 1.05  # times MLflow's own
PARAMS = {"rate": 0.1, "depth": 3, "name": "baseline"}
METRICS = {f"metric_{index}": index / 10 for index in range(10)}
PROJECT = """
[stacks.default]
experiment_trackers = []

[experiment_trackers.local]
flavor = "mlflow"
start_timeout = 100
flush_timeout = 200
"""


class Cost(NamedTuple):
    """What one process and all that it started took, in seconds; and what it printed, as JSON."""

    cpu: float
    wall: float
    printed: Any


def trackyard_chain(tracker: str | None = None) -> Callable[[int], object]:
    """Make a pipeline of so many steps."""
    from trackyard import log_metrics, log_params, pipeline, step

    @step(experiment_tracker=tracker)
    def plus(number: int) -> int:
        if tracker is not None:
            log_params(PARAMS)
            log_metrics(METRICS, step=number)
        return number + 1

    @pipeline
    def chain(steps: int) -> None:
        number = 0
        for _ in range(steps):
            number = plus(number)

    return chain


def kedro_chain() -> Callable[[int], object]:
    """Make a pipeline of Kedro's with so many nodes, whose outputs are JSON files."""
    from kedro.io import AbstractDataset, DataCatalog
    from kedro.pipeline import node, pipeline
    from kedro.runner import SequentialRunner

    logging.getLogger("kedro").setLevel(logging.WARNING)  # as quiet as Trackyard is here

    class JsonFile(AbstractDataset[Any, Any]):  # type: ignore[misc]  # Kedro may be untyped
        def __init__(self, path: Path) -> None:
            self._path = path

        def load(self) -> Any:
            return json.loads(self._path.read_text())

        def save(self, data: Any) -> None:
            self._path.write_text(json.dumps(data))

        def _describe(self) -> dict[str, Any]:
            return {"path": self._path}

    def plus(number: int) -> int:
        return number + 1

    def chain(steps: int) -> None:
        folder = Path(tempfile.mkdtemp(dir="."))
        catalog = DataCatalog({f"n{i}": JsonFile(folder / f"{i}.json") for i in range(steps + 1)})
        catalog["n0"].save(0)
        nodes = [node(plus, f"n{i}", f"n{i + 1}", name=f"plus_{i}") for i in range(steps)]
        SequentialRunner().run(pipeline(nodes), catalog)

    return chain


def sqlite_chain() -> Callable[[int], object]:
    """Make the rows and files of so many steps: an insert, a file, an update."""
    connection = sqlite3.connect("rows.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS steps (id, status, started, ended, output)")

    def chain(steps: int) -> None:
        folder = Path(tempfile.mkdtemp(dir="."))
        for number in range(steps):
            row = (number, "running", time.time_ns())
            connection.execute("INSERT INTO steps VALUES (?, ?, ?, NULL, NULL)", row)
            file = folder / f"{number}.json"
            file.write_text(json.dumps(number + 1))
            end = ("finished", time.time_ns(), str(file), number)
            connection.execute("UPDATE steps SET status=?, ended=?, output=? WHERE id=?", end)

    return chain


def raw_mlflow(folder: Path) -> Callable[[int], object]:
    """Make MLflow's own calls for so many steps, on an sqlite store in mode WAL."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    store = folder / "raw.db"
    client = MlflowClient(f"sqlite:///{store}")
    found = client.get_experiment_by_name("raw")
    experiment = found.experiment_id if found else client.create_experiment("raw", "file:./files")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    keys = ("run_id", "pipeline", "step", "attempt", "group")
    tags = {f"trackyard.{key}": "0123456789abcdef" for key in keys} | {"mlflow.parentRunId": "x"}

    def chain(steps: int) -> None:
        for number in range(steps):
            run_id = client.create_run(experiment, tags=tags, run_name="raw").info.run_id
            now = int(time.time() * 1000)
            client.log_batch(run_id, params=[Param(k, str(v)) for k, v in PARAMS.items()])
            metrics = [Metric(key, value, now, number) for key, value in METRICS.items()]
            client.log_batch(run_id, metrics=metrics)
            client.set_tag(run_id, "trackyard.status", "finished")
            client.set_terminated(run_id, "FINISHED")

    return chain


def child_untracked() -> dict[str, list[list[float]]]:
    """Run chains of each kind in turns; give wall and CPU milliseconds of a step for each."""
    chains = {
        "Trackyard": trackyard_chain(),
        "Kedro, JSON files": kedro_chain(),
        "sqlite3 alone": sqlite_chain(),
    }
    costs: dict[str, list[list[float]]] = {label: [] for label in chains}
    for chain in chains.values():
        chain(5)
    for _ in range(ROUNDS):
        for label, chain in chains.items():
            began, cpu = time.perf_counter(), time.process_time()
            chain(CHAIN)
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            costs[label].append([wall / CHAIN * 1e3, cpu / CHAIN * 1e3])
    return costs


def child_chain(chain: Callable[[int], object], steps: int) -> float:
    """Run a chain; give its seconds."""
    began = time.perf_counter()
    chain(steps)
    return time.perf_counter() - began


def child_cold_tracked() -> float:
    """Run one tracked step; give when it began."""
    from trackyard import pipeline, step

    lines: list[float] = []

    @step(experiment_tracker="local")
    def first() -> None:
        lines.append(time.time())

    @pipeline
    def only() -> None:
        first()

    only()
    return lines[0]


def child_cold_raw() -> float:
    """Begin a run by MLflow's own calls; give when its first line began."""
    import mlflow

    mlflow.set_tracking_uri("sqlite:///raw.db")
    with mlflow.start_run():
        return time.time()


# Programs of their own: this one imports what they need not.
PROGRAMS = {
    "script": """
from trackyard import pipeline, step

@step
def plus(number: int) -> int:
    return number + 1

@pipeline
def only() -> None:
    plus(1)

only()
""",
    "empty": "",
}

CHILDREN: dict[str, Callable[[int], object]] = {
    "untracked": lambda _: child_untracked(),
    "kedro-script": lambda _: kedro_chain()(1),
    "tracked": lambda steps: child_chain(trackyard_chain("local"), steps),
    "raw": lambda steps: child_chain(raw_mlflow(Path.cwd()), steps),
    "cold-tracked": lambda _: child_cold_tracked(),
    "cold-raw": lambda _: child_cold_raw(),
}


def cost_of(child: str, folder: Path, steps: int = 1) -> Cost:
    """Run a child of this program; give its cost, with that of all that it has started.

    Args:
        child: A key of `CHILDREN` or `PROGRAMS`.
        folder: Where.
        steps: For those that run a chain.
    """
    environment = {**os.environ, "TRACKYARD_PROGRESS": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    began, cpu = time.time(), 0.0
    command = [sys.executable, __file__, "child", child, str(steps)]
    if child in PROGRAMS:
        program = folder / f"{child}.py"
        program.write_text(PROGRAMS[child])
        command = [sys.executable, str(program)]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        printed, wall = process.stdout.read(), 0.0
        while True:
            try:
                ended, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            cpu += usage.ru_utime + usage.ru_stime
            if ended == process.pid:
                wall, process.returncode = time.time() - began, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{child} ended with {process.returncode}")
    return Cost(cpu, wall, [began, json.loads((printed.splitlines() or [b"null"])[-1])])


def in_turns(children: Sequence[tuple[str, int]], folder: Path) -> list[list[Cost]]:
    """Give the costs of children that run in turns; a first round warms up and does not count."""
    costs: list[list[Cost]] = [[] for _ in children]
    for number in range(ROUNDS + 1):
        for found, (child, steps) in zip(costs, children, strict=True):
            cost = cost_of(child, folder, steps)
            if number:
                found.append(cost)
    return costs


def untracked(folder: Path) -> list[bool]:
    """Show what an untracked step costs; tell of each bar whether it is missed."""
    _, costs = cost_of("untracked", folder).printed
    medians = {}
    for label, pairs in costs.items():
        wall, cpu = (statistics.median(of) for of in zip(*pairs, strict=True))
        medians[label] = cpu
        print(f"untracked  {label:20} {wall:7.2f} ms a step, {cpu:.2f} ms of CPU")
    ratios = {label: medians["Trackyard"] / cpu for label, cpu in medians.items()}
    text = ", ".join(f"{ratio:.1f} times {label}" for label, ratio in [*ratios.items()][1:])
    return [told(f"untracked step, ms of CPU ({text})", medians["Trackyard"], MOST_MS)]


def script(folder: Path) -> list[bool]:
    """Show what a program with one untracked step costs."""
    names = ("script", "kedro-script", "empty")
    found = in_turns([(name, 1) for name in names], folder)
    for name, costs in zip(names, found, strict=True):
        cpu = statistics.median(cost.cpu for cost in costs)
        print(f"script     {name:20} {cpu:7.3f} s of CPU in all processes")
    cpu = statistics.median(cost.cpu for cost in found[0])
    return [told("script with one untracked step, s of CPU", cpu, MOST_SCRIPT)]


def tracked(folder: Path) -> list[bool]:
    """Show what a step tracked in MLflow costs beside MLflow's own calls."""
    children = [(name, steps) for name in ("tracked", "raw") for steps in (SHORT, LONG)]
    found = in_turns(children, folder)
    rounds: list[dict[str, tuple[float, float]]] = []
    for short, long, raw_short, raw_long in zip(*found, strict=True):
        steps = LONG - SHORT
        rounds.append(
            {
                "Trackyard": _a_step(short, long, steps),
                "MLflow, WAL": _a_step(raw_short, raw_long, steps),
            }
        )
    for label in rounds[0]:
        cpu, wall = (statistics.median(r[label][i] for r in rounds) for i in (0, 1))
        print(f"tracked    {label:20} {wall:7.2f} ms a step, {cpu:.2f} ms of CPU in all processes")
    missed = []
    for index, (what, most) in enumerate((("CPU", MOST_CPU), ("wall", MOST_WALL))):
        ratio = statistics.median(r["Trackyard"][index] / r["MLflow, WAL"][index] for r in rounds)
        missed.append(told(f"tracked step, times MLflow's {what}", ratio, most))
    return missed


def _a_step(short: Cost, long: Cost, steps: int) -> tuple[float, float]:
    """Give milliseconds of CPU and wall of a step: a long chain less a short one."""
    wall = long.printed[1] - short.printed[1]
    return (long.cpu - short.cpu) / steps * 1e3, wall / steps * 1e3


def cold(folder: Path) -> list[bool]:
    """Show how long a program takes to the first line of a tracked step."""
    names = ("cold-tracked", "cold-raw")
    found = in_turns([(name, 1) for name in names], folder)
    for name, costs in zip(names, found, strict=True):
        first = statistics.median(cost.printed[1] - cost.printed[0] for cost in costs)
        wall, cpu = (
            statistics.median(c) for c in zip(*((c.wall, c.cpu) for c in costs), strict=True)
        )
        print(
            f"cold       {name:20} {first:7.2f} s to the first line, {wall:.2f} to the end, ",
            end="",
        )
        print(f"{cpu:.2f} of CPU")
    pairs = zip(*found, strict=True)
    ratio = statistics.median(_first(ours) / _first(raw) for ours, raw in pairs)
    return [told("cold start, times MLflow's", ratio, MOST_COLD)]


def _first(cost: Cost) -> float:
    began, first = cost.printed
    return float(first - began)


def told(what: str, measured: float, most: float) -> bool:
    """Say how a measure stands to its bar; tell whether it is missed."""
    verdict = "missed" if measured > most else "met"
    print(f"           {what}: {measured:.2f}, at most {most}: {verdict}\n", flush=True)
    return measured > most


PARTS = {"untracked": untracked, "script": script, "tracked": tracked, "cold": cold}


def main(parts: Sequence[str]) -> int:
    """Measure and print; give 1 where a bar is missed."""
    subreaper = 36  # prctl(2): who loses its parent becomes a child of this process
    if ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0):
        raise SystemExit("processes that outlive their parent cannot be waited for here")
    missed: list[bool] = []
    for part in parts or PARTS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            if part != "script":  # whoever tracks nothing has none
                (Path(name) / "trackyard.toml").write_text(PROJECT)
            missed += PARTS[part](Path(name))
    return int(any(missed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        result = CHILDREN[sys.argv[2]](int(sys.argv[3]))
        print("\n" + json.dumps(result if isinstance(result, float | dict) else None))
    else:
        sys.exit(main(sys.argv[1:]))
