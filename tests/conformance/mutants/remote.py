"""A correct flavor on a server: the twin of every mutant that is wrong about requests."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recording_server import Answer, RecordingServer

from mutants.ledger import Ledger
from trackyard.contract import Record, Run, flavor, hookimpl, option


class LedgerServer(RecordingServer):
    """Keeps the lines of each run, and its files."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, list[str]] = {}
        self.files: dict[str, bytes] = {}

    def answer(self, request: Any) -> Answer:
        """Take lines or a file, or give them."""
        _, what, run, *_ = [*request.path.split("/"), ""]
        if what == "files" and request.method == "PUT":
            self.files[request.path] = request.body
        elif what == "files":
            return Answer(self.files[request.path], 200, "application/octet-stream")
        elif request.method == "DELETE":
            self.lines.pop(run, None)
        elif request.method == "POST":
            self.lines.setdefault(run, []).extend(request.json["lines"])
        return Answer.of_json({"lines": self.lines.get(run, [])})


@flavor
class RemoteLedger(Ledger):
    """Keep each run on a server, by requests of its own."""

    server: str = option("Server that keeps the runs")

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write(run, *(("tag", k, v) for k, v in {**run.tags, **run.identity_tags}.items()))

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        lines = json.loads(self.request(run, "GET", "runs"))["lines"]
        self.path(run).write_text("\n".join(lines), encoding="utf-8")
        for number, line in enumerate(lines):
            kind, name, *_ = json.loads(line)
            if kind == "artifact":
                target = self.directory / run.id / str(number) / Path(name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.request(run, "GET", "files", name))
                lines[number] = json.dumps((kind, name, str(target)))
        self.path(run).write_text("\n".join(lines), encoding="utf-8")
        yield from super().tracker_read_run(run)

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        self.request(run, "DELETE", "runs")

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        return f"{self.server}/runs/{run.id}"

    def write(self, run: Run, *lines: tuple[Any, ...]) -> None:
        self.send(run, [json.dumps(line) for line in lines])

    def send(self, run: Run, lines: list[str]) -> None:
        """Send lines; what comes again takes the place of what is there."""
        self.request(run, "POST", "runs", content=json.dumps({"lines": lines}).encode())

    def kept(self, run: Run, batch: Any) -> Iterator[tuple[Any, ...]]:
        for artifact in batch.artifacts:
            self.request(run, "PUT", "files", artifact.name, artifact.path.read_bytes())
            yield "artifact", artifact.name, ""

    def authorize(self, request: urllib.request.Request, text: str) -> None:
        """Add what lets a request in, and goes along to no other server."""
        request.add_unredirected_header("Authorization", text)

    def request(
        self, run: Run, method: str, what: str, name: str = "", content: bytes | None = None
    ) -> bytes:
        """Send one request, and give the answer's body."""
        encoded = base64.urlsafe_b64encode(name.encode()).decode()
        url = f"{self.server}/{what}/{run.id}/{quote(encoded)}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, content, headers, method=method)
        if self.token is not None:
            self.authorize(request, f"Bearer {self.token.reveal()}")
        try:
            with urllib.request.urlopen(request, timeout=run.deadline / 2) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:  # core knows what its status and its body mean
            with error:
                body = io.BytesIO(error.read())
            raise urllib.error.HTTPError(url, error.code, error.msg, error.headers, body) from None
        if what == "runs" or method == "PUT":
            json.loads(body)  # a gateway's page is no answer
        return body
