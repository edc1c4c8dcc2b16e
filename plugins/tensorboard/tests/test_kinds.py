"""Does TensorBoard show histograms, sounds and videos as its own?"""

from __future__ import annotations

import io
import wave

import numpy
import pytest
from tensorboard.util.tensor_util import make_ndarray

from trackyard import Client, start_run


def test_histograms_sounds_and_videos_are_tensorboards_own(board):
    frames = [numpy.full((4, 6, 3), shade, dtype="uint8") for shade in (0, 100, 200)]
    with start_run("made", experiment_tracker="board") as run:
        for step in (1, 2):
            run.log_histogram([step, 3], "layers/weights", step, edges=[-1.5, 0, 2])
        run.log_audio(numpy.array([0.0, 0.5, -0.5] * 10), "speech", step=1, sample_rate=8000)
        run.log_audio(b"ID3\x03", "speech.mp3")
        run.log_video(frames, "episode", step=3)

    reader = board.reader("made")
    shown = [
        (event.step, make_ndarray(event.tensor_proto)) for event in reader.Tensors("layers/weights")
    ]
    assert [step for step, _ in shown] == [1, 2]
    assert shown[1][1].tolist() == [[-1.5, 0.0, 2.0], [0.0, 2.0, 3.0]]
    plugin = reader.SummaryMetadata("layers/weights").plugin_data.plugin_name
    assert plugin == "histograms"
    (sound,) = reader.Audio("speech.wav")
    assert (sound.sample_rate, sound.length_frames, sound.content_type) == (8000, 30, "audio/wav")
    with wave.open(io.BytesIO(sound.encoded_audio_string)) as file:
        assert file.getnframes() == 30
    (video,) = reader.Images("episode.gif")
    assert (video.step, video.width, video.height) == (3, 6, 4)
    assert reader.Tags()["audio"] == ["speech.wav"]  # it plays no other sounds
    assert (board.folder("made") / "artifacts" / "speech.mp3").is_file()


@pytest.mark.usefixtures("board")
def test_what_was_logged_comes_back():
    with start_run("made", experiment_tracker="board") as run:
        run.log_histogram([1.0, 2.0, 4.0], "weights", bins=2)

    assert [row.state for row in Client().verify_run(run.id)] == ["same"]
