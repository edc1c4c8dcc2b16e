"""What do a runner and a worker process say to each other?

Lines of JSON over two pipes: commands one way, events the other.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator
from typing import Any


def send_message(pipe: int, message: dict[str, Any]) -> None:
    """Write a message.

    Raises:
        OSError: The other side has gone.
    """
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def messages_from(
    pipe: int, is_there: Callable[[], bool] | None = None
) -> Iterator[dict[str, Any]]:
    """Give the messages that come, until the other side has gone.

    Args:
        pipe: Where they come.
        is_there: Asked each second: a child of the other side may hold the pipe open after it.
    """
    text = b""
    while is_there is None or is_there():
        if is_there is not None and not select.select([pipe], [], [], 1.0)[0]:
            continue
        chunk = os.read(pipe, 65536)
        if not chunk:
            return
        *lines, text = (text + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines)
