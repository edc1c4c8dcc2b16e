"""How are the events of a foreign file read quickly, one by one, up to where it is torn?

Checksums are looked at where something does not fit, as TensorBoard's own data server does: in
Python they would take five times as long as all the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
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

    read = Event.FromString
    size, offset = path.stat().st_size, 0
    with path.open("rb", buffering=_BUFFER) as file:
        while len(head := file.read(12)) == 12:
            length, check = _HEAD.unpack(head)
            if offset + length + 16 > size:
                if not _fits(head[:8], check):
                    yield ImportNote(f"{path.name}: it is torn at byte {offset}")
                return  # else it is being written
            data, end = file.read(length), file.read(4)
            try:
                yield read(data)
            except DecodeError:
                if not _fits(head[:8], check):
                    yield ImportNote(f"{path.name}: it is torn at byte {offset}")
                    return
                is_whole = _fits(data, struct.unpack("<I", end)[0])
                what = "is none of TensorBoard's" if is_whole else "is damaged"
                yield ImportNote(f"{path.name}: the event at byte {offset} {what}")
            offset += length + 16


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


def _fits(data: bytes, check: int) -> bool:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    return bool(masked_crc32c(data) == check)
