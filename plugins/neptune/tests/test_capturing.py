"""Does what Neptune's own calls log reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import pytest

from trackyard import Client, native_run, start_run
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


def test_as_a_source_it_gives_what_is_logged_and_needs_no_account(both):
    import neptune

    with start_run("source", experiment_tracker=["memory"], capture="neptune") as run:
        native = neptune.init_run(project="team/other", capture_hardware_metrics=False)
        native["loss"].append(0.5, step=1)
        native["rate"] = 0.1

    stored = MemoryTracker.runs[run.id]
    assert [(m.key, m.step, m.value) for m in stored.metrics.values()] == [("loss", 1, 0.5)]
    assert stored.params == {"rate": 0.1}
