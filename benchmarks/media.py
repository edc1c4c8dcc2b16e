"""What do images, tables, folders and checkpoints cost the caller, beside plain ways and peers?

    uv run benchmarks/media.py [FILES]

All ways of one kind take turns in one process. Shown is CPU time in milliseconds, the median of the
rounds: of the calling thread for images, of the process for the others. Bytes are what the run has
more on disk than before. Exit code 1 says that a bar is missed.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS, CHECKPOINT = 100_000, 256 * 1024 * 1024
FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
MOST_OF_IMAGE, MOST_OF_TABLE, MOST_OF_FOLDER = 1.5, 1.5, 3.0
PEERS = ("tensorboardX", "Pillow, to a file")

Way = Callable[[int], object]


def taken(
    ways: dict[str, Way], rounds: int, clock: Callable[[], int] = time.process_time_ns
) -> dict[str, float]:
    """Give the median milliseconds of each way; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begun = clock()
            way(number)
            times[name].append((clock() - begun) / 1e6)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def show(title: str, found: dict[str, float]) -> None:
    """Print the figures of one kind, and which peers are cheaper."""
    print(title)
    for name, figure in found.items():
        print(f"  {name:24}{figure:10.2f} ms")
    for name, figure in found.items():
        if name in PEERS and figure < found["Trackyard"]:
            print(f"cheaper: {name}, {title}: {figure:.2f} against {found['Trackyard']:.2f} ms")


def images(run: Any) -> bool:
    """Log pictures of three kinds; tell whether the bar is kept."""
    import numpy
    import PIL.Image
    from tensorboardX import SummaryWriter

    rows, columns = numpy.mgrid[0:256, 0:256]
    waves = [128 + 100 * numpy.sin(columns / 20 + rows / 33 * k) for k in (1, 2, 3)]
    photo = numpy.stack(waves, -1)
    noise = numpy.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8")
    mask = numpy.zeros((256, 256, 3), "uint8")
    mask[50:150, 60:200] = (255, 0, 0)
    is_kept = True
    with SummaryWriter("board") as writer:
        for kind, pixels in (("noise", noise), ("photo", photo.astype("uint8")), ("mask", mask)):

            def changed(number: int, pixels: Any = pixels) -> Any:
                other = pixels.copy()
                other[0, 0, 0] = number  # each is a file of its own
                return other

            ways: dict[str, Way] = {
                "Trackyard": lambda n, k=kind: run.log_image(changed(n), f"{k}.png", n),
                "Trackyard, as JPEG": lambda n, k=kind: run.log_image(changed(n), f"{k}.jpg", n),
                "tensorboardX": lambda n: writer.add_image("a", changed(n), n, dataformats="HWC"),
                "Pillow, to a file": lambda n: PIL.Image.fromarray(changed(n)).save(f"{n}.png"),
            }
            found = taken(ways, 20, time.thread_time_ns)
            show(f"an image of 256 x 256 x 3, {kind}", found)
            is_kept = is_kept and found["Trackyard"] <= MOST_OF_IMAGE
    print(f"  {'bar':24}{MOST_OF_IMAGE:10.2f} ms")
    return is_kept


def tables(run: Any) -> bool:
    """Log a table as Parquet; tell whether the bar is kept."""
    import mlflow
    import pandas

    chosen = random.Random(1)
    words = ["".join(chosen.choices("abcdefghij", k=7)) for _ in range(5000)]
    frame = pandas.DataFrame(
        {
            "id": range(ROWS),
            "score": [chosen.random() for _ in range(ROWS)],
            "word": [chosen.choice(words) for _ in range(ROWS)],
        }
    )
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run():
        ways: dict[str, Way] = {
            "Trackyard": lambda n: run.log_table(frame, f"{n}.parquet"),
            "MLflow": lambda n: mlflow.log_table(frame, f"{n}.parquet"),
            "Trackyard, JSON": lambda n: run.log_table(frame, f"{n}.json"),
            "MLflow, JSON": lambda n: mlflow.log_table(frame, f"{n}.json"),
        }
        found = taken(ways, 3)
    show(f"a table of {ROWS:,} rows", found)
    for ours, theirs in (("Trackyard", "MLflow"), ("Trackyard, JSON", "MLflow, JSON")):
        if found[theirs] < found[ours]:
            print(f"cheaper: {theirs}, a table: {found[theirs]:.0f} against {found[ours]:.0f} ms")
    print(f"  {'bar':24}{MOST_OF_TABLE:10.2f} times MLflow's Parquet")
    return found["Trackyard"] <= MOST_OF_TABLE * found["MLflow"]


def folders(run: Any) -> bool:
    """Log a folder of many files; tell whether the bar is kept."""
    many = Path("many")
    many.mkdir()
    for number in range(FILES):
        (many / f"{number}.txt").write_text(f"content {number}")

    def logged(number: int) -> None:
        run.log_artifact(many, f"many{number}")

    def copied(number: int) -> None:
        shutil.copytree(many, f"copy{number}")

    begun = time.process_time_ns()
    logged(0)
    ours = (time.process_time_ns() - begun) / 1e6
    plain = taken({"copytree": copied}, 1)["copytree"]
    show(f"a folder of {FILES:,} files", {"Trackyard": ours, "shutil.copytree": plain})
    print(f"  {'bar':24}{MOST_OF_FOLDER:10.2f} times copytree")
    return ours <= MOST_OF_FOLDER * plain


def used() -> int:
    """Give the bytes that are used on the disk."""
    os.sync()
    status = os.statvfs(".")
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def checkpoints(run: Any) -> bool:
    """Log a checkpoint that is final; tell whether it is there once."""
    file = Path("checkpoint.bin")
    file.write_bytes(os.urandom(CHECKPOINT))
    ways: dict[str, Way] = {
        "Trackyard": lambda n: run.log_artifact(file, f"{n}.bin", final=True),
        "Trackyard, copied": lambda n: run.log_artifact(file, f"{n}-copied.bin"),
        "shutil.copyfile": lambda n: shutil.copyfile(file, f"{n}-copy.bin"),
    }
    show(f"a checkpoint of {CHECKPOINT >> 20} MB", taken(ways, 1))
    links = file.stat().st_nlink
    print(f"  {'names of one file':24}{links:10}")
    return links > 1


def main() -> int:
    """Measure all, print, and give 1 where a bar is missed."""
    import trackyard

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        Path("trackyard.toml").touch()
        with trackyard.start_run("media", experiment_tracker=None) as run:
            kept = [images(run), tables(run), folders(run), checkpoints(run)]
        os.chdir("/")
    print("all bars are kept" if all(kept) else "a bar is MISSED")
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
