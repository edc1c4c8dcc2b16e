"""Does what Neptune's own calls log reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import numpy
import pytest

from trackyard import Client, native_run, start_run
from trackyard.contract import Dataset
from trackyard.testing import MemoryTracker


@pytest.fixture
def both(project):
    project.add_memory_tracker()
    return project


def test_series_fields_and_files_reach_the_other_trackers(both, tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    with start_run("native", experiment_tracker=["team", "memory"]) as run:
        native = native_run("team")
        for number in range(4):
            native["train/loss"].append(number / 2, step=number)
        native["rate"] = 0.5
        native["name"] = "sgd"
        native["notes/first"].upload(str(tmp_path / "note.txt"))
        run.log_metric("portable", 1, step=2)

    stored = MemoryTracker.runs[run.id]
    points = sorted((m.key, m.step, m.value) for m in stored.metrics.values())
    assert points == [("portable", 2, 1.0), *(("train/loss", n, n / 2) for n in range(4))]
    assert stored.params == {"rate": 0.5, "name": "sgd"}
    (artifact,) = [a for name, a in stored.artifacts.items() if name.startswith("notes/")]
    assert artifact.path.read_text() == "hello"
    assert Client().get_run(run.id).metrics["train/loss"].last == 1.5


def test_series_of_texts_and_images_sets_of_words_and_of_files_are_captured(both, tmp_path):
    from neptune.types import File

    for name in ("a.txt", "deep/b.bin"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    with start_run("native", experiment_tracker=["team", "memory"]) as run:
        native = native_run("team")
        for step in range(2):
            native["words"].append(f"text {step}", step=step)
            pixels = numpy.full((4, 4, 3), step / 2)
            native["seen"].append(File.as_image(pixels), step=step)
        native["keywords"].add(["one", "two"])
        native["keywords"].remove("one")
        native["sys/tags"].add("draft")
        native["files"].upload_files(str(tmp_path / "data"))
        native["train"].track_files(str(tmp_path / "data"))
        native["page"].upload(File.from_content("<b>x</b>", extension="html"), wait=True)

    stored = MemoryTracker.runs[run.id]
    found = {n: (a.kind, a.step) for n, a in Client().get_run(run.id).artifacts.items()}
    found.pop("console.log", None)
    assert found == {
        "words.txt": ("text", 1),
        "seen.png": ("image", 1),
        "files/a.txt": ("file", None),
        "files/deep/b.bin": ("file", None),
        "datasets/train.json": ("dataset", None),
        "page.html": ("html", None),
    }
    assert stored.artifacts["words.txt"].path.read_text() == "text 1"
    dataset = Dataset.read(stored.artifacts["datasets/train.json"].path)
    assert dataset.source.endswith("/data")
    assert (stored.tags["keywords"], stored.tags["tags"]) == ("two", "draft")


def test_as_a_source_it_gives_what_is_logged_and_needs_no_account(both):
    import neptune

    with start_run("source", experiment_tracker=["memory"], capture="neptune") as run:
        native = neptune.init_run(project="team/other", capture_hardware_metrics=False)
        native["loss"].append(0.5, step=1)
        native["rate"] = 0.1

    stored = MemoryTracker.runs[run.id]
    assert [(m.key, m.step, m.value) for m in stored.metrics.values()] == [("loss", 1, 0.5)]
    assert stored.params == {"rate": 0.1}
