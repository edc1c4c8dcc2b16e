"""Has a run ended, and how? Seen at the end of its journal, without reading all of it."""

from __future__ import annotations

from pathlib import Path

from trackyard.journal.entries import Entry, decode_entry
from trackyard.journal.frames import frames_of, salt_of
from trackyard.journal.reader import segments_of

_TAIL = 256 * 1024


def find_end(folder: Path) -> Entry | None:
    """Give the run's end, which is among the last entries of its writer; None where there is none.

    Args:
        folder: The run's folder.
    """
    last = dict(sorted(segments_of(folder)))  # of each writer the last one
    for writer, number in last.items():
        for payload in _last_payloads(folder, writer, number):
            try:
                entry = decode_entry(payload, folder)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            if entry is not None and entry.kind == "end":
                return entry
    return None


def _last_payloads(folder: Path, writer: str, number: int) -> list[bytes]:
    try:
        with (folder / f"{writer}.{number:06d}.tyj").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            data = file.read()
    except OSError:
        return []
    frames = frames_of(data, salt_of(folder.name, writer, number))
    return [frame.payload for frame in reversed(frames[-3:])]
