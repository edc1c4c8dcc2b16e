"""What does a call of an SDK's own cost in a step, captured and not, beside the same call alone?

    uv run benchmarks/native_calls.py [SDK...]

Each SDK is called in three ways, in processes of their own whose rounds take turns: alone, in a
block whose tracker has `capture = false`, and in one that captures. Shown are medians of the
rounds:

* `us`: wall time of a call;
* `CPU`: of the process with all its threads and children for a call, as the kernel counts it, until
  all has come to rest;
* `ratio`: of the wall time to that of the SDK alone in the same round.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROUNDS = 9
CAPTURED, UNCAPTURED = 1.25, 1.05
# Microseconds that a captured call may take besides, where the call alone takes less than that.
MORE, OF_LESS_THAN = 3.0, 10.0
REST = 1.2  # seconds until threads that write every second have done so
WAYS = ("alone", "uncaptured", "captured")

Call = Callable[[int], object]


@contextmanager
def mlflow_(*, is_alone: bool) -> Iterator[Call]:
    """MLflow on sqlite."""
    import mlflow

    if is_alone:
        mlflow.set_tracking_uri("sqlite:///raw.db")
    with mlflow.start_run():
        yield lambda step: mlflow.log_metric("loss", 0.5, step)


@contextmanager
def wandb_(*, is_alone: bool) -> Iterator[Call]:  # noqa: ARG001 - both are alike
    """W&B, offline."""
    import wandb

    with wandb.init(project="raw", settings=wandb.Settings(console="off")) as run:
        yield lambda step: run.log({"loss": 0.5}, step=step)


@contextmanager
def comet(*, is_alone: bool) -> Iterator[Call]:
    """Comet, offline."""
    import comet_ml

    off = {"log_code": False, "log_graph": False, "auto_output_logging": False}
    if is_alone:
        experiment = comet_ml.OfflineExperiment(offline_directory="raw", **off)
    else:
        experiment = comet_ml.start()
    yield lambda step: experiment.log_metric("loss", 0.5, step=step)
    experiment.end()


@contextmanager
def neptune_(*, is_alone: bool) -> Iterator[Call]:  # noqa: ARG001
    """Neptune, offline."""
    import neptune

    off = {"capture_stdout": False, "capture_stderr": False, "git_ref": False, "source_files": []}
    run = neptune.init_run(mode="offline", **off)
    yield lambda step: run["loss"].append(0.5, step=step)
    run.stop()


@contextmanager
def trackio_(*, is_alone: bool) -> Iterator[Call]:  # noqa: ARG001
    """Trackio on this machine."""
    import trackio

    trackio.init(project="raw")
    yield lambda step: trackio.log({"loss": 0.5}, step=step)
    trackio.finish()


@contextmanager
def tensorboard(*, is_alone: bool) -> Iterator[Call]:
    """TensorBoard's files by tensorboardX."""
    from tensorboardX import SummaryWriter

    with SummaryWriter("raw") if is_alone else SummaryWriter() as writer:
        yield lambda step: writer.add_scalar("loss", 0.5, step)


# The SDK's calls, what its tracker takes, and how many calls a round has.
SDKS = {
    "mlflow": (mlflow_, "", 100),
    "wandb": (wandb_, 'mode = "offline"\n', 1000),
    "comet": (comet, 'mode = "offline"\n', 1000),
    "neptune": (neptune_, 'mode = "offline"\nproject = "a/b"\n', 1000),
    "trackio": (trackio_, "", 1000),
    "tensorboard": (tensorboard, "", 1000),
}


@contextmanager
def calls_of(sdk: str, way: str) -> Iterator[Call]:
    """Give the call of an SDK in one of the ways."""
    native, fields, _ = SDKS[sdk]
    if way == "alone":
        with native(is_alone=True) as call:
            yield call
        return
    from trackyard import start_run

    capture = str(way == "captured").lower()
    table = f'[experiment_trackers.t]\nflavor = "{sdk}"\nstart_timeout = 60\ncapture = {capture}\n'
    Path("trackyard.toml").write_text(table + fields)
    with start_run(experiment_tracker="t"), native(is_alone=False) as call:
        yield call


def cpu() -> float:
    """Give the seconds of CPU of all living processes of this one's session, and of dead ones."""
    ticks, session = 0, os.getsid(0)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def serve(sdk: str, way: str) -> None:
    """Measure one way of one SDK, a round for each line of standard input."""
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an SDK prints is no answer
    count, step = SDKS[sdk][2], 0
    with calls_of(sdk, way) as call:
        call(0)
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            before, begun = cpu(), time.perf_counter_ns()
            for _ in range(count):
                step += 1
                call(step)
            wall = time.perf_counter_ns() - begun
            time.sleep(REST)
            print(wall / count / 1e3, (cpu() - before) / count * 1e6, file=answers, flush=True)
    answers.close()


def measured(sdk: str, folder: Path) -> dict[str, list[list[float]]]:
    """Give the rounds of each way of one SDK."""
    variables = {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_MODE": "offline",
        "NEPTUNE_PROJECT": "a/b",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TRACKYARD_PROGRESS": "0",
        "TRACKYARD_DISABLE_PLUGINS": "system-metrics",
    }
    processes = {}
    for way in WAYS:
        place = folder / sdk / way
        place.mkdir(parents=True)
        own = {"TRACKIO_DIR": str(place / "trackio")} if way == "alone" else {}
        processes[way] = subprocess.Popen(
            [sys.executable, __file__, "--serve", sdk, way],
            cwd=place,
            env={**os.environ, **variables, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(place / "errors").open("w"),
            text=True,
            start_new_session=True,
        )
    rounds: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for way, process in processes.items():
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{sdk} {way}:\n{(folder / sdk / way / 'errors').read_text()}")
    for number in range(ROUNDS + 1):
        for way, process in processes.items():
            process.stdin.write("\n")
            process.stdin.flush()
            result = [float(text) for text in process.stdout.readline().split()]
            if number:  # the first one warms up
                rounds[way].append(result)
    for process in processes.values():
        process.communicate()
    return rounds


def shown(sdk: str, rounds: dict[str, list[list[float]]]) -> bool:
    """Print what one SDK's ways cost; tell whether they are within the bars."""
    alone = [wall for wall, _ in rounds["alone"]]
    is_met = True
    for way in WAYS:
        wall, used = (statistics.median(column) for column in zip(*rounds[way], strict=True))
        own = [own for own, _ in rounds[way]]
        ratio = statistics.median(a / b for a, b in zip(own, alone, strict=True))
        least = statistics.median(alone)
        more = MORE if least < OF_LESS_THAN and way == "captured" else 0.0
        bar = {"alone": 1.0, "uncaptured": UNCAPTURED, "captured": CAPTURED}[way] + more / least
        word = "" if way == "alone" else "met" if ratio <= bar else f"MISSED ({bar:.2f})"
        is_met = is_met and "MISSED" not in word
        print(f"{sdk:12} {way:11}{wall:9.1f}{used:9.1f}{ratio:8.2f}  {word}", flush=True)
    return is_met


def main(sdks: list[str]) -> int:
    """Measure, print, and give 1 where a bar is missed."""
    print(f"{'':12} {'':11}{'us':>9}{'CPU':>9}{'ratio':>8}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        are_met = [shown(sdk, measured(sdk, Path(folder))) for sdk in sdks or SDKS]
    return int(not all(are_met))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
