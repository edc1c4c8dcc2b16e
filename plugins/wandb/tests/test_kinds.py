"""Does W&B get histograms, sounds, videos, models and datasets as its own?"""

from __future__ import annotations

import json

import pytest
import wandb

from trackyard import Client, start_run


def log_kinds(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "weights.bin").write_bytes(b"\0\1")
    with start_run("a") as run:
        for step in (1, 2):
            run.log_histogram([step, 3], "weights", step, edges=[-1.5, 0, 2])
        run.log_histogram(range(1000), "fine", bins=600)
        run.log_audio(b"RIFF\0\0\0\0WAVE", "speech")
        run.log_video(b"GIF89a", "episode")
        run.log_model(tmp_path / "net", "models/clf", framework="own", metrics={"accuracy": 0.9})
        run.log_dataset("words", version="3", digest="0123abcd")
    return run


def test_histograms_sounds_and_videos_stand_in_the_history(offline, tmp_path):
    run = log_kinds(tmp_path)

    found = offline.file()
    expected = wandb.Histogram(np_histogram=([2, 3], [-1.5, 0, 2])).to_json()
    assert found.values("weights")[1] == (2, expected)
    ((_, sound),) = found.values("speech.wav")
    assert sound["_type"] == "audio-file"
    assert found.file(sound["path"]).startswith(b"RIFF")
    ((_, video),) = found.values("episode.gif")
    assert (video["_type"], video["path"][:13]) == ("video-file", "media/videos/")
    assert json.loads(found.file("fine.json"))["edges"][-1] == 999  # W&B draws no 600 bars
    assert [row.state for row in Client().verify_run(run.id)] == ["same"]


def test_models_and_datasets_are_artifacts(online, tmp_path):
    log_kinds(tmp_path)

    found = {artifact["type"]: artifact for artifact in online.artifacts.values()}
    assert {kind: (a["name"], a["state"]) for kind, a in found.items()} == {
        "model": ("models_clf", "COMMITTED"),
        "dataset": ("words", "COMMITTED"),
    }
    assert found["model"]["files"]["weights.bin"] == b"\0\1"
    assert json.loads(found["model"]["files"]["trackyard-model.json"])["framework"] == "own"
    assert json.loads(found["dataset"]["files"]["dataset.json"])["version"] == "3"


@pytest.mark.usefixtures("offline")
def test_an_artifact_has_the_digest_that_wandb_gives_it(tmp_path, monkeypatch):
    from trackyard.contract import Artifact
    from trackyard_wandb.artifacts import artifact_record

    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    file = tmp_path / "a.json"
    file.write_text('{"name": "words"}', encoding="utf-8")
    given = Artifact("datasets/words.json", file, "dataset")
    theirs = wandb.Artifact("words", "dataset")
    theirs.add_file(str(file), "dataset.json")

    made = artifact_record(given, "1", tmp_path / "kept").artifact
    assert made.digest == theirs.digest
    assert made.manifest.contents[0].digest == theirs.manifest.entries["dataset.json"].digest
