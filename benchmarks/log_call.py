"""What does a log call cost the step, beside the same call of the SDKs?

    uv run benchmarks/log_call.py [--quick]

Every candidate lives in a process of its own, in the same folder; rounds of them take turns, so
that all meet the same machine. Trackyard delivers to MLflow on sqlite meanwhile. Shown are medians
of the rounds, in microseconds:

* `CPU`: of the calling thread, for one call, between pieces of work of some 20 microseconds as in
  a training loop, less the same loop without the calls;
* `20 keys`: the same for a call with 20 metrics, for each of them;
* `busy`: the mean wall time of a call while another Python thread computes without a pause;
* `numpy`: the median wall time of a call behind half a millisecond of numpy, which leaves the
  processor's caches to other data, less that of looking at the clock.

SDKs that are no part of this workspace are run in environments of their own, which uv makes; one
that cannot be installed is named and left out.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROUNDS = 9
BEHIND_NUMPY = 100  # calls of a round
MOST_CPU, MOST_SHARE, MOST_PER_METRIC, MOST_BUSY, MOST_BEHIND = 2.5, 0.25, 0.5, 20.0, 0.35


class Calls(NamedTuple):
    """How a candidate logs one number and many, and how many calls a round has."""

    one: Callable[[int], object]
    many: Callable[[dict[str, float], int], object]
    count: int = 2000


@contextmanager
def trackyard_with_mlflow() -> Iterator[Calls]:
    """Trackyard, whose tracker is MLflow on sqlite, in a worker process as it is by default."""
    from trackyard import log_metric, log_metrics, start_run

    Path("trackyard.toml").write_text('[experiment_trackers.local]\nflavor = "mlflow"\n')
    with start_run(experiment_tracker="local"):
        yield Calls(lambda step: log_metric("loss", 0.5, step), log_metrics, 10_000)


@contextmanager
def mlflow_on_sqlite() -> Iterator[Calls]:
    """MLflow's own calls."""
    import mlflow

    mlflow.set_tracking_uri("sqlite:///raw.db")
    with mlflow.start_run():
        yield Calls(lambda step: mlflow.log_metric("loss", 0.5, step), mlflow.log_metrics, 50)


@contextmanager
def mlflow_asynchronous() -> Iterator[Calls]:
    """MLflow's own calls that return before the store has anything."""
    import mlflow

    mlflow.set_tracking_uri("sqlite:///asynchronous.db")
    with mlflow.start_run():
        yield Calls(
            lambda step: mlflow.log_metric("loss", 0.5, step, synchronous=False),
            lambda many, step: mlflow.log_metrics(many, step, synchronous=False),
            200,
        )
        mlflow.flush_async_logging()


@contextmanager
def swanlab_offline() -> Iterator[Calls]:
    """SwanLab's own calls."""
    import swanlab

    swanlab.init(mode="offline", logdir="swanlab", project="benchmark")
    yield Calls(lambda step: swanlab.log({"loss": 0.5}, step=step), swanlab.log)
    swanlab.finish()


@contextmanager
def dvclive_local() -> Iterator[Calls]:
    """DVCLive's own calls, with the step that it counts itself."""
    from dvclive import Live

    def many(metrics: dict[str, float], _: int) -> None:
        for key, value in metrics.items():
            live.log_metric(key, value)
        live.next_step()

    with Live(save_dvc_exp=False, report=None) as live:
        yield Calls(lambda step: many({"loss": 0.5}, step), many, 50)


@contextmanager
def wandb_offline() -> Iterator[Calls]:
    """W&B's own calls."""
    import wandb

    with wandb.init(mode="offline", project="benchmark") as run:
        yield Calls(lambda _: run.log({"loss": 0.5}), lambda many, _: run.log(many), 1000)


@contextmanager
def tensorboard_x() -> Iterator[Calls]:
    """The writer of tensorboardX, which has no call for several numbers."""
    from tensorboardX import SummaryWriter

    def many(metrics: dict[str, float], step: int) -> None:
        for key, value in metrics.items():
            writer.add_scalar(key, value, step)

    with SummaryWriter("board") as writer:
        yield Calls(lambda step: writer.add_scalar("loss", 0.5, step), many)


