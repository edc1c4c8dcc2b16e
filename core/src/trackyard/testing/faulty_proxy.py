"""What stands between a client and a real server, and ill-treats some of the requests?

```python
with FaultyProxy("http://127.0.0.1:5000") as proxy:
    proxy.fault(FAULTS["503"], "/runs/log-batch", seconds=6)  # each such request, for 6 s
    proxy.fault(FAULTS["413"], "big.bin")                     # each that has this in path or body
    proxy.fault(FAULTS["504"], "POST .*/runs/create", times=1, after=True)  # taken, and not said
    ...
    proxy.mend()
```
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from trackyard.testing.faulty_rules import Rules

_HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")
# Most bytes of a body in which `where` is looked for.
_SEARCHED = 1_000_000


class FaultyProxy(Rules):
    """A reverse proxy on a free port of 127.0.0.1; use it as a context manager.

    Args:
        target: The server's address.

    Attributes:
        url: The proxy's address.
        passed: Each request that came, as its line and the status that the server gave; 0 where
            the server did not get it.
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        parts = urlsplit(target)
        self.target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.passed: list[tuple[str, int]] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        serve = self._server.serve_forever
        Thread(target=serve, args=(0.02,), name="faulty-proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultyProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a client acknowledges the head after 40 ms
    server: _Server

    def handle_any(self) -> None:
        body = b"".join(self._body())
        line = f"{self.command} {unquote(self.path)}"
        searched = body[:_SEARCHED].decode("utf-8", "replace")
        rule = self.server.proxy.rule_for(f"{line}\n{searched}")
        status, answered = 0, b""
        headers: list[tuple[str, str]] = []
        if rule is None or rule.after:
            status, headers, answered = self._pass_on(body)
        self.server.proxy.passed.append((line, status))
        if rule is not None and rule.fault.kind == "delay":
            time.sleep(rule.fault.seconds)
        if rule is None or rule.fault.kind == "delay":
            self._answer(status, headers, answered)
        elif rule.fault.kind == "answer":
            fault = rule.fault
            more = [*fault.headers.items(), ("Content-Type", fault.media_type)]
            self._answer(fault.status, more, fault.body)
        else:
            if rule.fault.kind == "half":
                self._answer(status or 200, headers, answered, whole=False)
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.proxy.target, timeout=60)
        try:
            own = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            connection.request(self.command, self.path, body, own)
            answer = connection.getresponse()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP]
            if self.command == "HEAD":  # it says how long a body is that does not come
                kept += [(k, v) for k, v in answer.getheaders() if k.lower() == "content-length"]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, whole: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(max(len(body), 0 if whole else 2)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # the client has gone
                self.wfile.write(body if whole else body[: len(body) // 2])

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def log_message(self, *arguments: Any) -> None:
        pass
