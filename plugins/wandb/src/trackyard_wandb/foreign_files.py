"""How is a `.wandb` file of any size read record by record, and on behind what is torn?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from trackyard.contract import ImportNote
from trackyard_wandb.logfile import BLOCK, CHUNK, FIRST, FULL, HEADER, LAST

_BUFFER = 32 * BLOCK


def foreign_records(path: Path) -> Iterator[bytes | ImportNote]:
    """Give the records of a file; what is torn or damaged is named, and the next block goes on.

    Args:
        path: The file.
    """
    offset, record = 0, b""
    with path.open("rb", buffering=_BUFFER) as file:
        while block := file.read(BLOCK):
            index = 0
            if not offset:
                if not block.startswith(HEADER[:4]):
                    yield ImportNote(f"{path.name}: it is none of W&B's")
                    return
                index = len(HEADER)
            while index + CHUNK.size <= len(block):
                crc, length, place = CHUNK.unpack_from(block, index)
                end = index + CHUNK.size + length
                if not place and not length and not crc:
                    break  # the rest of the block is empty
                is_whole = end <= len(block) and FULL <= place <= LAST
                if not is_whole or zlib.crc32(block[index + CHUNK.size - 1 : end]) != crc:
                    yield ImportNote(f"{path.name}: it is torn at byte {offset + index}")
                    record = b""
                    break
                content = block[index + CHUNK.size : end]
                record = content if place in (FULL, FIRST) else record + content
                index = end
                if place in (FULL, LAST):
                    yield record
            offset += len(block)


def is_foreign(path: Path) -> bool:
    """Tell whether a file holds what W&B has never written; an empty one may be its beginning.

    Args:
        path: The file.
    """
    with path.open("rb") as file:
        head = file.read(4)
    return bool(head) and not HEADER.startswith(head)
