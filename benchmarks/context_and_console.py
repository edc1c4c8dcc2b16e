"""What does it cost to keep what a run prints, and to see how full its machine is?

    uv run benchmarks/context_and_console.py

Each candidate lives in processes of its own. Shown is the processor time of all of them, as a share
of one processor, less that of the same program without anything: the median of the rounds, which
take turns so that all meet the same machine.

* `context`: what collecting where a run comes from takes of the thread that starts a process's
  first run, in milliseconds of the processor, beside what MLflow and W&B do on theirs;
* `console`: a loop that prints 1,000 lines a second;
* `system metrics`: a program that waits, sampled ten times as often as by default; the share is
  what the default costs. W&B's and MLflow's own samplers stand beside ours, as often.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import psutil

ROUNDS = 3
SECONDS = 10.0
MOST_CONSOLE, MOST_SYSTEM = 2.0, 0.5  # percent of one processor
MOST_CONTEXT = 5.0  # milliseconds of a step's thread
OFTEN, USUAL = 1.0, 10.0  # seconds between two samples: here, and by default

LOOP = """
import sys, time
from contextlib import nullcontext

def tell(name):
    print(name, file=sys.stderr, flush=True)
    sys.stdin.readline()

def loop(seconds):
    tell("begin")
    began = time.monotonic()
    if {prints}:
        for number in range(int(1000 * seconds)):
            ahead = began + number / 1000 - time.monotonic()
            if ahead > 0.0:
                time.sleep(ahead)
            print(f"epoch 3 step {{number}}: loss 0.25, 17.3 samples/s, ETA 00:12:{{number % 60}}")
    else:
        time.sleep(seconds)
    sys.stdout.flush()
    tell("end")

{before}
with {context}:
    loop({seconds})
"""
PROJECT = """
[stacks.default]
experiment_trackers = []

[context]
collect = false
"""
TRACKYARD = "import trackyard"
RUN = "trackyard.start_run('run', experiment_tracker=None)"
WANDB = """
import os, wandb
os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")
settings = wandb.Settings({settings})
"""
WANDB_RUN = "wandb.init(project='p', settings=settings)"
MLFLOW = """
import mlflow, os
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
mlflow.set_tracking_uri("sqlite:///mlflow.db")
class Monitored:
    def __enter__(self):
        self.run = mlflow.start_run()
        self.monitor = SystemMetricsMonitor(self.run.info.run_id, sampling_interval={interval})
        self.monitor.start()
    def __exit__(self, *_):
        self.monitor.finish()
        mlflow.end_run()
