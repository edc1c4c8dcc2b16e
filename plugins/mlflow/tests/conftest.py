"""What do the flavor's tests share: runs as a tracker gets them, and a door before a server?"""

from __future__ import annotations

import base64
import http.client
import json
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
        sign_in: Client id and secret of OAuth, as Databricks does it, and the token for them.
    """

    daemon_threads = True

    def __init__(
        self,
        target: str,
        credentials: str | None = None,
        refuse: Callable[[str, str], int | None] = lambda method, path: None,
        sign_in: tuple[str, str, str] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _DoorHandler)
        self.target = urlsplit(target).netloc
        self.credentials = credentials
        self.refuse = refuse
        self.sign_in = sign_in
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[str | None] = []
        self.asked: list[str] = []


class _DoorHandler(BaseHTTPRequestHandler):
    server: Door

    def answer(self) -> None:
        shown = self.headers.get("Authorization")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.sign_in is not None and not self.path.startswith("/api/"):
            self.answer_sign_in(self.server.sign_in, shown)
            return
        self.server.seen.append(shown)
        self.server.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        status = self.server.refuse(self.command, self.path)
        if self.server.credentials is not None and shown != self.server.credentials:
            status = 401
        if status is not None:
            self.send(status, "text/plain", b"not now")
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        # By these MLflow says of a trace where it belongs.
        headers |= {k: v for k, v in self.headers.items() if k.lower().startswith("x-mlflow")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        self.send(answer.status, answer.headers["Content-Type"] or "text/plain", answer.read())
        connection.close()

    def answer_sign_in(self, sign_in: tuple[str, str, str], shown: str | None) -> None:
        user, password, token = sign_in
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        place = f"{self.server.url}/oidc"
        if self.path == "/.well-known/databricks-config":
            found = {"oidc_endpoint": place, "workspace_id": "1"}
        elif self.path.endswith("/oauth-authorization-server"):
            found = {
                "authorization_endpoint": f"{place}/authorize",
                "token_endpoint": f"{place}/v1/token",
            }
        elif self.path == "/oidc/v1/token" and shown == expected:
            found = {"access_token": token, "token_type": "Bearer", "expires_in": "3600"}
        else:
            self.send(404, "text/plain", b"")
            return
        self.send(200, "application/json", json.dumps(found).encode())

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