@contextmanager
def trackio_local() -> Iterator[Calls]:
    """Trackio's own calls."""
    import trackio

    trackio.init(project="benchmark", embed=False)
    yield Calls(lambda step: trackio.log({"loss": 0.5}, step), trackio.log)
    trackio.finish()


@contextmanager
def comet_offline() -> Iterator[Calls]:
    """Comet's own calls."""
    import comet_ml

    experiment = comet_ml.OfflineExperiment(
        offline_directory="comet", log_code=False, log_graph=False, auto_output_logging=False
    )
    yield Calls(
        lambda step: experiment.log_metric("loss", 0.5, step=step),
        lambda many, step: experiment.log_metrics(many, step=step),
    )
    experiment.end()


@contextmanager
def neptune_offline() -> Iterator[Calls]:
    """Neptune's own calls."""
    import neptune

    def many(metrics: dict[str, float], _: int) -> None:
        for key, value in metrics.items():
            run[key].append(value)

    with neptune.init_run(
        mode="offline", capture_stdout=False, capture_stderr=False, git_ref=False, source_files=[]
    ) as run:
        yield Calls(lambda _: run["loss"].append(0.5), many)


OURS = "trackyard, to MLflow"
CANDIDATES = {
    OURS: trackyard_with_mlflow,
    "mlflow.log_metric": mlflow_on_sqlite,
    "wandb.log, offline": wandb_offline,
    "tensorboardX": tensorboard_x,
    "trackio.log": trackio_local,
    "comet, offline": comet_offline,
    "neptune, offline": neptune_offline,
    "mlflow, asynchronous": mlflow_asynchronous,
    "swanlab, offline": swanlab_offline,
    "dvclive": dvclive_local,
}
# What is no part of the workspace, with what uv installs for it.
ELSEWHERE = {"swanlab, offline": "swanlab", "dvclive": "dvclive"}


def cpu_of(call: Callable[[int], object], count: int) -> float:
    """Give the microseconds of this thread's CPU that a call takes between pieces of work."""
    begun = time.thread_time_ns()
    for _ in range(count):
        sum(range(1500))
    middle = time.thread_time_ns()
    for step in range(count):
        sum(range(1500))
        call(step)
    return (time.thread_time_ns() - middle - (middle - begun)) / count / 1e3


def busy_wall_of(call: Callable[[int], object], count: int) -> float:
    """Give the mean microseconds that a call takes beside a thread that computes."""
    is_over = threading.Event()

    def compute() -> None:
        while not is_over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    total = 0
    for step in range(count):
        sum(range(1500))
        begun = time.perf_counter_ns()
        call(step)
        total += time.perf_counter_ns() - begun
    is_over.set()
    thread.join()
    return total / count / 1e3


def behind_numpy(call: Callable[[int], object]) -> float:
    """Give the median microseconds of a call behind half a millisecond of numpy."""
    import numpy

    square = numpy.random.default_rng(0).random((110, 110))

    def compute() -> float:
        result = square
        for _ in range(4):
            result = numpy.tanh(result @ square * 0.01)
        return float(result[0, 0])

    taken, clock = [], []
    for step in range(BEHIND_NUMPY):
        compute()
        begun = time.perf_counter_ns()
        middle = time.perf_counter_ns()
        call(step)
        taken.append(time.perf_counter_ns() - middle)
        clock.append(middle - begun)
    return (statistics.median(taken) - statistics.median(clock)) / 1e3


