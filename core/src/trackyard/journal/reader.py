"""How is a journal read: from a cursor, while it is written, and after damage?"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import attrs

from trackyard.journal.entries import Entry, check_header, decode_entries
from trackyard.journal.frames import (
    HEAD,
    LARGEST,
    Frame,
    check_mark,
    frame_at,
    next_frame,
    salt_of,
)
from trackyard.journal.points import Histories, Points, points_at
from trackyard.journal.sessions import in_order, session_of
from trackyard.system.descriptors import opened
from trackyard.system.life import life_of
from trackyard.system.locks import is_locked

_SEGMENT = re.compile(r"(?P<writer>.+)\.(?P<number>\d{6})\.tyj")
_CHUNK = 1024 * 1024
# What is read where no damage is expected, and where much more would be read again the next time.
_GLANCE = 64 * 1024
_HEADER = 1024
# So many entries are read one by one before points are looked for again.
_FEW = 64


class Position(NamedTuple):
    """The place of an entry: its writer, and its sequence number there."""

    writer: str
    sequence: int


@attrs.define
class _Place:
    """Where the next frame of a writer is expected."""

    segment: int = 1
    offset: int = 0
    sequence: int = 0
    headers: int = 0  # of segments that are gone: they were no log calls


class JournalReader:
    """Reads the entries of all writers of a run, each in its order.

    Args:
        folder: The run's folder; its name is the run's id.
        cursor: For each writer the last sequence number that is not wanted any more.
        wants: Tells whether a writer is read; all are by default.

    Attributes:
        lost: How many entries were damaged or are missing, as far as their numbers tell.
    """

    def __init__(
        self,
        folder: Path,
        cursor: Mapping[str, int] | None = None,
        *,
        wants: Callable[[str], bool] | None = None,
    ) -> None:
        self.lost = 0
        self._wants = wants
        self._folder = folder
        self._cursor = dict(cursor or {})
        self._places: dict[str, _Place] = {}

    def read(self, most: int) -> list[tuple[Position, Entry]]:
        """Give about `most` entries that follow; fewer, or none, where no more is written yet.

        What one call of an SDK logged may be several entries of one position, which come together.

        Raises:
            NewerFormatError: A newer Trackyard wrote them.
        """
        entries: list[tuple[Position, Entry]] = []
        for writer in self._writers():
            entries.extend(self._read_writer(writer, most - len(entries)))
            if len(entries) >= most:
                break
        return entries

    def read_blocks(self) -> Iterator[tuple[str, Points | Histories | list[Entry]]]:
        """Give everything that follows, with its writer: points by the hundred, as they come.

        Raises:
            NewerFormatError: A newer Trackyard wrote it.
        """
        for writer in self._writers():
            while True:
                points = self._read_points(writer)
                if points is not None:
                    yield writer, points
                    continue
                entries = [entry for _, entry in self._read_writer(writer, _FEW)]
                if not entries:
                    break
                yield writer, entries

    def places(self) -> dict[str, list[int]]:
        """Give where the reader is, for `go_to`."""
        return {writer: [*attrs.astuple(place)] for writer, place in self._places.items()}

    def go_to(self, places: Mapping[str, Sequence[int]]) -> None:
        """Read on from where another reader was.

        Args:
            places: As `places` gave them.
        """
        self._places = {writer: _Place(*place) for writer, place in places.items()}

    def _read_points(self, writer: str) -> Points | Histories | None:
        """Read frames of metrics that follow, where nothing is odd; those seen before are passed.

        None is also given where the cursor lies among them.
        """
        seen = self._cursor.get(writer, -1)
        while (place := self._places.get(writer)) is not None and place.offset:
            data = self._data(writer, place, _GLANCE)
            salt = salt_of(self._folder.name, writer, place.segment)
            points = points_at(data, salt, place.sequence)
            if points is None or place.sequence <= seen < place.sequence + points.frames - 1:
                return None
            place.offset += points.size
            place.sequence += points.frames
            place.headers = 0
            if place.sequence > seen + 1:
                return points
        return None

    def _writers(self) -> list[str]:
        writers = in_order(writer for writer, _ in self._files())
        return writers if self._wants is None else [*filter(self._wants, writers)]

    def _read_writer(self, writer: str, most: int) -> Iterator[tuple[Position, Entry]]:
        if writer not in self._places:
            self._places[writer] = self._first_place(writer)
        place = self._places[writer]
        count = 0
        while count < most:
            # Listed before the data is read: an entry that comes between them belongs to this
            # segment, and would be passed over where the next one is made just then.
            later = [number for number in self._segments(writer) if number > place.segment]
            start, data = place.offset, self._data(writer, place, _GLANCE)
            salt = salt_of(self._folder.name, writer, place.segment)
            frame = frame_at(data, 0, salt)
            if frame is None:
                frame, data = self._search(writer, place, salt)
            if start == 0:
                check_segment(self._path(writer, place.segment), data, frame)
            while frame is not None:
                place.offset = start + frame.end
                for entry in self._accept(frame, writer, place):
                    count += 1
                    yield Position(writer, frame.sequence), entry
                if count >= most:
                    return
                frame = frame_at(data, frame.end, salt)
            if place.offset == start and not self._go_on(place, data, later):
                return

    def _first_place(self, writer: str) -> _Place:
        """Give where to begin: what lies in whole segments before the cursor is not read."""
        seen = self._cursor.get(writer, -1)
        for number in reversed(self._segments(writer)[1:] if seen >= 0 else []):
            place = _Place(number)
            data = self._data(writer, place, _HEADER)
            first = frame_at(data, 0, salt_of(self._folder.name, writer, number))
            if first is not None and first.sequence <= seen + 1:
                return _Place(number, sequence=first.sequence)
        return _Place()

    def _search(self, writer: str, place: _Place, salt: int) -> tuple[Frame | None, bytes]:
        """Find the next frame, also behind damage; give what was read, too.

        What is being written while it is read looks like damage where what follows it is written
        by the time that the reader gets there. A second look tells the two apart.
        """
        data = self._data(writer, place, _CHUNK)
        frame = next_frame(data, 0, salt)
        if frame is not None and frame_at(data, 0, salt) is None:
            data = self._data(writer, place, _CHUNK)
            frame = next_frame(data, 0, salt)
        return frame, data

    def _accept(self, frame: Frame, writer: str, place: _Place) -> list[Entry]:
        """Give the entries of a frame, unless it was seen before, and count what is missing."""
        sequence, expected = frame.sequence, place.sequence
        if sequence < expected:
            return []  # a block that stands there twice
        seen = self._cursor.get(writer, -1)
        if sequence > expected:
            gone = sequence - max(expected, seen + 1)
            self.lost += max(0, gone - (place.headers if expected > seen else 0))
        place.headers = 0
        place.sequence = sequence + 1
        if sequence <= seen:
            return []
        try:
            return decode_entries(frame.payload, self._folder)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.lost += 1  # the checksum is right and the content is not: a foreign hand
            return []

    def _data(self, writer: str, place: _Place, size: int) -> bytes:
        """Read so many bytes from the place on; a chunk is longer where one frame is longer."""
        try:
            path = self._path(writer, place.segment)
            with opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
                data = os.pread(file.number, size, place.offset)
                if len(data) == size == _CHUNK and b"\n" not in data and data.strip(b"\0"):
                    data += os.pread(file.number, LARGEST + HEAD, place.offset + size)
                file.checked()  # what somebody else's file holds is no journal
        except OSError:
            return b""
        return data

    def _go_on(self, place: _Place, data: bytes, later: list[int]) -> bool:
        """Nothing valid follows: skip a chunk of damage, or go to the next segment if there is one.

        A segment is complete when there is a next one; until then its end may still be written.
        """
        if len(data) >= _CHUNK and data.strip(b"\0"):
            place.offset += len(data) - HEAD
            return True
        if not later:
            return False
        place.headers += later[0] - place.segment - 1 + (not data and place.offset == 0)
        place.segment, place.offset = later[0], 0
        return True

    def _segments(self, writer: str) -> list[int]:
        return sorted(number for owner, number in self._files() if owner == writer)

    def _files(self) -> list[tuple[str, int]]:
        return segments_of(self._folder)

    def _path(self, writer: str, segment: int) -> Path:
        return self._folder / f"{writer}.{segment:06d}.tyj"


def check_segment(path: Path, head: bytes, first: Frame | None) -> None:
    """Refuse a file of a journal that a newer Trackyard wrote.

    Args:
        path: The file.
        head: How it begins.
        first: The first valid frame in it, or None where there is none.

    Raises:
        NewerFormatError: It did.
    """
    if first is None:
        check_mark(path, head)
    else:
        check_header(path, first.payload)


def segments_of(folder: Path) -> list[tuple[str, int]]:
    """Give the segments in a run's folder: writers and numbers."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone, at each step's end
    except OSError:
        return []
    matches = (_SEGMENT.fullmatch(name) for name in names)
    return [(match["writer"], int(match["number"])) for match in matches if match]


