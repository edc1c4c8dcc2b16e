"""How do pixels become a PNG at once, and smaller later?

A PNG may hold its pixels as they are, in a zlib stream that compresses nothing: writing one takes
little more than a copy, and each program reads it. Such a file bears a mark of ours, a chunk that
readers pass over, so that it is told from the files of others, which nobody changes.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# By the second number of the PNG specification's table 11.1: grey, with alpha, colours, with alpha.
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
# Ancillary, private, safe to copy: as lower case says in three of its four letters.
_MARK = b"raPx"
_HEAD = len(_SIGNATURE) + 12 + 13 + 12
# Rows that are tried: where they become so much smaller at the quickest level, compressing takes
# no longer than hashing and writing what it saves.
_TRIED_BYTES, _WORTH_IT = 4096, 0.25


def png_of(rows: bytes | memoryview, width: int, height: int, channels: int, bits: int) -> bytes:
    """Write pixels as a PNG: as they are, unless a glance shows that they hold next to nothing.

    Args:
        rows: The pixels of each row, 16 bits with the high byte first, behind a zero byte.
        width: Pixels of a row.
        height: How many rows there are.
        channels: 1 is grey, 2 with alpha, 3 are colours, 4 with alpha.
        bits: Of a channel: 8 or 16.
    """
    view = memoryview(rows)
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0)
    level = 1 if _is_simple(view) else 0
    parts = [
        _SIGNATURE,
        *_chunk(b"IHDR", header),
        *(_chunk(_MARK, b"") if level == 0 else ()),
        *_chunk(b"IDAT", zlib.compress(view, level)),
        *_chunk(b"IEND", b""),
    ]
    return b"".join(parts)


def is_plain(path: Path) -> bool:
    """Tell whether a file is a PNG of ours whose pixels are as they are.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return head.startswith(_SIGNATURE) and head[-12:] == b"".join(_chunk(_MARK, b""))


def pack(path: Path, target: Path) -> bool:
    """Write the same picture as a smaller file; False where there is no Pillow to do it.

    Args:
        path: A file of which `is_plain` is true.
        target: The file that is written, whole.

    Raises:
        OSError: It cannot be read or written.
    """
    with suppress(ImportError):
        from PIL import Image

        with Image.open(path) as image:
            image.save(target, format="PNG")
        return True
    return False


def _is_simple(view: memoryview) -> bool:
    """Tell whether pixels are mostly of few colours: by some of them, from the whole picture."""
    size = len(view)
    part = _TRIED_BYTES // 4
    if size <= _TRIED_BYTES:
        sample = bytes(view)
    else:
        sample = b"".join(view[at : at + part] for at in range(0, size - part + 1, size // 4))
    return len(zlib.compress(sample, 1)) <= _WORTH_IT * len(sample)


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
