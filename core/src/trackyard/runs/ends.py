"""How has a run ended, if it has?"""

from __future__ import annotations

from pathlib import Path

from trackyard.journal.entries import Entry, decode_entry
from trackyard.journal.frames import next_frame, salt_of
from trackyard.journal.reader import is_alive

_TAIL = 64 * 1024


def read_end(folder: Path) -> tuple[str, int | None]:
    """Give a run's status and when it ended, from the last part of its journal alone."""
    for path in folder.glob("*.tyj"):
        end = _end_in(path, folder)
        if end is not None:
            return status_of(folder, end), end.timestamp
    return status_of(folder, None), None


def status_of(folder: Path, end: Entry | None) -> str:
    """Give a run's status by its end; without one it lives, or has crashed."""
    if end is not None:
        return str(end.data.status) if end.data else "finished"
    return "running" if is_alive(folder) else "crashed"


def _end_in(path: Path, folder: Path) -> Entry | None:
    """Find the end in the last part of a segment; most are cut to their length by then."""
    writer, _, number = path.name.removesuffix(".tyj").rpartition(".")
    try:
        with path.open("rb") as file:
            start = max(0, path.stat().st_size - _TAIL)
            file.seek(start)
            data = file.read(_TAIL)
        salt = salt_of(folder.name, writer, int(number))
        offset = max(0, data.rfind(b'["end"') - 200)
        while frame := next_frame(data, offset, salt):
            offset = frame.end
            if frame.payload.startswith(b'["end"'):
                return decode_entry(frame.payload, folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None
