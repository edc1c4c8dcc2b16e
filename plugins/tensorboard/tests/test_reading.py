"""Is what is read back what was logged?"""

from __future__ import annotations

import pytest

from trackyard import Artifact, Batch, Metric, Param, Tag
from trackyard_tensorboard import TensorboardTracker


@pytest.fixture
def started(board, make_run):
    tracker = TensorboardTracker(tags={"team": "fraud"})
    tracker.tracker_start_run(make_run(tags={"stage": "draft"}))
    return tracker


def test_every_record_comes_back(started, make_run, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\0\1")
    params = (Param("rate", 0.1), Param("layers", 3), Param("deep", True), Param("none", None))
    metrics = (Metric("loss", 0.1, 3, 1_700_000_000_000_000_001), Metric("loss", 0.2, 1, 2))
    tags = (Tag("stage", "final"),)
    artifact = Artifact("models/model.bin", tmp_path / "model.bin", "file")
    started.tracker_log(make_run(), Batch.of((*params, *metrics, *tags, artifact), 0, 3))
    started.tracker_end_run(make_run(ended_at=5))

    found = list(TensorboardTracker().tracker_read_run(make_run(), None))
    assert [record for record in found if isinstance(record, Param)] == [*params]
    assert [type(r.value) for r in found if isinstance(r, Param)] == [float, int, bool, type(None)]
    assert [record for record in found if isinstance(record, Metric)] == [*metrics]
    values = {record.key: record.value for record in found if isinstance(record, Tag)}
    assert values["stage"] == "final"
    assert values["team"] == "fraud"
    assert values["trackyard.run_id"] == make_run().id
    assert values["trackyard.status"] == "finished"
    (kept,) = [record for record in found if isinstance(record, Artifact)]
    assert (kept.name, kept.path.read_bytes()) == ("models/model.bin", b"\0\1")


def test_event_files_among_the_artifacts_are_no_part_of_the_run(started, make_run, board, tmp_path):
    started.tracker_log(make_run(), Batch.of((Metric("loss", 0.5, 1, 1),), 0, 0))
    (events,) = board.log_dir.rglob("*.records")
    copy = Artifact(events.name, events, "file")
    started.tracker_log(make_run(), Batch.of((copy,), 1, 1))

    found = list(started.tracker_read_run(make_run(), None))
    assert len([record for record in found if isinstance(record, Metric)]) == 1


def test_a_run_that_never_started_holds_nothing(board, make_run):
    assert list(TensorboardTracker().tracker_read_run(make_run(), None)) == []
