"""Trackers and a server that do not take what they get, as a test says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import ClassVar

from ledger import Ledger
from recording_server import Answer
from web import Web, WebServer

from trackyard import RetryLater, flavor, hookimpl
from trackyard.contract import classify_answer


class ClientError(Exception):
    """As botocore raises it, without the answer of requests."""

    __module__ = "botocore.exceptions"


@flavor
class Scripted(Web):
    """Raises what a test says, for batches that hold a key; `Web` otherwise."""

    raised: ClassVar[dict] = {}

    @hookimpl
    def tracker_start_run(self, run):
        if "start" in self.raised:
            raise self.raised["start"]
        Web.tracker_start_run(self, run)

    @hookimpl
    def tracker_log(self, run, batch):
        for metric in batch.metrics:
            if metric.key in self.raised:
                raise self.raised[metric.key]
        Web.tracker_log(self, run, batch)


@flavor
class Counting(Ledger):
    """Counts what it has, and answers an error when it has taken a certain record."""

    refuses: ClassVar[bool] = True
    steps: ClassVar[list] = []

    @hookimpl
    def tracker_log(self, run, batch):
        if self.refuses and any(metric.key == "special" for metric in batch.metrics):
            raise RetryLater("504")
        Ledger.tracker_log(self, run, batch)
        self.steps.extend(metric.step for metric in batch.metrics)


class Narrow(WebServer):
    """Takes few bytes at a time."""

    def answer(self, request):
        if len(request.body) > 200:
            return Answer(b"<html>413 Request Entity Too Large</html>", 413, "text/html")
        return super().answer(request)


@flavor
class Classifying(Web):
    """Says what its server's answers mean by the function that all flavors use."""

    def post(self, run, what, values):
        url = f"{self.server}/runs/{run.id}{what}"
        request = urllib.request.Request(url, json.dumps(values).encode())
        try:
            with urllib.request.urlopen(request, timeout=self.timeout):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise classify_answer(error.code, dict(error.headers), error.read()).error(url)
