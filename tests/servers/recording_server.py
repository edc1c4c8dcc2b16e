"""What do the small servers have in common that stand in for services which tests cannot have?

Each speaks what one SDK calls, records what arrives, and misbehaves as a test says. A subclass
gives the answers; this class has the port, the record and the faults.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import attrs


@attrs.frozen
class Request:
    """One request as it arrived.

    Attributes:
        method: Such as `POST`.
        path: The path without the query.
        query: The query's values by name.
        headers: The headers; names in lower case.
        body: The body, unpacked where it was sent compressed.
    """

    method: str
    path: str
    query: Mapping[str, list[str]] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def line(self) -> str:
        """Method and path, as faults and tests look for them."""
        return f"{self.method} {self.path}"


@attrs.frozen
class Answer:
    """What the server answers."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    pace: float = 0.0  # seconds between two bytes of the body

    @classmethod
    def of_json(cls, value: Any, status: int = 200) -> Answer:
        """Answer with JSON."""
        return cls(json.dumps(value).encode(), status)


@attrs.define
class Fault:
    """How some requests are ill-treated.

    Attributes:
        kind: `status` answers with it and does nothing else; `hang` does nothing and never
            answers; `drop` does what was asked and closes the connection without an answer;
            `drip` does what was asked and answers a byte at a time, for minutes.
        where: Regular expression; found in `METHOD /path`, or in the body.
        status: For the kind `status`.
        headers: Likewise, such as `Retry-After`.
        times: How many requests it meets; None for all.
        met: How many it has met.
    """

    kind: Literal["status", "hang", "drop", "drip"]
    where: str = ""
    status: int = 500
    headers: Mapping[str, str] = attrs.field(factory=dict)
    times: int | None = None
    met: int = 0

    def meets(self, request: Request) -> bool:
        """Tell whether a request is to be ill-treated."""
        if self.times is not None and self.met >= self.times:
            return False
        text = f"{request.line}\n{request.body[:100_000].decode('utf-8', 'replace')}"
        return re.search(self.where, text) is not None


class RecordingServer(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1; use it as a context manager.

    It can be stopped, so that connections to its port are refused, and started again.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server_bind()  # the port is taken, and refuses connections
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.changed = Condition()
        self._released = Event()
        self._thread: Thread | None = None
        self._connections: set[socket.socket] = set()

    def answer(self, request: Request) -> Answer:
        """Do what a request asks for and give the answer; a subclass does that."""
        raise NotImplementedError

    def start(self) -> None:
        """Take connections."""
        if self.socket.fileno() == -1:
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.allow_reuse_address = True
            self.server_bind()
        self._released.clear()
        self.server_activate()
        self._thread = Thread(
            target=self.serve_forever, args=(0.02,), name="recording-server", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on, as a server that is down."""
        self._released.set()
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()
        for connection in list(self._connections):  # those that clients keep open, too
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fault(self, kind: Any, where: str = "", **options: Any) -> Fault:
        """Ill-treat requests from now on; see `Fault`."""
        fault = Fault(kind, where, **options)
        self.faults.append(fault)
        return fault

    def mend(self) -> None:
        """Treat every request well again; those that hang are let go."""
        self.faults.clear()
        self._released.set()
        self._released = Event()

    def seen(self, where: str) -> list[Request]:
        """Give the recorded requests whose `METHOD /path` has the regular expression in it."""
        with self.changed:
            return [request for request in self.requests if re.search(where, request.line)]

    def wait_for(self, where: str, times: int = 1, seconds: float = 30.0) -> list[Request]:
        """Wait until that many such requests have arrived; answers may still be on their way."""
        end = time.monotonic() + seconds
        with self.changed:
            while len(found := self.seen(where)) < times:
                left = end - time.monotonic()
                lines = [request.line for request in self.requests]
                assert left > 0, f"{where!r} came {len(found)} times; came: {lines}"
                self.changed.wait(left)
        return found

    def treat(self, request: Request) -> Answer | None:
        """Record a request and answer it; None where there is to be no answer."""
        released = self._released
        with self.changed:
            self.requests.append(request)
            fault = next((fault for fault in self.faults if fault.meets(request)), None)
            if fault is not None:
                fault.met += 1
            self.changed.notify_all()
        if fault is None:
            return self.answer(request)
        if fault.kind == "status":
            return Answer(b"not now", fault.status, "text/plain", fault.headers)
        if fault.kind == "drip":
            answer = self.answer(request)
            return attrs.evolve(answer, body=answer.body + b" " * 1000, pace=0.2)
        if fault.kind == "hang":
            released.wait()
        else:
            self.answer(request)
        return None

    def drip(self, body: bytes, pace: float) -> Iterator[bytes]:
        """Give a body a byte at a time, until requests are treated well again."""
        released = self._released
        for index in range(len(body)):
            yield body[index : index + 1]
            released.wait(pace)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection while it lasts."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, which has ended."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a client acknowledges the head after 40 ms
    server: RecordingServer

    def handle_any(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = Request(self.command, parts.path, parse_qs(parts.query), headers, body)
        answer = self.server.treat(request)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD" and answer.pace:
            for byte in self.server.drip(answer.body, answer.pace):
                self.wfile.write(byte)
        elif self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def log_message(self, *arguments: Any) -> None:
        pass