def writers_in(folder: Path, session: int | None = None) -> list[str]:
    """Name the writers of a run's journal in their order, or those of one session.

    Args:
        folder: The run's folder.
        session: The session; all by default.
    """
    writers = in_order(writer for writer, _ in segments_of(folder))
    return [w for w in writers if session is None or session_of(w) == session]


def latest_session(folder: Path) -> int:
    """Give the number of a run's latest session, whose end is the run's; 0 where it has no journal.

    Args:
        folder: The run's folder.
    """
    return max((session_of(writer) for writer, _ in segments_of(folder)), default=0)


def is_alive(folder: Path) -> bool:
    """Tell whether a process that writes this journal lives, or may live (see `doubt_of`)."""
    return any(life_of(path).is_alive for path in folder.glob("r*-p*.lock"))


def doubt_of(folder: Path) -> str:
    """Say why nobody can know whether a process writes this journal; an empty text where one can.

    Args:
        folder: The run's folder.
    """
    lives = [life_of(path) for path in folder.glob("r*-p*.lock")]
    if any(life.is_alive and not life.doubt for life in lives):
        return ""
    return next((life.doubt for life in lives if life.doubt), "")


def is_attended(folder: Path) -> bool:
    """Tell whether a process that lives writes this run or delivers it."""
    return is_alive(folder) or any(is_locked(path) for path in folder.glob("*/delivery.lock"))
