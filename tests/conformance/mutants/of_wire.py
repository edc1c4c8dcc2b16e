"""Flavors that go wrong when a connection breaks that does not speak HTTP, each one."""

from __future__ import annotations

import json
from contextlib import suppress

import attrs

from mutants.wire import WireLedger
from trackyard.contract import flavor

_STORM = "test_storm_loses_and_doubles_nothing"


@flavor
class TakesSilenceForDone(WireLedger):
    """A server that hangs up has nothing to say, it thinks."""

    caught_by = _STORM
    where = "log and closes"

    def exchange(self, message, timeout):
        try:
            return super().exchange(message, timeout)
        except ConnectionError:
            self.hang_up()
            return b"{}"


@flavor
class ReadsNoAnswers(WireLedger):
    """Points are sent, and nobody looks whether they have arrived."""

    caught_by = _STORM
    where = "log and half"

    def exchange(self, message, timeout):
        if b'"POST"' not in message:
            return super().exchange(message, timeout)
        with suppress(ValueError, OSError):
            super().exchange(message, timeout)
        return b"{}"


@flavor
class SendsAgainWithNewTimes(WireLedger):
    """After a broken connection it sends the batch again by itself, with the time of that."""

    caught_by = _STORM
    where = "log and takes"

    def send(self, run, lines):
        try:
            super().send(run, lines)
        except OSError:
            points = [json.loads(line) for line in lines]
            later = [[*p[:-1], p[-1] + 10**9] if p[0] == "metric" else p for p in points]
            super().send(run, [json.dumps(point) for point in later])


@flavor
class DropsItsQueue(WireLedger):
    """Lines wait in a queue, which a broken connection empties."""

    caught_by = _STORM
    where = "log and closes"

    _queue: list[str] = attrs.field(init=False, factory=list)

    def send(self, run, lines):
        self._queue.extend(line for line in lines if line not in self._queue)
        queue, self._queue = self._queue, []
        for line in queue:
            with suppress(OSError):
                super().send(run, [line])
