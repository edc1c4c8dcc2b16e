"""What stands between a client and a real server that does not speak HTTP, and ill-treats it?

```python
with FaultyRelay("redis://127.0.0.1:6379/0") as relay:
    relay.fault(Fault("close", after=True), "HSET", times=1)  # the server has taken it
    relay.fault(Fault("refuse"), seconds=6)  # each connection, for 6 s
    ...  # a client of relay.url
```

A message is what a client sends until the server answers: so it is with each protocol in which
clients ask and servers answer. One that goes on without an answer is one message.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Self
from urllib.parse import urlsplit

import attrs

from trackyard.testing.faulty_rules import Rule, Rules

_PIECE = 65_536
# Seconds in which a server that answers at all begins to.
_ANSWERS_WITHIN = 0.5
# Closing with unsent data thrown away is a reset, as from a port where no one listens.
_RESET = struct.pack("ii", 1, 0)


class FaultyRelay(Rules):
    """Passes on, from a free port of 127.0.0.1, what goes over TCP; use it as a context manager.

    Args:
        target: The server's address, `host:port` or a URL of any scheme with both.

    Attributes:
        url: The same address with the relay's host and port.

    Raises:
        ValueError: The address has no port.
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = place_of(target)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = at_port(target, self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        Thread(target=self._serve, name="faulty-relay", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which ends a waiting accept
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # it was closed
                return
            Thread(target=self._relay, args=(client,), name="faulty-relay", daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._refuses():
                _reset(client)
                return
            with socket.create_connection(self._target, timeout=60) as server:
                _Connection(client, server, self.rule_for).run()

    def _refuses(self) -> bool:
        with self._lock:
            refusing = [rule for rule in self._rules if rule.fault.kind == "refuse"]
            met = next((rule for rule in refusing if rule.meets("")), None)
            if met is not None:
                met.met += 1
            return met is not None


@attrs.define
class _Connection:
    """Two ends, and what happens to the message that is on its way."""

    client: socket.socket
    server: socket.socket
    rule_for: Callable[[str], Rule | None]
    is_asking: bool = False
    rule: Rule | None = None

    def run(self) -> None:
        """Pass on both ways until an end is closed, or a fault closes both."""
        poll = select.poll()
        ends = {end.fileno(): end for end in (self.client, self.server)}
        for number in ends:
            poll.register(number, select.POLLIN)
        while True:
            patience = _ANSWERS_WITHIN * 1000 if self.rule is not None else None
            ready = poll.poll(patience)
            if not ready:  # it was taken, and is not answered at all
                return
            for end in (ends[number] for number, _ in ready):
                piece = end.recv(_PIECE)
                goes_on = self._to_server(piece) if end is self.client else self._to_client(piece)
                if not piece or not goes_on:
                    return

    def _to_server(self, piece: bytes) -> bool:
        if not self.is_asking and piece:
            self.is_asking = True
            self.rule = self.rule_for(piece.decode("utf-8", "replace"))
            if self.rule is not None and self.rule.fault.kind == "refuse":
                _reset(self.client)
                return False
            if self.rule is not None and self.rule.fault.kind == "close" and not self.rule.after:
                return False
        self.server.sendall(piece)
        return True

    def _to_client(self, piece: bytes) -> bool:
        rule, self.rule, self.is_asking = self.rule, None, False
        kind = rule.fault.kind if rule is not None else ""
        if kind == "close":
            return False
        if rule is not None and kind == "delay":
            time.sleep(rule.fault.seconds)
        self.client.sendall(piece[: len(piece) // 2] if kind == "half" else piece)
        return kind != "half"


def place_of(address: str) -> tuple[str, int]:
    """Give the host and the port that an address names.

    Args:
        address: `host:port` or a URL.

    Raises:
        ValueError: It has no port.
    """
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.port is None:
        raise ValueError(f"{address!r} has no port: write it as host:port, or scheme://host:port")
    return parts.hostname or "127.0.0.1", parts.port


def at_port(address: str, port: int) -> str:
    """Give an address with another place: a port of 127.0.0.1.

    Args:
        address: `host:port` or a URL.
        port: The port.
    """
    scheme, slashes, rest = address.rpartition("//")
    place, slash, path = rest.partition("/")
    user, at, _ = place.rpartition("@")
    return f"{scheme}{slashes}{user}{at}127.0.0.1:{port}{slash}{path}"


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
