"""How are records laid into a run's file, so that a torn end is known and gone on behind?

SwanLab (0.10, `core_python/store`) uses LevelDB's log format with a header and crc32: blocks of
32 KiB, in which a record, or a part of one, has a checksum, its length and which part it is.
https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

HEADER = struct.pack("<4sHB", b":SWL", 0xE1D6, 2)

_BLOCK, _PREFIX = 32768, struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def framed(records: Iterable[bytes], offset: int) -> bytes:
    """Lay records out as they stand in a file.

    Args:
        records: Their bytes.
        offset: Bytes that the file has before them.
    """
    out = bytearray()
    for record in records:
        rest, is_first = record, True
        while True:
            room = _BLOCK - (offset + len(out)) % _BLOCK
            if room < _PREFIX.size:
                out += b"\0" * room
                continue
            part, rest = rest[: room - _PREFIX.size], rest[room - _PREFIX.size :]
            kind = (_FULL if is_first else _LAST) if not rest else _FIRST if is_first else _MIDDLE
            out += _PREFIX.pack(_checksum(part, kind), len(part), kind) + part
            if not rest:
                break
            is_first = False
    return bytes(out)


def read_framed(path: Path) -> Iterator[tuple[bytes, int]]:
    """Read a file's whole records, each with where it ends.

    Args:
        path: The file; what is torn at its end is left out.
    """
    data = path.read_bytes()
    offset = len(HEADER)
    if data[:offset] != HEADER:
        return
    parts: list[bytes] = []
    while True:
        room = _BLOCK - offset % _BLOCK
        offset += room if room < _PREFIX.size else 0
        if offset + _PREFIX.size > len(data):
            return
        check, length, kind = _PREFIX.unpack_from(data, offset)
        part = data[offset + _PREFIX.size : offset + _PREFIX.size + length]
        if len(part) < length or _checksum(part, kind) != check:
            return
        offset += _PREFIX.size + length
        parts.append(part)
        if kind in (_FULL, _LAST):
            yield b"".join(parts), offset
            parts = []


def _checksum(part: bytes, kind: int) -> int:
    return zlib.crc32(part, zlib.crc32(bytes([kind])))
