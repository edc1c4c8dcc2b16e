"""How are the events of a foreign file read quickly, one by one, up to where it is torn?

Checksums are looked at where something does not fit, as TensorBoard's own data server does: in
Python they would take five times as long as all the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from trackyard.contract import ImportNote

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

_BUFFER = 1024 * 1024
_HEAD = struct.Struct("<QI")


def foreign_events(path: Path) -> Iterator[Event | ImportNote]:
    """Read the events of a file that may still grow.

    What is damaged is named and passed over; where lengths are wrong, or the last event is not
    there whole, it ends.

    Args:
        path: The file.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    read, unpack = Event.FromString, _HEAD.unpack_from
    size, offset = path.stat().st_size, 0
    with path.open("rb", buffering=0) as file:
        data, at = b"", 0  # a part of the file, and where the next event begins in it
        while True:
            end = at + 12 + (unpack(data, at)[0] if len(data) - at >= 12 else _BUFFER)
            if end + 4 > len(data):
                found = _part(file, offset, size)
                if not isinstance(found, bytes):
                    yield from [ImportNote(f"{path.name}: {found}")] if found else []
                    return
                data, at = found, 0
                end = 12 + unpack(data)[0]
            try:
                yield read(data[at + 12 : end])
            except DecodeError:
                if not _fits(data[at : at + 8], unpack(data, at)[1]):
                    yield ImportNote(f"{path.name}: it is torn at byte {offset}")
                    return
                is_whole = _fits(data[at + 12 : end], struct.unpack_from("<I", data, end)[0])
                what = "is none of TensorBoard's" if is_whole else "is damaged"
                yield ImportNote(f"{path.name}: the event at byte {offset} {what}")
            offset += end + 4 - at
            at = end + 4


def _part(file: FileIO, offset: int, size: int) -> bytes | str | None:
    """Read a part of a file that has a whole event; say why there is none, or None at its end.

    Args:
        file: The file.
        offset: Where the event begins.
        size: The file's size.
    """
    head = _read(file, offset, 12)
    if len(head) < 12:
        return None
    length, check = _HEAD.unpack(head)
    if offset + length + 16 > size:  # it is being written, where the head is right
        return None if _fits(head[:8], check) else f"it is torn at byte {offset}"
    data = _read(file, offset, max(_BUFFER, length + 16))
    return data if len(data) >= length + 16 else None  # it was cut meanwhile


def _read(file: FileIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def first_event(path: Path) -> tuple[bytes, Event | None]:
    """Give the bytes of a file's first event, which never change, and the event.

    Args:
        path: The file.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    with path.open("rb") as file:
        head = file.read(12)
        length = _HEAD.unpack(head)[0] if len(head) == 12 else 0
        data = file.read(min(length, _BUFFER))
    try:
        return data, Event.FromString(data)
    except DecodeError:
        return data, None


def is_foreign(path: Path) -> bool:
    """Tell whether a file begins as none does that holds events.

    Args:
        path: The file.
    """
    with path.open("rb") as file:
        head = file.read(12)
    return len(head) == 12 and not _fits(head[:8], _HEAD.unpack(head)[1])


def _fits(data: bytes, check: int) -> bool:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    return bool(masked_crc32c(data) == check)
