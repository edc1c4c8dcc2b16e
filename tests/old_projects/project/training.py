"""Pipelines whose steps end in every way, and whose outputs are stored in every format."""

import os
import signal
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import numpy
import pandas
import polars
import pyarrow
from PIL import Image

from trackyard import log_metric, log_params, log_text, pipeline, set_tag, step


@step(cache=True)
def load(rows: int) -> tuple[Annotated[list, "train"], Annotated[list, "test"]]:
    numbers = [float(number) for number in range(rows)]
    return numbers[: rows // 2], numbers[rows // 2 :]


@step(experiment_tracker=True)
def train(numbers: list, rate: float) -> Annotated[float, "mean"]:
    log_params({"rate": rate, "rows": len(numbers)})
    set_tag("stage", "trial")
    mean = 0.0
    for epoch in range(5):
        mean += rate * (sum(numbers) / len(numbers) - mean)
        log_metric("train/mean", mean, step=epoch)
    log_text(f"the mean is {mean}", "report.txt")
    return mean


@step(experiment_tracker=True, retries=1, retry_delay=0.0)
def evaluate(mean: float, numbers: list) -> float:
    log_metric("test/error", abs(mean - sum(numbers) / len(numbers)))
    tried = Path("tried")
    if not tried.exists():
        tried.touch()
        raise OSError("the first try fails")
    return abs(mean - sum(numbers) / len(numbers))


@step(experiment_tracker=True)
def scale(number: float, by: float) -> float:
    log_metric("scaled", number * by)
    return number * by


@step
def add_up(numbers: list) -> float:
    return sum(numbers)


@pipeline
def training(rate: float = 0.5, rows: int = 4):
    kept, held_out = load(rows)
    evaluate(train(kept, rate), held_out)
    add_up(scale.map(kept, by=2.0))


@step
def make_text() -> str:
    return "a text, and a second line\n"


@step
def make_json() -> dict:
    return {"list": [1, 2.5, None, True], "text": "ä"}


@step
def make_bytes() -> bytes:
    return bytes(range(256))


@step
def make_values() -> dict:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    kept = {"tuple": (1, "a"), "set": {1, 2}, "decimal": Decimal("0.10"), "moment": moment}
    return kept | {"numpy": numpy.float32(0.5), "bytes": b"ab", "complex": 1 + 2j, 3: 4}


@step
def make_array() -> numpy.ndarray:
    return numpy.arange(6, dtype="float32").reshape(2, 3)


@step
def make_frame() -> pandas.DataFrame:
    return pandas.DataFrame({"word": ["a", "b"], "count": [3, 5]})


@step
def make_series() -> pandas.Series:
    return pandas.Series([0.5, 1.5], index=["x", "y"], name="weights")


@step
def make_polars() -> polars.DataFrame:
    return polars.DataFrame({"word": ["a", "b"], "count": [3, 5]})


@step
def make_polars_series() -> polars.Series:
    return polars.Series("count", [3, 5])


@step
def make_arrow() -> pyarrow.Table:
    return pyarrow.table({"word": ["a", "b"], "count": [3, 5]})


@step
def make_image() -> Image.Image:
    return Image.new("RGB", (2, 2), (255, 0, 0))


@step
def make_file() -> Path:
    file = Path("made.txt")
    file.write_text("a file", encoding="utf-8")
    return file


@step
def make_folder() -> Path:
    folder = Path("made")
    folder.mkdir(exist_ok=True)
    (folder / "one.txt").write_text("one", encoding="utf-8")
    return folder


@step
def make_pickle() -> Counter:
    return Counter("abracadabra")


@pipeline
def formats():
    make_text()
    make_json()
    make_bytes()
    make_values()
    make_array()
    make_frame()
    make_series()
    make_polars()
    make_polars_series()
    make_arrow()
    make_image()
    make_file()
    make_folder()
    make_pickle()


@step(experiment_tracker=True)
def explode(mean: float) -> float:
    log_metric("before", mean)
    raise ValueError("the loss is not a number")


@pipeline
def failing():
    kept, held_out = load(4)
    evaluate(explode(train(kept, 0.5)), held_out)


@step(experiment_tracker=["ledger", "away"])
def die(numbers: list) -> float:
    log_metric("last", 1.0, step=0)
    if Path("must_die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(numbers)


@pipeline
def dying():
    kept, _ = load(4)
    add_up([die(kept)])
