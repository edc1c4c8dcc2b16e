"""Does Comet get histograms, sounds, videos, models and datasets as its own?"""

from __future__ import annotations

import json

import pytest

from trackyard import Client, start_run


@pytest.fixture
def files(online, tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "weights.bin").write_bytes(b"\0\1")
    with start_run("a") as run:
        run.log_histogram([3, 4, 5], "weights", 2, edges=[-2.5, -1.5, 0.5, 2.5])
        run.log_audio(b"RIFF\0\0\0\0WAVE", "speech")
        run.log_video(b"GIF89a", "episode")
        run.log_model(tmp_path / "net", "models/clf", framework="own")
        run.log_dataset("words", version="3", digest="0123abcd", source="https://a.example/w")
    assert [row.state for row in Client().verify_run(run.id)] == ["same"]
    return {file["fileName"]: file for file in online.only.files.values()}


def test_sounds_videos_and_models_are_comets_own(files, online):
    assert {name: file["type"] for name, file in files.items()} == {
        "weights.json": "histogram3d",
        "speech.wav": "audio",
        "episode.gif": "video",
        "models/clf/weights.bin": "model-element",
        "models/clf/trackyard-model.json": "model-element",
        "datasets/words.json": "asset",
    }
    assert files["models/clf/weights.bin"]["groupingName"] == "models/clf"
    assert files["models/clf/weights.bin"]["content"] == b"\0\1"
    assert online.only.others["dataset_info"] == "words-3, https://a.example/w"
    assert online.only.params["dataset_hash"] == "0123abcd"


def test_a_histogram_is_counted_as_comets_sdk_counts(files):
    from comet_ml.data_structure import Histogram  # its own calls are not used here

    content = json.loads(files["weights.json"]["content"])

    expected = Histogram()
    expected.add([-2.0, -0.5, 1.5], counts=[3, 4, 5])
    assert content.pop("trackyard") == '{"counts": [3, 4, 5], "edges": [-2.5, -1.5, 0.5, 2.5]}'
    assert content == expected.to_json()
