"""About how many bytes does a record take as it is sent, and how much of a text fits?"""

from __future__ import annotations

import json
from bisect import bisect_right

from trackyard.contract.records import Artifact, Record

# What a record takes besides its key and its text.
FRAME = 100
# Most bytes of a character that is escaped: two times `\uXXXX`.
_ESCAPED = 12


def size_as_sent(record: Record) -> int:
    """Give about how many bytes a record takes as JSON, but for a file's content.

    Args:
        record: The record.
    """
    key = getattr(record, "key", "")
    value = getattr(record, "value", None)
    own = FRAME + (len(key) if key.isascii() else _ESCAPED * len(key))
    return own + len(json.dumps(value)) if isinstance(value, str) else own


def size_of_file(record: Record) -> int:
    """Give the bytes of an artifact's file; 0 of anything else, and where it cannot be read.

    Args:
        record: The record.
    """
    if not isinstance(record, Artifact):
        return 0
    try:
        return record.path.stat().st_size
    except OSError:
        return 0


def shortened_to(text: str, most: int) -> str:
    """Give as much of a text as fits into so many bytes of JSON, with `…` at its end.

    Args:
        text: The text.
        most: The bytes.
    """
    room = most - len(json.dumps("…"))
    length = bisect_right(range(len(text)), room, key=lambda n: len(json.dumps(text[:n])) - 2)
    return text[: max(length - 1, 0)] + "…"
