"""Does TensorBoard show what was logged, in the place where people look for it?"""

from __future__ import annotations

import json
import math

import numpy
import pytest
from PIL import Image

from trackyard import (
    log_artifact,
    log_dict,
    log_figure,
    log_image,
    log_metrics,
    log_params,
    log_table,
    log_text,
    set_tag,
    start_run,
)


def test_metrics_are_scalars_with_their_steps_and_times(board):
    with start_run("made", experiment_tracker="board") as run:
        for step in range(3):
            run.log_metrics({"loss": 1 / (step + 1), "accuracy": step}, step=step)
        run.log_metric("without step", 7)

    assert board.scalars("made", "loss") == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert board.scalars("made", "accuracy") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert board.scalars("made", "without step") == [(0, 7.0)]
    times = [each.wall_time for each in board.reader("made").Scalars("loss")]
    assert times == sorted(times)
    assert len(set(times)) == 3


def test_images_and_figures_are_images(board):
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2])
    with start_run("made", experiment_tracker="board"):
        for step in (1, 2):
            log_image(numpy.full((4, 6, 3), step * 50, dtype="uint8"), "grey.png", step=step)
        log_figure(figure, "curve.png")
        log_figure(figure, "curve.svg")
    pyplot.close(figure)

    images = board.reader("made").Images("grey.png")
    assert [(image.step, image.width, image.height) for image in images] == [(1, 6, 4), (2, 6, 4)]
    assert board.reader("made").Images("curve.png")[0].encoded_image_string.startswith(b"\x89PNG")
    assert board.reader("made").Tags()["images"] == ["grey.png", "curve.png"]
    with Image.open(board.folder("made") / "artifacts" / "grey.png") as last:
        assert last.getpixel((0, 0)) == (100, 100, 100)
    assert (board.folder("made") / "artifacts" / "curve.svg").read_text().startswith("<?xml")


def test_texts_and_tables_are_texts(board):
    with start_run("made", experiment_tracker="board"):
        log_text("# Title\n\n*slanted*", "notes.md")
        log_dict({"rate": [1, 2]}, "setup.json")
        log_table({"name": ["a|b", "c"], "value": [1, 2.5]}, "scores.json")
        log_text("x" * 200_000, "long.txt")

    assert board.text("made", "notes.md") == "# Title\n\n*slanted*"
    assert '    "rate": [' in board.text("made", "setup.json")
    table = board.text("made", "scores.json").splitlines()
    assert table == ["| name | value |", "| --- | --- |", "| a\\|b | 1 |", "| c | 2.5 |"]
    assert "long.txt" not in board.reader("made").Tags()["tensors"]
    assert len((board.folder("made") / "artifacts" / "long.txt").read_text()) == 200_000


def test_files_are_kept_beside_the_events(board, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\0\1\2")
    with start_run("made", experiment_tracker="board"):
        log_artifact(tmp_path / "model.bin", "models/model.bin")

    kept = board.folder("made") / "artifacts" / "models" / "model.bin"
    assert kept.read_bytes() == b"\0\1\2"


def test_params_are_hyperparameters_also_those_that_come_later(board):
    with start_run("made", experiment_tracker="board") as run:
        log_params({"rate": 0.1, "layers": 3, "deep": True, "name": "net"})
        log_metrics({"loss": 0.5})
        for _ in range(200):  # another batch, most likely
            run.log_metric("loss", 0.5)
        log_params({"late": "yes", "none": None, "odd": math.nan})

    found = board.session("made", "session_start_info").hparams
    assert found["rate"].number_value == 0.1
    assert found["layers"].number_value == 3
    assert found["deep"].bool_value is True
    assert {key: found[key].string_value for key in ("name", "late", "none", "odd")} == {
        "name": "net", "late": "yes", "none": "None", "odd": "nan",
    }  # fmt: skip


def test_tags_are_texts_and_the_last_value_counts(board):
    with start_run("made", experiment_tracker="board"):
        set_tag("stage", "draft")
        set_tag("stage", "final")
        set_tag("poem", "roses\nare *red*")

    assert board.text("made", "tags/stage") == "final"
    assert board.text("made", "tags/poem") == "    roses\n    are *red*"
    assert board.text("made", "tags/trackyard.status") == "finished"


def test_what_is_true_of_a_run_stands_in_one_file(board):
    with start_run("made", experiment_tracker="board"):
        for number in range(20):
            set_tag(f"tag {number}", "set")

    (file,) = board.folder("made").glob("*.run")
    assert json.dumps("tag 19").encode() in file.read_bytes()
    assert not list(board.folder("made").glob(".*"))
