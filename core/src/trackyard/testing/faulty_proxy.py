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
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

import attrs

_GATEWAY = b"<html><body><h1>%s</h1><hr>gateway</body></html>"
_HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")
# Most bytes of a body in which `where` is looked for.
_SEARCHED = 1_000_000


@attrs.frozen
class Fault:
    """What a client gets instead of the server's answer.

    Attributes:
        kind: `answer` with what follows, `close` without a word, `half` of the server's answer,
            `delay` of it.
        status: The answer's status.
        body: Its body.
        media_type: Its content type.
        headers: Its other headers.
        after: The server has taken the request, where nothing else is said.
        seconds: How long the answer is delayed.
    """

    kind: Literal["answer", "close", "half", "delay"] = "answer"
    status: int = 503
    body: bytes = b""
    media_type: str = "text/html"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    after: bool = False
    seconds: float = 1.5


def _of_gateway(status: int, **more: Any) -> Fault:
    reason = http.client.responses[status].encode()
    return Fault(status=status, body=_GATEWAY % reason, **more)


# The faults that lie between a client and its server, by name.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        **{str(status): _of_gateway(status) for status in (401, 403, 408, 413, 500, 502, 503)},
        "404 HTML": _of_gateway(404),
        "404 JSON": Fault(
            status=404,
            body=b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}',
            media_type="application/json",
        ),
        "429": _of_gateway(429, headers={"Retry-After": "1"}),
        "504": _of_gateway(504, after=True),
        "closed before": Fault("close"),
        "closed after": Fault("close", after=True),
        "200 HTML": _of_gateway(200),
        "half an answer": Fault("half", after=True),
        "delayed": Fault("delay", after=True),
    }
)


@attrs.define
class Rule:
    """Which requests get a fault, and how long.

    Attributes:
        fault: What they get.
        where: Regular expression that is looked for in the request: a line such as
            `POST /api/runs?id=1`, unquoted, and below it the body.
        after: The server takes the request first.
        times: How many requests at most, or None.
        until: Monotonic time up to which it holds.
        skip: How many requests pass before.
        is_due: Tells whether the time has come, beside all else.
        met: How many requests it has met.
    """

    fault: Fault
    where: str
    after: bool
    times: int | None = None
    until: float = float("inf")
    skip: int = 0
    is_due: Callable[[], bool] = lambda: True
    met: int = 0

    def meets(self, request: str) -> bool:
        """Tell whether a request gets the fault.

        Args:
            request: Its line and its body.
        """
        is_over = time.monotonic() >= self.until
        is_over |= self.times is not None and self.met >= self.times
        if is_over or not self.is_due() or re.search(self.where, request) is None:
            return False
        self.skip -= 1
        return self.skip < 0


class FaultyProxy:
    """A reverse proxy on a free port of 127.0.0.1; use it as a context manager.

    Args:
        target: The server's address.

    Attributes:
        url: The proxy's address.
        passed: Each request that came, as its line and the status that the server gave; 0 where
            the server did not get it.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.passed: list[tuple[str, int]] = []
        self._rules: list[Rule] = []
        self._lock = Lock()
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

    def fault(
        self,
        fault: Fault,
        where: str = "",
        *,
        after: bool | None = None,
        times: int | None = None,
        seconds: float | None = None,
        skip: int = 0,
        is_due: Callable[[], bool] = lambda: True,
    ) -> Rule:
        """Ill-treat requests from now on, until `mend`.

        Args:
            fault: What they get, such as one of `FAULTS`.
            where: Regular expression that is looked for in `METHOD /path?query` and the body below
                it; every request by default. One that names a record meets that record alone.
            after: The server takes the request first; by default as the fault has it.
            times: So many requests at most.
            seconds: For so long at most.
            skip: So many requests pass before.
            is_due: Only while this is true.
        """
        until = float("inf") if seconds is None else time.monotonic() + seconds
        is_after = fault.after if after is None else after
        rule = Rule(fault, where, is_after, times, until, skip, is_due)
        with self._lock:
            self._rules.append(rule)
        return rule

    def mend(self) -> None:
        """Pass every request on again."""
        with self._lock:
            self._rules.clear()

    def rule_for(self, request: str) -> Rule | None:
        """Give the first rule that a request meets, which counts it.

        Args:
            request: Its line and its body.
        """
        with self._lock:
            rule = next((rule for rule in self._rules if rule.meets(request)), None)
            if rule is not None:
                rule.met += 1
            return rule


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
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, whole: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
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
