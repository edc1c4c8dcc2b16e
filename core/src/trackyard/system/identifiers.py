"""How are runs identified and named?"""

from __future__ import annotations

import os
import time
from datetime import datetime


def new_id() -> str:
    """Make a UUID of version 7 as 32 hexadecimal digits: ids sort by the time of their making.

    Source: RFC 9562, section 5.7. The standard library has it from Python 3.14 on.
    """
    milliseconds = time.time_ns() // 1_000_000
    bits = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def new_name(prefix: str) -> str:
    """Make a readable name of one's own, such as `training-20261123-204119-9f2c`."""
    return f"{prefix}-{datetime.now():%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
