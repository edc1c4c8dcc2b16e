"""What do the flavor's tests share: runs as a tracker gets them, and a door before a server?"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from trackyard import Run


class Door(ThreadingHTTPServer):
    """An HTTP server before a real MLflow: it notes who comes and lets in who may.

    Args:
        target: URL of the MLflow server.
        credentials: The `Authorization` header that opens it; None for an open door.
        refuse: Gives for a method and path the status to refuse it with, or None.
    """

    daemon_threads = True

    def __init__(
        self,
        target: str,
        credentials: str | None = None,
        refuse: Callable[[str, str], int | None] = lambda method, path: None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _DoorHandler)
        self.target = urlsplit(target).netloc
        self.credentials = credentials
        self.refuse = refuse
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[str | None] = []


class _DoorHandler(BaseHTTPRequestHandler):
    server: Door

    def answer(self) -> None:
        shown = self.headers.get("Authorization")
        self.server.seen.append(shown)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.server.refuse(self.command, self.path)
        if self.server.credentials is not None and shown != self.server.credentials:
            status = 401
        if status is not None:
            self.send(status, "text/plain", b"not now")
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        self.send(answer.status, answer.headers["Content-Type"] or "text/plain", answer.read())
        connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def door(mlflow_server) -> Iterator[Callable[..., Door]]:
    """Give a function that opens a door to the real server."""
    doors: list[Door] = []

    def open_door(*arguments: Any, **options: Any) -> Door:
        doors.append(Door(mlflow_server.url, *arguments, **options))
        Thread(target=doors[-1].serve_forever, args=(0.05,), daemon=True).start()
        return doors[-1]

    yield open_door
    for opened in doors:
        opened.shutdown()
        opened.server_close()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Give a function that makes a run as core gives it to a tracker; it is always the same run."""

    def make(folder: str = "folder", **fields: Any) -> Run:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        fields = {"id": "0" * 31 + "1", "name": "made", "experiment": "made", **fields}
        return Run(started_at=time.time_ns(), folder=place, **fields)

    return make
