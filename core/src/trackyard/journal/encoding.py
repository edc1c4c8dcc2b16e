"""How is a value written as JSON, so that no want of memory ends the process?

msgspec's `encode` dies of it (SIGSEGV) when its buffer of 512 bytes cannot grow; its `encode_into`
raises `MemoryError`.
"""

from __future__ import annotations

import msgspec

_ENCODER = msgspec.json.Encoder()
# For what fits into that buffer, such as a number whose key is no longer than this, escapes and
# all: in training loops the other way would be felt.
LONGEST_KEY = 32
encode_short = _ENCODER.encode


def encode_plain(value: object) -> bytes:
    """Write a value as a line of JSON, in which NaN and infinities are null.

    Args:
        value: Lists, dicts, texts and numbers.

    Raises:
        UnicodeEncodeError, OverflowError, TypeError, ValueError: JSON has no name for it: lone
            surrogates, integers beyond 64 bits.
        MemoryError: There is no memory for it.
    """
    buffer = bytearray(512)
    _ENCODER.encode_into(value, buffer)
    return bytes(buffer)
