"""How are records laid out in a `.wandb` file, and what may a killed process leave at its end?

W&B writes a log as LevelDB does: a header, then blocks of 32 KiB with chunks of records. The
records are messages of protobuf, which `records` reads and makes; here they are bytes.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from trackyard.contract import OwnFile

HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK = 32 * 1024
CHUNK = struct.Struct("<IHB")  # CRC of what follows it, length of the data, place in the record
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_log(path: Path, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Give the whole records of a log and where each of them ends; it stops where one is torn.

    Args:
        path: The file; one that is not there has no records.
        start: The end of the last record that is known, or 0.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:
        return
    position = start
    if not start:
        if not data.startswith(HEADER):
            return
        position = len(HEADER)
    record = b""
    while chunk := _chunk_at(data, position - start, position % BLOCK):
        place, content, length = chunk
        position += length
        record = content if place in (FULL, FIRST) else record + content
        if place in (FULL, LAST):
            yield record, position


def _chunk_at(data: bytes, index: int, offset: int) -> tuple[int, bytes, int] | None:
    """Give the chunk at an index: its place in its record, its data, and the bytes it takes."""
    skipped = 0
    if BLOCK - offset < CHUNK.size:  # the rest of a block has no room for a chunk's head
        skipped = BLOCK - offset
        index += skipped
    if index + CHUNK.size > len(data):
        return None
    crc, length, place = CHUNK.unpack_from(data, index)
    end = index + CHUNK.size + length
    if end > len(data) or zlib.crc32(data[index + CHUNK.size - 1 : end]) != crc:
        return None
    return place, data[index + CHUNK.size : end], skipped + CHUNK.size + length


class LogWriter:
    """Appends records to a log; what `append` returned from has reached the operating system.

    Args:
        path: The file; it is made where it is not there.
        end: Where its last whole record ends; what follows there was torn, and is cut off.
    """

    def __init__(self, path: Path, end: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._path = path
        self._file: OwnFile | None = OwnFile(os.open(path, flags, 0o600))
        self._end = end
        os.ftruncate(self._number(), end)
        if not end:
            self._write(HEADER)

    def append(self, records: Iterable[bytes]) -> None:
        """Append records, in one write.

        Raises:
            OSError: They could not be written, and none of them is there.
        """
        framed = bytearray()
        for record in records:
            _frame(record, framed, self._end)
        if framed:
            self._write(bytes(framed))

    @property
    def end(self) -> int:
        """Where the last record ends."""
        return self._end

    def cut(self, end: int) -> None:
        """Take away what is behind the end of a record."""
        os.ftruncate(self._number(), end)
        self._end = end

    def close(self) -> None:
        """Close the file; a second time changes nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _number(self) -> int:
        """Give the descriptor; one that the step's own code has closed is opened anew."""
        if self._file is None:
            raise OSError(errno.EBADF, f"{self._path} is closed")
        if not self._file.is_ours():
            self._file = OwnFile(os.open(self._path, os.O_RDWR | os.O_CLOEXEC))
        return self._file.number

    def _write(self, data: bytes) -> None:
        written, number = 0, self._number()
        try:
            while written < len(data):
                place = self._end + written
                written += os.pwrite(number, data[written:], place)
        except OSError:
            os.ftruncate(number, self._end)
            raise
        self._end += written


def _frame(record: bytes, framed: bytearray, start: int) -> None:
    """Add a record to what is written at a place of the file."""
    view, is_first = memoryview(record), True
    while True:
        room = BLOCK - (start + len(framed)) % BLOCK
        if room < CHUNK.size:
            framed += bytes(room)
            room = BLOCK
        part, view = view[: room - CHUNK.size], view[room - CHUNK.size :]
        is_last = not view
        place = (FULL if is_last else FIRST) if is_first else (LAST if is_last else MIDDLE)
        content = bytes([place]) + bytes(part)
        framed += CHUNK.pack(zlib.crc32(content), len(part), place) + content[1:]
        is_first = False
        if is_last:
            return
