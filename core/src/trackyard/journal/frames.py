"""How does an entry lie in a file so that damage costs that entry alone?

A frame is one line: `~1 <number> <length> <checksum> <JSON>` and a newline, the head in groups of
eight hexadecimal digits, of which the sequence number has two. JSON holds no raw newline and no
NUL, so that a newline is an exact place to start again after damage, and a NUL marks the end of a
preallocated file. The checksum covers the text, and starts from the sequence number and a salt made
of the file's own name: a damaged number, a frame of another run, or one that was logged as a value,
is not accepted.
"""

from __future__ import annotations

import re
import struct
from binascii import hexlify, unhexlify
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from trackyard.contract.errors import refuse_newer

HEAD = 39
LARGEST = 16 * 1024 * 1024  # a longer length is damage; refused before anything is allocated
FORMAT = 1  # of a frame; what its JSON says has a number of its own, in `journal.entries`
_MARK = b"~%d " % FORMAT
_LINE = _MARK + b"%b %b\n"
_ANY_MARK = re.compile(rb"~(\d{1,4}) ")
PRIME = 2**32 - 5  # by a prime each of the 64 bits of a number counts
_NUMBERS = struct.Struct(">QII")
_pack = _NUMBERS.pack
_unpack = _NUMBERS.unpack


class Frame(NamedTuple):
    """A valid frame and the offset where the next one begins."""

    sequence: int
    payload: bytes
    end: int


def salt_of(run_id: str, writer: str, segment: int) -> int:
    """Make the salt of a segment from what its path says, which no damage inside can change.

    Args:
        run_id: The run's id.
        writer: The name of the process's journal in the run's.
        segment: The segment's number.
    """
    return crc32(f"{run_id}/{writer}/{segment}".encode())


def encode_frame(sequence: int, payload: bytes, salt: int) -> bytes:
    """Write a frame.

    Args:
        sequence: The frame's number in its writer's journal.
        payload: What it holds.
        salt: Of the segment.
    """
    checksum = crc32(payload, (salt + sequence) % PRIME)
    return _LINE % (hexlify(_pack(sequence, len(payload), checksum), " ", -4), payload)


def check_mark(path: Path, data: bytes) -> None:
    """Refuse a segment without a valid frame that begins as one of a newer format does.

    Args:
        path: The segment, for the message.
        data: What it holds.

    Raises:
        NewerFormatError: It does.
    """
    if mark := _ANY_MARK.match(data):
        refuse_newer(path, int(mark[1]), FORMAT)


def next_frame(data: bytes, offset: int, salt: int) -> Frame | None:
    """Find the first valid frame at an offset or after damage there.

    Args:
        data: What the segment holds.
        offset: Where to look from.
        salt: Of the segment.
    """
    frame = frame_at(data, offset, salt)
    while frame is None:
        newline = data.find(b"\n~", offset)
        if newline < 0:
            return None
        offset = newline + 1
        frame = frame_at(data, offset, salt)
    return frame


def frames_of(data: bytes, salt: int) -> list[Frame]:
    """Give every valid frame.

    Args:
        data: What the segment holds.
        salt: Of the segment.
    """
    frames: list[Frame] = []
    while frame := next_frame(data, frames[-1].end if frames else 0, salt):
        frames.append(frame)
    return frames


def frame_at(data: bytes, offset: int, salt: int) -> Frame | None:
    """Give the frame that begins at an offset, or None where none does that is valid.

    Args:
        data: What the segment holds.
        offset: Where it begins.
        salt: Of the segment.
    """
    if not data.startswith(_MARK, offset):
        return None
    begin = offset + HEAD
    try:
        sequence, length, crc = _unpack(unhexlify(data[offset + 3 : begin - 1].replace(b" ", b"")))
    except (ValueError, struct.error):
        return None
    end = begin + length
    if length > LARGEST or end > len(data):
        return None
    payload = data[begin:end]
    if crc32(payload, (salt + sequence) % PRIME) != crc:
        return None
    # A damaged newline costs nothing: the checksum has vouched for the rest.
    return Frame(sequence, payload, end + 1)
