"""Does Trackio show histograms, sounds and videos as its own?"""

from __future__ import annotations

import pytest

from trackyard import Client, start_run


@pytest.fixture
def kinds(board):
    with start_run("a") as run:
        run.log_histogram([1, 3], "weights", 2, edges=[-1.5, 0, 2])
        run.log_audio(b"RIFF\0\0\0\0WAVE", "speech")
        run.log_video(b"GIF89a", "episode")
    return board, run.id


def test_histograms_sounds_and_videos_are_trackios_own(kinds):
    board, run_id = kinds

    shown = {key: value for _, values in board.rows(run_id) for key, value in values.items()}
    assert shown["weights"]["_type"] == "trackio.histogram"
    assert (shown["weights"]["values"], shown["weights"]["bins"]) == ([1, 3], [-1.5, 0, 2])
    assert shown["speech.wav"]["_type"] == "trackio.audio"
    assert shown["episode.gif"]["_type"] == "trackio.video"
    place = board.folder / "media" / shown["speech.wav"]["file_path"]
    assert place.read_bytes().startswith(b"RIFF")


def test_what_was_logged_comes_back(kinds):
    _, run_id = kinds

    assert [row.state for row in Client().verify_run(run_id)] == ["same"]
