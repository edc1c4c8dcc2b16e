"""Runs of `start_run` blocks that end in every way; the argument names one."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import trackyard
from trackyard import start_run


def ended() -> None:
    """Log every kind of record, and more than one file of a journal holds."""
    with start_run("baseline", experiment="fraud", tags={"stage": "try"}) as run:
        run.log_params({"rate": 0.1, "layers": 2, "is_deep": True, "odd": math.inf, "none": None})
        run.log_param("long", "0123456789" * 120_000)
        for step in range(1500):
            run.log_metrics({"loss": 1 / (step + 1), "accuracy": step / 1500}, step=step)
        run.log_metrics({"odd": math.nan, "infinite": -math.inf})
        run.log_metric("refused", 1.0)
        run.set_tags({"owner": "ada", "surrogate": "\udc80"})
        run.log_text("all is well", "texts/report.txt")
        run.log_dict({"seed": 1}, "config.json")
        run.log_table({"word": ["a", "b"], "count": [3, 5]}, "words.json")
        run.log_image([[0, 255], [255, 0]], "square.png", step=3)
        Path("weights.bin").write_bytes(bytes(range(16)))
        run.log_artifact("weights.bin")


def failed() -> None:
    with start_run("failed", experiment="fraud") as run:
        run.log_metric("loss", 2.0, step=1)
        raise ZeroDivisionError("the rate is zero")


def pending() -> None:
    with start_run("pending", experiment="fraud", experiment_tracker=["ledger", "away"]) as run:
        run.log_metric("loss", 3.0, step=1)
        run.log_text("kept until somebody answers", "report.txt")


def offline() -> None:
    with start_run("offline", experiment="fraud", experiment_tracker="keeper") as run:
        run.log_metric("loss", 4.0)


def untracked() -> None:
    with start_run("untracked", experiment="fraud", experiment_tracker=None) as run:
        run.log_metric("loss", 5.0)


def ranked() -> None:
    """Have processes of two ranks and a forked child log into the run."""
    names = ["ledger", "ranks"]
    with start_run("ranked", experiment="fraud", experiment_tracker=names) as run:
        run.log_metric("own", 1.0)
        for rank in "01":
            code = f"import trackyard; trackyard.log_metric('of_rank', {rank}.5)"
            subprocess.run(
                [sys.executable, "-c", code], check=True, env=os.environ | {"RANK": rank}
            )
        child = os.fork()
        if not child:
            trackyard.log_metric("forked", 2.0)
            os._exit(0)
        os.waitpid(child, 0)


def killed() -> None:
    """Die without a word."""
    name, trackers = sys.argv[2], sys.argv[3].split(",")
    with start_run(name, experiment="fraud", experiment_tracker=trackers) as run:
        for step in range(3):
            run.log_metric("loss", 6.0 - step, step=step)
        run.log_text("written before the end", "report.txt")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
