"""How do sounds and videos become files: WAV by the standard library, GIF by Pillow?"""

from __future__ import annotations

from importlib import import_module
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

from trackyard.contract.records import ArtifactKind
from trackyard.system.coercing import to_number, to_step, to_text
from trackyard.tracking.arrays import array_of
from trackyard.tracking.images import image_of
from trackyard.tracking.media import SavedFile, check_content, save_file
from trackyard.tracking.media_types import media_type_of

# The beginnings of files, and the suffixes by which they are shown.
_AUDIO = (
    (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"),
    (b"\xff\xf3", ".mp3"), (b"\xff\xf2", ".mp3"), (b"\xff\xfa", ".mp3"), (b"FORM", ".aiff"),
)  # fmt: skip
_VIDEO = ((b"GIF8", ".gif"), (b"\x1aE\xdf\xa3", ".webm"), (b"OggS", ".ogv"))
# Suffixes that a video of frames may have, and what is written then.
_BY_IMAGEIO = (".mp4", ".webm", ".mov", ".mkv", ".avi")
_MOST_CHANNELS = 32


def audio_name(name: str, audio: Any) -> str:
    """Give a sound's name with the suffix of its file, where it has none.

    Args:
        name: The name that the user gave.
        audio: The sound.
    """
    return _named(name, audio, "audio", ".wav", audio_suffix)


def video_name(name: str, video: Any) -> str:
    """Give a video's name with the suffix of its file, where it has none.

    Args:
        name: The name that the user gave.
        video: The video.
    """
    return _named(name, video, "video", ".gif", video_suffix)


def save_audio(audio: Any, path: Path, *, sample_rate: int | None) -> SavedFile:
    """Write a sound: a file, bytes of one, or an array of samples.

    Args:
        audio: The sound.
        path: The file.
        sample_rate: Samples per second of an array.

    Raises:
        ValueError: It is an array, and the rate or the shape is wrong.
    """
    notes: list[str] = []
    if _save_as_it_is(audio, path):
        check_content(path, "a sound", (*dict(_AUDIO).values(), ".wav"), audio_suffix, notes)
    else:
        if path.suffix.lower() != ".wav":
            notes.append(f"samples are kept as WAV; name it {path.stem}.wav")
            path = path.with_suffix(".wav")
        _write_wav(audio, path, sample_rate, notes)
    return _saved(path, "audio", notes)


def save_video(video: Any, path: Path, *, fps: float) -> SavedFile:
    """Write a video: a file, bytes of one, or frames.

    Args:
        video: The video.
        path: The file, whose suffix chooses the format of frames.
        fps: Frames per second.

    Raises:
        TypeError: What writes this format is not there.
        ValueError: The frames have no shape of a video.
    """
    notes: list[str] = []
    if _save_as_it_is(video, path):
        check_content(path, "a video", (*_BY_IMAGEIO, *dict(_VIDEO).values()), video_suffix, notes)
    else:
        rate = to_number(fps)
        if rate is None or not 0 < rate < inf:
            raise ValueError(f"fps is {to_text(fps)[:50]}; give frames per second, such as 8")
        frames = _frames_of(video, notes)
        if path.suffix.lower() in _BY_IMAGEIO:
            _write_by_imageio(frames, path, rate)
        else:
            if path.suffix.lower() != ".gif":
                notes.append(f"frames are kept as GIF; name it {path.stem}.gif, or {path.stem}.mp4")
                path = path.with_suffix(".gif")
            _write_gif(frames, path, rate)
    return _saved(path, "video", notes)


def audio_suffix(start: bytes) -> str | None:
    """Give the suffix of a sound from its first bytes, or None where they say nothing."""
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return ".wav"
    if start[4:11] == b"ftypM4A":
        return ".m4a"
    return next((suffix for head, suffix in _AUDIO if start.startswith(head)), None)


def video_suffix(start: bytes) -> str | None:
    """Give the suffix of a video from its first bytes, or None where they say nothing."""
    if start[4:8] == b"ftyp":
        return ".mov" if start[8:10] == b"qt" else ".mp4"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return ".avi"
    return next((suffix for head, suffix in _VIDEO if start.startswith(head)), None)


def _named(name: str, value: Any, what: str, usual: str, suffix_of: Any) -> str:
    if _is_named(name, what):
        return name
    if isinstance(value, str | Path):
        return name + (Path(value).suffix if _is_named(str(value), what) else usual)
    start = bytes(value[:12]) if isinstance(value, bytes | bytearray | memoryview) else b""
    return name + (suffix_of(start) or usual)


def _is_named(name: str, what: str) -> bool:
    """Tell whether a name ends as files of this kind do; `lr0.01` does not."""
    kind = media_type_of(PurePosixPath(name).name) or ""
    others = {"audio": (".flac", ".m4a", ".ogg", ".opus"), "video": (".gif", ".mkv", ".ogv")}
    return kind.startswith(f"{what}/") or PurePosixPath(name).suffix.lower() in others[what]


def _save_as_it_is(value: Any, path: Path) -> bool:
    """Write what is a file already, and tell whether it is."""
    if isinstance(value, bytes | bytearray | memoryview):
        path.write_bytes(value)
    elif isinstance(value, str | Path):
        save_file(Path(value), path)
    else:
        return False
    return True


def _saved(path: Path, kind: ArtifactKind, notes: list[str]) -> SavedFile:
    return SavedFile(path, kind, media_type_of(path.name), tuple(notes))


def _write_wav(audio: Any, path: Path, sample_rate: int | None, notes: list[str]) -> None:
    import wave

    rate = to_step(sample_rate)
    if rate is None or not 1 <= rate < 2**32:
        raise ValueError("samples need their rate; give sample_rate=16000, or what it is")
    samples = _samples_of(audio, notes)
    with path.open("wb") as opened, wave.open(opened, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(int(rate))
        file.writeframes(samples.tobytes())


def _samples_of(audio: Any, notes: list[str]) -> Any:
    """Give samples as WAV has them: 16 or 32 bits, or 8 without a sign; samples x channels."""
    import numpy

    samples = array_of(audio, "a sound", notes)
    if samples.ndim not in (1, 2) or 0 in samples.shape:
        raise ValueError(f"a sound has samples and perhaps channels, not the shape {samples.shape}")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:  # channels first, as torch has it
        samples = samples.T
    if samples.ndim == 2 and samples.shape[1] > _MOST_CHANNELS:
        raise ValueError(f"a sound has up to {_MOST_CHANNELS} channels, not {samples.shape[1]}")
    if samples.dtype.kind == "f":
        finite = numpy.nan_to_num(samples.astype("float64"), nan=0.0, posinf=1.0, neginf=-1.0)
        if not numpy.isfinite(samples).all() or abs(finite).max() > 1:
            notes.append("samples beyond -1 to 1 were cut; scale them before")
        return (finite.clip(-1, 1) * 32767).round().astype("<i2")
    if samples.dtype.kind == "b" or samples.dtype.kind not in "iu":
        raise ValueError(f"samples are floats from -1 to 1 or integers, not {samples.dtype}")
    if samples.dtype in ("uint8", "int16", "int32"):
        return samples.astype(samples.dtype.newbyteorder("<"))
    if samples.min() < -(2**15) or samples.max() >= 2**15:
        notes.append("samples beyond 16 bits were cut; give int16 or int32")
    return samples.clip(-(2**15), 2**15 - 1).astype("<i2")


def _frames_of(video: Any, notes: list[str]) -> list[Any]:
    """Give the frames as images of Pillow."""
    frames = video
    if not isinstance(frames, list | tuple):
        frames = array_of(video, "a video", notes)
        if frames.ndim not in (3, 4):
            raise ValueError(
                f"a video has frames x height x width x channels, not the shape {frames.shape}"
            )
    found = [image_of(frame, notes).convert("RGB") for frame in frames]
    if not found:
        raise ValueError("a video has at least one frame")
    if len({frame.size for frame in found}) > 1:
        raise ValueError("the frames of a video have one size")
    notes[:] = dict.fromkeys(notes)
    return found


def _write_gif(frames: list[Any], path: Path, fps: float) -> None:
    first, *rest = frames
    # Equal frames would be made one, and GIF counts hundredths of a second.
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=max(20, round(1000 / fps)),
        loop=0,
    )


def _write_by_imageio(frames: list[Any], path: Path, fps: float) -> None:
    import numpy

    try:
        imageio = import_module("imageio.v2")
        import_module("imageio_ffmpeg")
    except ImportError as error:
        raise TypeError(
            f"frames as {path.suffix} need imageio; type: pip install 'imageio[ffmpeg]', "
            "or name it .gif"
        ) from error
    with imageio.get_writer(path, fps=fps, macro_block_size=2) as writer:
        for frame in frames:
            writer.append_data(numpy.asarray(frame))
