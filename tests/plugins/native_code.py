"""What does code look like that was written for one SDK, and what has it logged?

Each body starts a run with everything that the six SDKs have in common, and then a second one. None
of them knows Trackyard.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

LOSSES = [(0, 1.0), (1, 0.5), (2, 0.25), (5, -0.125)]
PARAMS = {"rate": 0.5, "name": "sgd"}


def _pixels() -> Any:
    import numpy

    return (numpy.arange(48) * 5).reshape(4, 4, 3).astype(numpy.uint8)


def _image(folder: Path) -> str:
    import PIL.Image

    PIL.Image.fromarray(_pixels()).save(folder / "sample.png")
    return str(folder / "sample.png")


def _note(folder: Path) -> str:
    (folder / "note.txt").write_text("all is well")
    return str(folder / "note.txt")


def for_mlflow(folder: Path) -> None:
    import mlflow

    with mlflow.start_run(run_name="one"):
        mlflow.log_params(PARAMS)
        for step, value in LOSSES:
            mlflow.log_metric("loss", value, step=step)
        mlflow.set_tag("stage", "draft")
        mlflow.log_image(_pixels(), "sample.png")
        mlflow.log_table({"a": [1, 2], "b": [0.5, 0.25]}, "rows.json")
        mlflow.log_artifact(_note(folder))
    with mlflow.start_run(run_name="two"):
        mlflow.log_metric("loss", 2.0, step=7)


def for_wandb(folder: Path) -> None:
    import wandb

    with wandb.init(project="mine", name="one", config={**PARAMS, "opt": {"beta": 0.5}}) as run:
        for step, value in LOSSES:
            run.log({"loss": value}, step=step)
        run.log({"stage": "draft", "sample": wandb.Image(_pixels())}, step=6)
        run.log({"rows": wandb.Table(["a", "b"], [[1, "x"], [2, "y"]])}, step=7)
        run.log({"spread": wandb.Histogram(np_histogram=([1, 2], [0.0, 0.5, 1.0]))}, step=8)
        run.save(_note(folder), base_path=str(folder))
    with wandb.init(project="mine", name="two") as run:
        run.log({"loss": 2.0}, step=7)


def for_comet(folder: Path) -> None:
    import comet_ml

    experiment = comet_ml.start(project_name="mine")
    experiment.log_parameters({**PARAMS, "opt": {"beta": 0.5}})
    for step, value in LOSSES:
        experiment.log_metric("loss", value, step=step)
    experiment.log_other("stage", "draft")
    experiment.log_image(_image(folder), name="sample.png", step=6)
    experiment.log_histogram_3d([1.0, 2.0, 2.0], name="spread", step=8)
    experiment.log_table("rows.csv", [[1, "x"], [2, "y"]], headers=["a", "b"])
    experiment.log_asset(_note(folder), file_name="note.txt")
    experiment.end()
    experiment = comet_ml.start(project_name="mine", mode="create")
    experiment.log_metric("loss", 2.0, step=7)
    experiment.end()


def for_neptune(folder: Path) -> None:
    import neptune

    run = neptune.init_run(name="one", tags=["draft"], capture_hardware_metrics=False)
    run["rate"], run["name"] = PARAMS["rate"], PARAMS["name"]
    run["opt"] = {"beta": 0.5}
    for step, value in LOSSES:
        run["loss"].append(value, step=step)
    run["sample"].upload(_image(folder), wait=True)
    run["note"].upload(_note(folder), wait=True)
    run.stop()
    run = neptune.init_run(name="two", capture_hardware_metrics=False)
    run["loss"].append(2.0, step=7)
    run.stop()


def for_trackio(folder: Path) -> None:
    import trackio

    trackio.init(project="mine", name="one", config={**PARAMS, "opt": {"beta": 0.5}})
    for step, value in LOSSES:
        trackio.log({"loss": value}, step=step)
    trackio.log({"sample": trackio.Image(_pixels())}, step=6)
    rows = trackio.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])
    trackio.log({"rows": rows}, step=7)
    trackio.finish()
    trackio.init(project="mine", name="two")
    trackio.log({"loss": 2.0}, step=7)
    trackio.finish()


def for_tensorboard(folder: Path) -> None:
    from tensorboardX import SummaryWriter

    with SummaryWriter() as writer:
        for step, value in LOSSES:
            writer.add_scalar("loss", value, step)
        writer.add_image("sample", _pixels(), 6, dataformats="HWC")
        writer.add_histogram("spread", _pixels().reshape(-1), 8)
        writer.add_text("note", "all is well", 9)
        writer.add_hparams(PARAMS, {"best": -0.125})
    with SummaryWriter() as writer:
        writer.add_scalar("loss", 2.0, 7)


@attrs.frozen
class Code:
    """A body, and what the journal has of it.

    Attributes:
        body: It; its argument is a folder for its files.
        kinds: The kinds of what it logs that is no number, in the order of the alphabet.
        params: What it logs besides `PARAMS`.
    """

    body: Callable[[Path], None]
    kinds: tuple[str, ...]
    params: tuple[str, ...] = ("opt.beta",)


CODE = {
    "mlflow": Code(for_mlflow, ("image", "table", "text"), ()),
    "comet": Code(for_comet, ("file", "histogram", "image", "table")),
    "neptune": Code(for_neptune, ("image", "text"), ("opt/beta",)),
    "tensorboard": Code(for_tensorboard, ("histogram", "image", "text"), ()),
    "trackio": Code(for_trackio, ("image", "table")),
    "wandb": Code(for_wandb, ("histogram", "image", "table", "text")),
}
