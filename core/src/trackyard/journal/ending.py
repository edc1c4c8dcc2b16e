"""How has a run ended, and what stands at the end of its journal? Seen there, mostly.

A run that was resumed has ended as its latest session has: what the others say of an end, of a
status and of signals counts no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import attrs

from trackyard.contract.records import Failure, FinalStatus
from trackyard.journal.entries import Entry, decode_entries
from trackyard.journal.frames import Frame, frame_at, salt_of
from trackyard.journal.reader import (
    JournalReader,
    check_segment,
    is_alive,
    latest_session,
    segments_of,
    writers_in,
)
from trackyard.journal.sessions import in_order, session_of
from trackyard.system.files import reading
from trackyard.system.ranks import REIMPORT

# Bytes that are read at the end of a file, and where they hold no whole frame.
_TAILS = 256 * 1024, 4 * 1024 * 1024
_HEADER = 1024  # bytes, in which the first entry of a file stands
# How the names of the files begin to which recovery writes.
RECOVERY = "recovery"
# So many last entries are looked at: the last one may be damaged.
_LAST = 3


class End(NamedTuple):
    """The end of a run, and the writer of the journal that wrote it."""

    writer: str
    entry: Entry


def is_of_recovery(writer: str) -> bool:
    """Tell whether the run's own process did not write this: it was taken for dead.

    Args:
        writer: A writer of a journal.
    """
    return writer.startswith(RECOVERY)


def find_end(folder: Path, session: int | None = None) -> End | None:
    """Give the run's end, the last entry of its writer; None where its latest session has none.

    The end that the run's own process wrote counts before that of recovery: its writers, `r0-...`,
    come first.

    Args:
        folder: The run's folder.
        session: The session whose end is wanted; the latest one by default.
    """
    session = latest_session(folder) if session is None else session
    for writer, frames in _last_frames(folder, session):
        for entry in _entries(frames, folder):
            if entry.kind == "end":
                return End(writer, entry)
    return None


def search_end(folder: Path) -> End | None:
    """Give the end of a run whose process is gone, wherever it stands in the journal.

    Versions before this one let threads write behind it. It takes about a second for a gigabyte.

    Args:
        folder: The run's folder.
    """
    found, writers = find_end(folder), writers_in(folder, latest_session(folder))
    if found is None and has_entry_of(folder, ("end", "blob"), writers):
        reader = JournalReader(folder, wants=writers.__contains__)
        while found is None and (entries := reader.read(1000)):
            ends = (End(at.writer, entry) for at, entry in entries if entry.kind == "end")
            found = next(ends, None)
    return found


def read_status(folder: Path) -> tuple[str, Entry | None]:
    """Give a run's status and its end; without one it lives, or has crashed.

    Args:
        folder: The run's folder.
    """
    found = find_end(folder)
    if (found is None or is_of_recovery(found.writer)) and is_alive(folder):
        return "running", None
    found = found or search_end(folder)  # it may have ended just now
    if found is None:
        return "crashed", None
    failure = found.entry.data
    return (failure.status if failure else "finished"), found.entry


def said_status(folder: Path, writers: Collection[str] | None = None) -> FinalStatus | None:
    """Give the status that a run's code said last, or None.

    Args:
        folder: The run's folder.
        writers: The writers that are looked at; all of the latest session by default.
    """
    writers = writers_in(folder, latest_session(folder)) if writers is None else writers
    if not has_entry_of(folder, ("status",), writers):
        return None
    reader = JournalReader(folder, wants=writers.__contains__)
    said: tuple[int, FinalStatus | None] = (0, None)
    while entries := reader.read(1000):
        for _, entry in entries:
            if entry.kind == "status" and entry.timestamp >= said[0]:
                status = entry.data.get("status")
                said = entry.timestamp, status if status in get_args(FinalStatus) else None
    return said[1]


def end_as_said(status: FinalStatus | None, failure: Failure | None) -> Failure | None:
    """Give a run's end with the status that its code has said.

    Args:
        status: What it said, or None.
        failure: Why it did not finish, or None.
    """
    if status is None or (failure is not None and failure.status == status):
        return failure
    if status == "finished":
        return None
    if failure is None:
        return Failure(status, status.capitalize(), "the run's own code said so")
    return attrs.evolve(failure, status=status)


def last_sequences(folder: Path) -> dict[str, int]:
    """Give the sequence number of each writer's last entry."""
    return {writer: frames[0].sequence for writer, frames in _last_frames(folder) if frames}