def serve(name: str) -> None:
    """Measure one candidate, a round for each line of standard input."""
    logging.disable(logging.CRITICAL)
    metrics = {f"metric_{number}": number / 7 for number in range(20)}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an SDK prints is no answer
    with CANDIDATES[name]() as calls:
        calls.one(0)
        calls.many(metrics, 0)
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            one = cpu_of(calls.one, calls.count)
            many = cpu_of(lambda step: calls.many(metrics, step), max(calls.count // 10, 10))
            busy = busy_wall_of(calls.one, min(calls.count, 1000))
            behind = behind_numpy(calls.one)
            print(one, many / len(metrics), busy, behind, file=answers, flush=True)
    answers.close()


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(folder / "trackio"),
        "TRACKYARD_PROGRESS": "0",
        "NEPTUNE_PROJECT": "a/b",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Threads of numpy's own would make the work between calls another one in each process.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _python(name: str) -> list[str]:
    """Give what starts Python where a candidate is installed."""
    if name not in ELSEWHERE:
        return [sys.executable]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    options = ["--no-project", "--isolated", "--quiet", "--python", version]
    return ["uv", "run", *options, "--with", ELSEWHERE[name], "--with", "numpy", "python"]


def measured(folder: Path) -> dict[str, list[float]]:
    """Give the medians of each candidate."""
    environment = _environment(folder)
    processes = {
        name: subprocess.Popen(
            [*_python(name), __file__, name],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("a"),
            text=True,
        )
        for name in CANDIDATES
    }
    rounds: dict[str, list[list[float]]] = {name: [] for name in CANDIDATES}
    for name, process in [*processes.items()]:
        if process.stdout.readline() == "ready\n":
            continue
        if name not in ELSEWHERE:
            raise SystemExit(f"{name} does not work:\n{(folder / 'errors').read_text()}")
        print(f"{name} cannot be installed or started here, and is left out")
        del processes[name], rounds[name]
    for number in range((2 if "--quick" in sys.argv else ROUNDS) + 1):
        for name, process in processes.items():
            process.stdin.write("\n")
            process.stdin.flush()
            result = [float(text) for text in process.stdout.readline().split()]
            if number:  # the first one warms up
                rounds[name].append(result)
    for process in processes.values():
        process.communicate()
    return {
        name: [statistics.median(column) for column in zip(*results, strict=True)]
        for name, results in rounds.items()
    }


def main() -> int:
    """Measure, print, and give 1 where a bar is missed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        costs = measured(Path(folder))
    print(f"{'':22}{'CPU':>10}{'20 keys':>10}{'busy':>10}{'numpy':>10}")
    for name, (one, many, busy, behind) in sorted(costs.items(), key=lambda item: item[1]):
        print(f"{name:22}{one:10.2f}{many:10.2f}{busy:10.1f}{behind:10.1f}")
    ours = costs.pop(OURS)
    one, many, busy, behind = ours
    for index, column in enumerate(("CPU", "20 keys", "busy", "numpy")):
        for name, figures in costs.items():
            if figures[index] < ours[index]:
                print(f"cheaper: {name}, {column}: {figures[index]:.1f} against {ours[index]:.1f}")
    fastest = min(costs, key=lambda name: costs[name][0])
    share = one / costs[fastest][0]
    print(f"\na call costs {share:.2f} of {fastest}'s, which is the fastest SDK's here")
    least = min(costs, key=lambda name: costs[name][3])
    share_behind = behind / costs[least][3]
    print(f"behind numpy it costs {share_behind:.2f} of {least}'s")
    bars = {
        f"a call takes at most {MOST_CPU} us of CPU": one <= MOST_CPU,
        f"and at most {MOST_SHARE} of the fastest SDK's": share <= MOST_SHARE,
        f"behind numpy at most {MOST_BEHIND}": share_behind <= MOST_BEHIND,
        f"with 20 keys at most {MOST_PER_METRIC} us a metric": many <= MOST_PER_METRIC,
        f"beside a busy thread it returns within {MOST_BUSY:g} us": busy <= MOST_BUSY,
    }
    for bar, is_met in bars.items():
        print(f"{'met   ' if is_met else 'MISSED'}  {bar}")
    return int(not all(bars.values()))


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["--quick"]):
        sys.exit(main())
    serve(sys.argv[1])
