"""What stands at the end of a journal? Seen there, without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trackyard.journal.entries import Entry, decode_entry
from trackyard.journal.frames import Frame, frame_at, salt_of
from trackyard.journal.reader import segments_of

# Bytes that are read at the end of a file, and where they hold no whole frame.
_TAILS = 256 * 1024, 4 * 1024 * 1024
# The end is among so many last entries, unless threads logged while it was written.
_LAST = 3


def find_end(folder: Path) -> Entry | None:
    """Give the run's end, which is among the last entries of its writer; None where there is none.

    Args:
        folder: The run's folder.
    """
    for _, frames in _last_frames(folder):
        for entry in _entries(frames, folder):
            if entry.kind == "end":
                return entry
    return None


def last_sequences(folder: Path) -> dict[str, int]:
    """Give the sequence number of each writer's last entry."""
    return {writer: frames[0].sequence for writer, frames in _last_frames(folder) if frames}


def last_timestamp(folder: Path) -> int:
    """Give the time of the last entry, in nanoseconds since the epoch, or 0."""
    times = [e.timestamp for _, frames in _last_frames(folder) for e in _entries(frames, folder)]
    return max(times, default=0)


def has_entry_of(folder: Path, kinds: tuple[str, ...]) -> bool:
    """Tell whether the text of an entry of one of these kinds stands somewhere, or may stand there.

    A file that cannot be read may hold one. It looks at bytes and decodes nothing: a gigabyte takes
    about a second. A value that was logged cannot look like it, since its quotes are escaped.
    """
    texts = [f'["{kind}"'.encode() for kind in kinds]
    overlap = max(map(len, texts))
    for writer, number in segments_of(folder):
        before = b""
        try:
            with (folder / f"{writer}.{number:06d}.tyj").open("rb") as file:
                while chunk := file.read(_TAILS[-1]):
                    data = before + chunk
                    if any(text in data for text in texts):
                        return True
                    before = chunk[-overlap:]
        except OSError:
            return True
    return False


def _last_frames(folder: Path) -> Iterator[tuple[str, list[Frame]]]:
    """Give the last frames of each writer, the latest first."""
    numbers: dict[str, list[int]] = {}
    for writer, number in sorted(segments_of(folder), reverse=True):
        numbers.setdefault(writer, []).append(number)
    for writer in sorted(numbers):
        found = (_frames_at_end(folder, writer, number) for number in numbers[writer])
        yield writer, next((frames for frames in found if frames), [])


def _frames_at_end(folder: Path, writer: str, number: int) -> list[Frame]:
    salt = salt_of(folder.name, writer, number)
    for size in _TAILS:
        data = _tail(folder / f"{writer}.{number:06d}.tyj", size)
        if frames := _backwards(data, salt):
            return frames
    return []


def _tail(path: Path, size: int) -> bytes:
    """Read the end of a file, without the zeros of one that was not closed.

    A file that cannot be read gives nothing: whoever wants its end then reads the whole journal.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            while end > 0:
                start = max(0, end - size)
                file.seek(start)
                length = len(file.read(end - start).rstrip(b"\0"))
                if length:
                    file.seek(max(0, start + length - size))
                    return file.read(min(size, start + length))
                end = start
    except OSError:
        return b""
    return b""


def _backwards(data: bytes, salt: int) -> list[Frame]:
    frames: list[Frame] = []
    at = len(data)
    while len(frames) < _LAST and (at := data.rfind(b"~", 0, at)) >= 0:
        if at == 0 or data[at - 1 : at] == b"\n":
            frame = frame_at(data, at, salt)
            if frame is not None:
                frames.append(frame)
    return frames


def _entries(frames: list[Frame], folder: Path) -> Iterator[Entry]:
    for frame in frames:
        try:
            entry = decode_entry(frame.payload, folder)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if entry is not None:
            yield entry