def last_timestamp(folder: Path) -> int:
    """Give the time of the last entry, in nanoseconds since the epoch, or 0."""
    times = [e.timestamp for _, frames in _last_frames(folder) for e in _entries(frames, folder)]
    return max(times, default=0)


def has_entry_of(
    folder: Path, kinds: tuple[str, ...], writers: Collection[str] | None = None
) -> bool:
    """Tell whether the text of an entry of one of these kinds stands somewhere, or may stand there.

    A file that cannot be read may hold one. It looks at bytes and decodes nothing: a gigabyte takes
    about a second. A value that was logged cannot look like it, since its quotes are escaped.

    Args:
        folder: The run's folder.
        kinds: Kinds of entries, such as `end`.
        writers: The writers whose files are looked at; all by default.
    """
    texts = [f'["{kind}"'.encode() for kind in kinds]
    overlap = max(map(len, texts))
    for writer, number in segments_of(folder):
        if writers is not None and writer not in writers:
            continue
        before = b""
        try:
            with reading(folder / f"{writer}.{number:06d}.tyj") as file:
                while chunk := file.read(_TAILS[-1]):
                    data = before + chunk
                    if any(text in data for text in texts):
                        return True
                    before = chunk[-overlap:]
        except OSError:
            return True
    return False


def _last_frames(folder: Path, session: int | None = None) -> Iterator[tuple[str, list[Frame]]]:
    """Give the last frames of each writer, or of those of one session, the latest first."""
    numbers: dict[str, list[int]] = {}
    for writer, number in sorted(segments_of(folder), reverse=True):
        numbers.setdefault(writer, []).append(number)
    wanted = (w for w in numbers if session in (None, session_of(w)))
    for writer in _by_weight(wanted):
        found = (_frames_at_end(folder, writer, number) for number in numbers[writer])
        yield writer, next((frames for frames in found if frames), [])


def _by_weight(writers: Iterable[str]) -> list[str]:
    """Put the writers first whose end counts: an import says how the run ended there by now."""
    names = [*writers]
    imports = sorted((w for w in names if w.startswith(REIMPORT)), reverse=True)
    return [*imports, *in_order(w for w in names if not w.startswith(REIMPORT))]


def _frames_at_end(folder: Path, writer: str, number: int) -> list[Frame]:
    path, salt = folder / f"{writer}.{number:06d}.tyj", salt_of(folder.name, writer, number)
    frames: list[Frame] = []
    for size in _TAILS:
        if not frames:
            frames = _backwards(_tail(path, size), salt)
    _refuse_newer(path, salt, is_readable=bool(frames))
    return frames


def _refuse_newer(path: Path, salt: int, *, is_readable: bool) -> None:
    """Refuse a file by its beginning, unless that is damaged and some other frame is valid."""
    try:
        with reading(path) as file:
            head = file.read(_HEADER)
    except OSError:
        return
    first = frame_at(head, 0, salt)
    if first is not None or not is_readable:
        check_segment(path, head, first)


def _tail(path: Path, size: int) -> bytes:
    """Read the end of a file, without the zeros of one that was not closed.

    A file that cannot be read gives nothing: whoever wants its end then reads the whole journal.
    """
    try:
        with reading(path) as file:
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
            yield from decode_entries(frame.payload, folder)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
