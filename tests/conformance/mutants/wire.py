"""A correct flavor on a server that does not speak HTTP: the twin of mutants of its protocol."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
from collections.abc import Iterator
from threading import Thread
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from mutants.remote import RemoteLedger
from trackyard.contract import Record, Run, flavor, hookimpl


class WireServer(socketserver.ThreadingTCPServer):
    """Keeps the lines of each run, and its files: one line of JSON each way."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: dict[str, list[str]] = {}
        self.files: dict[str, str] = {}
        self.url = f"ledger://127.0.0.1:{self.server_address[1]}/runs"

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, method: str, what: str, run: str, name: str, content: str) -> dict[str, Any]:
        """Take lines or a file, or give them."""
        if what == "files" and method == "PUT":
            self.files[f"{run}/{name}"] = content
        elif what == "files":
            return {"content": self.files[f"{run}/{name}"]}
        elif method == "DELETE":
            self.lines.pop(run, None)
        elif method == "POST":
            lines = json.loads(base64.b64decode(content))["lines"]
            self.lines.setdefault(run, []).extend(lines)
        return {"lines": self.lines.get(run, [])}


class _Handler(socketserver.StreamRequestHandler):
    server: WireServer

    def handle(self) -> None:
        try:
            while line := self.rfile.readline():
                answer = self.server.answer(*json.loads(line))
                self.wfile.write(json.dumps(answer).encode() + b"\n")
        except OSError:
            return  # the client has gone


@flavor
class WireLedger(RemoteLedger):
    """Keep each run on a server, by a connection of its own that lasts."""

    _connection: Any = attrs.field(init=False, default=None)

    def request(
        self, run: Run, method: str, what: str, name: str = "", content: bytes | None = None
    ) -> bytes:
        encoded = base64.b64encode(content or b"").decode()
        message = json.dumps([method, what, run.id, name, encoded]).encode() + b"\n"
        try:
            answer = json.loads(self.exchange(message, run.deadline / 2))
        except (OSError, ValueError):
            self.hang_up()
            raise
        if "content" in answer:
            return base64.b64decode(answer["content"])
        return json.dumps(answer).encode()

    def exchange(self, message: bytes, timeout: float) -> bytes:
        """Send a message, and give the answer; a lost connection is an error."""
        if self._connection is None:
            parts = urlsplit(self.server)
            place = (parts.hostname or "", parts.port or 0)
            self._connection = socket.create_connection(place, timeout=timeout)
        self._connection.sendall(message)
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self._connection.recv(65_536)
            if not piece:
                raise ConnectionError("the server has hung up")
            answer += piece
        return answer

    def hang_up(self) -> None:
        """Begin anew with the next message."""
        if getattr(self, "_connection", None) is not None:  # one that was refused has none
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.hang_up()  # of a run that went on elsewhere

    def end(self, run: Run, status: str) -> None:
        try:
            super().end(run, status)
        finally:
            self.hang_up()

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        try:
            yield from super().tracker_read_run(run)
        finally:
            self.hang_up()

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        try:
            super().tracker_delete_run(run)
        finally:
            self.hang_up()

    def ask(self, timeout: float) -> None:
        message = json.dumps(["GET", "runs", "", "", ""]).encode() + b"\n"
        try:
            self.exchange(message, timeout)
        finally:
            self.hang_up()
