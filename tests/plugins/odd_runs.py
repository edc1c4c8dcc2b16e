"""Which odd run does each SDK log by itself? `python odd_runs.py FLAVOR FOLDER POINTS`

Trackyard takes no part in it. Each logs a curve, odd numbers, params, tags, a file and media where
the SDK has such, and a second run: below the first, or failed, as far as the SDK knows either.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

ODD = [0.1, math.nan, math.inf, -math.inf, 1e300, -1e-300, 5e-324, 0.0]
PARAMS: dict[str, Any] = {"lr": 0.1, "optim": "adam ü", "deep.er": 3, "long": "x" * 900}
TEXT = "line one\nline two ü\n"
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0"
    "00000301010018dd8db00000000049454e44ae426082"
)
FIRST, SECOND = "parent run", "child"
START = 1_700_000_000


def log_by_mlflow(curve: list[float]) -> None:
    import mlflow
    from mlflow.entities import Metric

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("fraud")
    with mlflow.start_run(run_name=FIRST) as top:
        mlflow.log_params(PARAMS)
        mlflow.set_tags({"team": "a b", "mlflow.note.content": "a note"})
        points = [Metric("train/loss", v, START * 1000 + i, i) for i, v in enumerate(curve)]
        for first in range(0, len(points), 1000):
            mlflow.MlflowClient().log_batch(top.info.run_id, points[first : first + 1000])
        for step, value in enumerate(ODD, start=-2):
            mlflow.log_metric("odd", value, step=step)
        mlflow.log_artifact("notes.txt", "docs")
        mlflow.log_artifact("pic.png")
        try:
            with mlflow.start_run(run_name=SECOND, nested=True):
                mlflow.log_metric("acc", 0.5, step=3)
                raise RuntimeError("bad")
        except RuntimeError:
            pass


def log_by_wandb(curve: list[float]) -> None:
    import wandb

    names = {"project": "fraud", "mode": "offline", "settings": {"x_disable_stats": True}}
    with wandb.init(name=FIRST, notes="a note", tags=["a b"], config=PARAMS, **names) as run:  # type: ignore[arg-type]
        for value in curve:
            run.log({"train/loss": value})
        for value in ODD:
            run.log({"odd": value})
        run.log({"pic": wandb.Image("pic.png"), "hist": wandb.Histogram([1, 2, 3])})
        run.log({"stage": "late"})
    second = wandb.init(name=SECOND, group="g", **names)  # type: ignore[arg-type]
    second.log({"acc": 0.5}, step=3)
    second.finish(exit_code=1)


def log_by_comet(curve: list[float]) -> None:
    import comet_ml

    quiet = dict.fromkeys(("log_code", "log_git_metadata", "parse_args"), False)
    quiet |= {"log_env_details": False, "auto_output_logging": False}
    for name in (FIRST, SECOND):
        run: Any = comet_ml.OfflineExperiment(
            project_name="fraud", workspace="acme", offline_directory=".", **quiet
        )
        run.set_name(name)
        if name == SECOND:
            run.log_metric("acc", 0.5, step=3)
        else:
            run.log_parameters(PARAMS)
            run.add_tag("a b")
            run.log_other("team", "a b")
            for step, value in enumerate(curve):
                run.log_metric("train/loss", value, step=step)
            for step, value in enumerate(ODD):
                run.log_metric("odd", value, step=step)
            run.log_asset("notes.txt", file_name="docs/notes.txt")
            run.log_image("pic.png", name="pic.png")
            run.log_histogram_3d([1, 2, 3], name="hist")
        run.end()


def log_by_neptune(curve: list[float]) -> None:
    import neptune

    quiet = dict.fromkeys(
        ("capture_stdout", "capture_stderr", "capture_hardware_metrics", "git_ref"), False
    )
    for name in (FIRST, SECOND):
        run: Any = neptune.init_run(
            project="team/fraud", mode="offline", name=name, source_files=[], **quiet
        )
        if name == SECOND:
            run["acc"].append(0.5, step=3)
            run["sys/failed"] = True
        else:
            for key, value in PARAMS.items():
                run[f"params/{key}"] = value
            for step, value in enumerate(curve):
                run["train/loss"].append(value, step=step, timestamp=START + step)
            for step, value in enumerate(filter(math.isfinite, ODD)):
                run["odd"].append(value, step=step)
            run["docs/notes"].upload("notes.txt")
            run["pic"].upload("pic.png")
        run.stop()


def log_by_tensorboard(curve: list[float]) -> None:
    import numpy as np
    from tensorboardX import SummaryWriter

    with SummaryWriter(f"logs/{FIRST}") as writer:
        for step, value in enumerate(curve):
            writer.add_scalar("train/loss", value, step)
        for step, value in enumerate(ODD):
            writer.add_scalar("odd", value, step)
        writer.add_text("note", TEXT, 1)
        writer.add_image("pic", np.zeros((3, 2, 2), dtype="uint8"), 1)
        writer.add_histogram("hist", np.array([1, 2, 3]), 1)
        writer.add_hparams({"lr": 0.1, "optim": "adam"}, {"hparam/acc": 0.5}, name=SECOND)


def log_by_trackio(curve: list[float]) -> None:
    os.environ["TRACKIO_DIR"] = str(Path("trackio").absolute())
    import trackio

    trackio.init(project="fraud", name=FIRST, config=PARAMS, embed=False)
    for step, value in enumerate(curve):
        trackio.log({"train/loss": value}, step=step)
    for step, value in enumerate(ODD):
        trackio.log({"odd": value}, step=step)
    trackio.log({"pic": trackio.Image("pic.png")}, step=2)
    trackio.finish()
    trackio.init(project="fraud", name=SECOND, group="g", embed=False)
    trackio.log({"acc": 0.5}, step=3)
    trackio.finish()


LOGS = {
    "mlflow": log_by_mlflow,
    "wandb": log_by_wandb,
    "comet": log_by_comet,
    "neptune": log_by_neptune,
    "tensorboard": log_by_tensorboard,
    "trackio": log_by_trackio,
}

if __name__ == "__main__":
    flavor, folder, count = sys.argv[1:]
    os.chdir(folder)
    Path("notes.txt").write_text(TEXT, encoding="utf-8")
    Path("pic.png").write_bytes(PICTURE)
    LOGS[flavor]([1 / (number + 1) for number in range(int(count))])
