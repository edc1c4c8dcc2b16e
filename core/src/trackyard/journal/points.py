"""How are millions of points read quickly from a journal?

Frames that hold metrics alone are checked and decoded by the thousand, in loops of C: they say the
same as `frames.frame_at` and `entries.decode_entries` would, one by one. What is odd in any way is
left to those.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from operator import itemgetter
from typing import Literal, NamedTuple
from zlib import crc32

import msgspec

from trackyard.journal.columns import Column
from trackyard.journal.frames import HEAD, PRIME, frame_at

_MARK = b"~1 "
# How a frame of metrics goes on behind its head; inside of a text its quotes would be escaped.
_METRICS = b' ["metrics",'
# A head has four numbers of 32 bits: two halves of the sequence, the length, the checksum.
_NUMBERS, _MOST = 4, 1 << 32
# Where the spaces of a head are.
_SPACES = (2, 11, 20, 29, 38)
# Fewer frames are as quick one by one.
_LEAST = 8
_Line = tuple[Literal["metrics"], int, int | float | None, dict[str, float]]
_decode = msgspec.json.Decoder(list[_Line]).decode
# Of entries that hold points by columns.
_BY_COLUMNS = b'["points",'


class _Held(msgspec.Struct):
    columns: list[tuple[str, list[int | float | None], list[float], list[int]]]


_decode_columns = msgspec.json.Decoder(tuple[Literal["points"], int, None, _Held]).decode


class Points(NamedTuple):
    """What follows each other in a journal and holds metrics alone.

    Attributes:
        lines: Of each frame its kind, time, step and numbers.
        size: Bytes that it takes.
    """

    lines: list[_Line]
    size: int

    @property
    def frames(self) -> int:
        """How many frames these are."""
        return len(self.lines)

    @property
    def points(self) -> int:
        """How many points these are."""
        return sum(len(line[3]) for line in self.lines)

    def columns(self) -> Iterator[Column]:
        """Give the points by metric."""
        _, times, steps, data = zip(*self.lines, strict=True)
        if len(set(map(tuple, data))) == 1:  # a loop logs the same ones each time
            for key in data[0]:
                yield Column(key, [*steps], [*map(itemgetter(key), data)], [*times])
            return
        found: dict[str, Column] = {}
        for _, time, step, numbers in self.lines:
            for key, value in numbers.items():
                column = found.get(key)
                if column is None:
                    column = found[key] = Column(key, [], [], [])
                column.steps.append(step)
                column.values.append(value)
                column.timestamps.append(time)
        yield from found.values()


class Histories(NamedTuple):
    """What follows each other in a journal and holds points by columns alone.

    Attributes:
        held: The columns.
        frames: How many frames these are.
        size: Bytes that they take.
    """

    held: list[Column]
    frames: int
    size: int

    @property
    def points(self) -> int:
        """How many points these are."""
        return sum(len(column.values) for column in self.held)

    def columns(self) -> Iterator[Column]:
        """Give the points by metric; one may come several times."""
        yield from self.held


def points_at(data: bytes, salt: int, sequence: int) -> Points | Histories | None:
    """Give the frames of metrics that data begins with; None where they are few, or odd.

    Args:
        data: What a segment holds, from the beginning of a frame on.
        salt: Of the segment.
        sequence: The number that the first frame has to have.
    """
    if data.startswith(_BY_COLUMNS, HEAD):
        return _histories_at(data, salt, sequence)
    *lines, rest = data.split(b"\n")
    count = len(lines)
    if data.count(_METRICS, 0, len(data) - len(rest)) != count:
        count = next(
            (i for i, ln in enumerate(lines) if not ln.startswith(_METRICS, HEAD - 1)), count
        )
    if count < _LEAST:
        return None
    del lines[count:]
    heads = b"".join([line[:HEAD] for line in lines])
    payloads = [line[HEAD:] for line in lines]
    if not _is_whole(heads, payloads, salt, sequence):
        return None
    try:
        decoded = _decode(b"[%b]" % b",".join(payloads))
    except (msgspec.DecodeError, ValueError):
        return None  # a number that JSON does not know
    return Points(decoded, sum(map(len, lines)) + count)


def _histories_at(data: bytes, salt: int, sequence: int) -> Histories | None:
    held: list[Column] = []
    frames = size = 0
    while data.startswith(_BY_COLUMNS, size + HEAD):
        frame = frame_at(data, size, salt)
        if frame is None or frame.sequence != sequence + frames or frame.end > len(data):
            break
        try:
            columns = [Column(*column) for column in _decode_columns(frame.payload)[3].columns]
        except (msgspec.DecodeError, ValueError):
            break  # a number that JSON does not know
        if any(not len(c.steps) == len(c.values) == len(c.timestamps) for c in columns):
            break
        held += columns
        frames, size = frames + 1, frame.end
    return Histories(held, frames, size) if frames else None


def _is_whole(heads: bytes, payloads: list[bytes], salt: int, sequence: int) -> bool:
    """Tell whether frames are valid and follow each other."""
    count = len(payloads)
    marks = all(heads[at::HEAD] == b" " * count for at in _SPACES)
    if not marks or heads[0::HEAD] != b"~" * count or heads[1::HEAD] != b"1" * count:
        return False
    try:
        numbers = array("I", bytes.fromhex(heads.replace(_MARK, b"").decode("ascii")))
    except ValueError:
        return False
    if len(numbers) != _NUMBERS * count or sequence + count > _MOST:
        return False
    if sys.byteorder == "little":
        numbers.byteswap()
    first, last = salt + sequence, salt + sequence + count
    seeds = range(first, last) if last <= PRIME else [s % PRIME for s in range(first, last)]
    return (
        not any(numbers[0::_NUMBERS])
        and numbers[1::_NUMBERS] == array("I", range(sequence, sequence + count))
        and numbers[2::_NUMBERS] == array("I", map(len, payloads))
        and numbers[3::_NUMBERS] == array("I", map(crc32, payloads, seeds))
    )