"""


@attrs.frozen
class Candidate:
    """One way to run the loop.

    Attributes:
        name: What it is called.
        prints: It prints; else it waits.
        before: Code before the loop.
        context: What the loop runs in.
        command: What the program is started by.
        disabled: Plugins that are left out.
    """

    name: str
    prints: bool
    before: str = ""
    context: str = "nullcontext()"
    command: Sequence[str] = ()
    disabled: str = "system-metrics"

    def share(self, folder: Path) -> float:
        """Give the share of a processor that all of its processes take, in percent."""
        program = folder / "program.py"
        seconds = SECONDS
        program.write_text(
            LOOP.format(
                prints=self.prints, before=self.before, context=self.context, seconds=seconds
            )
        )
        environment = {
            **os.environ,
            "TRACKYARD_DISABLE_PLUGINS": self.disabled,
            "TRACKYARD_SYSTEM_METRICS_INTERVAL": str(OFTEN),
            "TRACKYARD_WATCHDOG": "0",
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(folder),
        }
        environment.pop("PYTHONUNBUFFERED", None)
        process = subprocess.Popen(
            [*self.command, sys.executable, str(program)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        began, first = _at(process, "begin")
        ended, last = _at(process, "end")
        process.communicate("\n")
        return 100.0 * (last - first) / (ended - began)


def _at(process: subprocess.Popen[str], word: str) -> tuple[float, float]:
    """Wait until a program says a word; give the time, and the processor time of its processes."""
    assert process.stderr is not None
    assert process.stdin is not None
    for line in process.stderr:
        if line.strip() == word:
            break
    else:
        raise RuntimeError(f"the program has ended before its {word}")
    own = psutil.Process(process.pid)
    used = 0.0
    for one in (own, *own.children(recursive=True)):
        times = one.cpu_times()
        used += times.user + times.system
    moment = time.monotonic()
    if word == "begin":
        process.stdin.write("\n")
        process.stdin.flush()
    return moment, used


def candidates() -> list[Candidate]:
    """Give all of them; those without anything are called `alone`."""
    exec_command = [sys.executable, "-m", "trackyard", "exec", "--experiment", "e", "--"]
    quiet = WANDB.format(settings="console='off', x_disable_stats=True, x_disable_meta=True")
    console = WANDB.format(settings="console='wrap', x_disable_stats=True, x_disable_meta=True")
    stats = f"console='off', x_stats_sampling_interval={OFTEN}, x_disable_meta=True"
    return [
        Candidate("console: alone", prints=True),
        Candidate("console: start_run", prints=True, before=TRACKYARD, context=RUN),
        Candidate("console: exec", prints=True, command=exec_command),
        Candidate("console: W&B without it", prints=True, before=quiet, context=WANDB_RUN),
        Candidate("console: W&B", prints=True, before=console, context=WANDB_RUN),
        Candidate("system metrics: alone", prints=False, before=TRACKYARD, context=RUN),
        Candidate("system metrics: ours", False, TRACKYARD, RUN, disabled=""),
        Candidate("system metrics: W&B alone", prints=False, before=quiet, context=WANDB_RUN),
        Candidate("system metrics: W&B", False, WANDB.format(settings=stats), WANDB_RUN),
        Candidate("system metrics: MLflow", False, MLFLOW.format(interval=OFTEN), "Monitored()"),
    ]


# Each prints the milliseconds of the thread; imports are not counted, of nobody's.
CONTEXTS = {
    "context: first run": (
        (
            "from trackyard.tracking.collecting import Collection\n"
            "from trackyard.tracking.context import PARTS\n"
            "from trackyard.redaction.redactor import Redactor\n"
        ),
        "Collection(frozenset(PARTS), Redactor())",
    ),
    "context: MLflow": (
        "import mlflow\nfrom mlflow.tracking.context.registry import resolve_tags\n",
        "resolve_tags()",
    ),
    "context: W&B, packages alone": (
        "import wandb\nfrom wandb.util import working_set\n",
        "list(working_set())",
    ),
}


def milliseconds(before: str, call: str) -> float:
    """Give what a call takes of its thread, in a process of its own.

    Args:
        before: What it needs.
        call: The call.
    """
    code = f"{before}import time\nbegun = time.thread_time()\n{call}\n"
    code += "print(1000 * (time.thread_time() - begun))\n"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.split()[-1])


def contexts_are_within() -> bool:
    """Print what each collection costs; tell whether ours is within its bar."""
    is_within = True
    for name, parts in CONTEXTS.items():
        cost = statistics.median(milliseconds(*parts) for _ in range(ROUNDS))
        is_ours = name == "context: first run"
        is_within &= not is_ours or cost <= MOST_CONTEXT
        said = f"  (at most {MOST_CONTEXT} ms)" if is_ours else ""
        print(f"{name:28} {cost:6.2f} ms of the thread{said}")
    return is_within


# What each is compared with, where that is not the program alone.
BASES = {
    "console: W&B": "console: W&B without it",
    "system metrics: W&B": "system metrics: W&B alone",
}


def measured() -> dict[str, float]:
    """Give the median share of each candidate, in percent of a processor."""
    shares: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for candidate in candidates():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                place = Path(folder)
                (place / "trackyard.toml").write_text(
                    "[stacks.default]\nexperiment_trackers = []\n"
                )
                shares.setdefault(candidate.name, []).append(candidate.share(place))
    return {name: statistics.median(found) for name, found in shares.items()}


def main() -> int:
    """Print the costs; give 1 where ours are beyond their bars."""
    is_within = contexts_are_within()
    shares = measured()
    for name, share in shares.items():
        kind = name.partition(":")[0]
        cost = share - shares[BASES.get(name, f"{kind}: alone")]
        if kind == "system metrics":
            cost *= OFTEN / USUAL
        bar = MOST_CONSOLE if kind == "console" else MOST_SYSTEM
        is_ours = name in ("console: start_run", "console: exec", "system metrics: ours")
        is_within &= not is_ours or cost <= bar
        said = f"  (at most {bar} %)" if is_ours else ""
        if not name.endswith(("alone", "without it")):
            print(f"{name:28} {cost:6.2f} % of a processor{said}")
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
