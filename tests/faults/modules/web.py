"""A tracker behind HTTP, as small as one can be, and the server that it talks to."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from time import time
from typing import ClassVar

from recording_server import Answer, RecordingServer

from trackyard.contract import (
    Capabilities,
    RejectedRecords,
    RetryLater,
    Secret,
    flavor,
    hookimpl,
    secret,
)


class WebServer(RecordingServer):
    """Keep runs; a record that comes twice, with the same number, is one."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, dict] = {}
        self.most = 10**6  # records in a batch

    def answer(self, request):
        _, _, id_, *what = request.path.split("/")
        run = self.runs.setdefault(id_, {"records": {}, "status": "running", "ends": 0})
        values = request.json
        if what == ["log"]:
            if len(values["records"]) > self.most:
                return Answer(b"too large", 413, "text/plain")
            if any(key.startswith("bad") for _, key, _ in values["records"]):
                return Answer(b"no such key", 400, "text/plain")
            run["records"].update({number: (k, v) for number, k, v in values["records"]})
        elif what == ["end"]:
            run["status"] = values["status"]
            run["ends"] += 1
        return Answer.of_json({"ok": True})

    def values(self):
        """Give the values of all records, by number."""
        (run,) = self.runs.values()
        return [value for _, (_, value) in sorted(run["records"].items())]

    def statuses(self):
        """Give the statuses of all runs."""
        return [run["status"] for run in self.runs.values()]


@flavor
class Web:
    """Send runs over HTTP."""

    server: str
    timeout: float = 1.0
    token: Secret | None = secret(help="Token.")

    capabilities: ClassVar[Capabilities] = Capabilities(largest_batch=100)

    @hookimpl
    def tracker_start_run(self, run):
        self.post(run, "", {"name": run.name})

    @hookimpl
    def tracker_url(self, run):
        return f"{self.server}/runs/{run.id}"

    @hookimpl
    def tracker_log(self, run, batch):
        numbers = range(batch.first_sequence, batch.last_sequence + 1)
        records = [(n, m.key, m.value) for n, m in zip(numbers, batch.metrics, strict=True)]
        self.post(run, "/log", {"records": records})

    @hookimpl
    def tracker_end_run(self, run):
        self.post(run, "/end", {"status": "finished"})

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.post(run, "/end", {"status": failure.status})

    def post(self, run, what, values):
        headers = {"Authorization": f"Bearer {self.token.reveal()}"} if self.token else {}
        url = f"{self.server}/runs/{run.id}{what}"
        request = urllib.request.Request(url, json.dumps(values).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                answered = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
            if error.code in (400, 413):
                raise ValueError(f"{error.code}: {text}") from None
            told = f" for {headers['Authorization']}" if headers else ""
            raise RetryLater(f"{error.code}{told}", after=seconds(error.headers)) from None
        except (OSError, ValueError) as error:  # no answer, or none that can be understood
            raise RetryLater(f"no answer: {error}") from error
        if not answered.get("ok"):
            raise RejectedRecords([], "refused")


def seconds(headers):
    """Read a `Retry-After`; None where there is none, or none that makes sense."""
    told = headers.get("Retry-After")
    if told is None:
        return None
    try:
        return float(told)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(told).timestamp() - time()
    except ValueError:
        return None
