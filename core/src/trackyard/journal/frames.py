"""How does an entry lie in a file so that damage costs that entry alone?

A frame is one line: `~1 <sequence:16> <length:8> <crc:8> <JSON>` and a newline, numbers as
hexadecimal digits. JSON holds no raw newline and no NUL, so that a newline is an exact place to
start again after damage, and a NUL marks the end of a preallocated file. The checksum covers head
and text, and starts from a salt made of the file's own name: a frame of another run, or one that
was logged as a value, is not accepted.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from trackyard.errors import TrackyardError

HEAD = 38
LARGEST = 16 * 1024 * 1024  # a longer length is damage; refused before anything is allocated
_MARK = b"~1 "


class JournalFormatError(TrackyardError):
    """A journal was written by a newer Trackyard; it was left as it is."""


class Frame(NamedTuple):
    """A valid frame and the offset where the next one begins."""

    sequence: int
    payload: bytes
    end: int


def salt_of(run_id: str, writer: str, segment: int) -> int:
    """Make the salt of a segment from what its path says, which no damage inside can change."""
    return crc32(f"{run_id}/{writer}/{segment}".encode())


def encode_frame(sequence: int, payload: bytes, salt: int) -> bytes:
    """Write a frame."""
    head = b"~1 %016x %08x " % (sequence, len(payload))
    return b"%b%08x %b\n" % (head, crc32(payload, crc32(head, salt)), payload)


def check_format(data: bytes) -> None:
    """Refuse a segment without a valid frame that begins as one of a newer format does.

    Raises:
        JournalFormatError: It does.
    """
    if data[:1] == b"~" and b"1" < data[1:2] <= b"9" and data[2:3] == b" ":
        raise JournalFormatError(
            f"the journal has format {data[1:2].decode()}, and 1 is the newest known; "
            f"type: pip install --upgrade trackyard"
        )


def next_frame(data: bytes, offset: int, salt: int) -> Frame | None:
    """Find the first valid frame at an offset or after damage there."""
    frame = _frame_at(data, offset, salt)
    while frame is None:
        newline = data.find(b"\n~", offset)
        if newline < 0:
            return None
        offset = newline + 1
        frame = _frame_at(data, offset, salt)
    return frame


def _frame_at(data: bytes, offset: int, salt: int) -> Frame | None:
    head = data[offset : offset + HEAD]
    if len(head) < HEAD or head[:3] != _MARK:
        return None
    try:
        sequence, length, crc = int(head[3:19], 16), int(head[20:28], 16), int(head[29:37], 16)
    except ValueError:
        return None
    end = offset + HEAD + length
    if length > LARGEST or end > len(data):
        return None
    payload = data[offset + HEAD : end]
    if crc32(payload, crc32(head[:29], salt)) != crc:
        return None
    # A damaged newline costs nothing: the checksum has vouched for the rest.
    return Frame(sequence, payload, end + 1)
