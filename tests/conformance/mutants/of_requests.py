"""Flavors that go wrong when a request or a write fails in the middle of a hook, each one."""

from __future__ import annotations

import json
import urllib.error
from contextlib import suppress
from typing import Any

import attrs

from mutants.ledger import Ledger
from mutants.remote import RemoteLedger
from trackyard.contract import RejectedRecords, RetryLater, RunDeleted, flavor, hookimpl

_STORM, _WRITE = (
    "test_storm_loses_and_doubles_nothing",
    "test_write_that_fails_loses_and_doubles_nothing",
)


@flavor
class SwallowsErrors(RemoteLedger):
    """An error of the server's is logged by nobody, and the batch taken for sent."""

    caught_by = _STORM
    where = "log and 503"

    def send(self, run, lines):
        with suppress(OSError, ValueError):
            super().send(run, lines)


@flavor
class SwallowsErrorsOfUploads(RemoteLedger):
    """A file whose upload failed is listed all the same."""

    caught_by = _STORM
    where = "artifact and closes"

    def request(self, run, method, what, name="", content=None):
        try:
            return super().request(run, method, what, name, content)
        except OSError:
            if method != "PUT":
                raise
            return b""


@flavor
class TakesAPageForAnAnswer(RemoteLedger):
    """A page to log in, which something in between has given, is taken for an empty answer."""

    caught_by = _STORM
    where = "log and page"

    def request(self, run, method, what, name="", content=None):
        try:
            return super().request(run, method, what, name, content)
        except json.JSONDecodeError:
            return b"{}"


@flavor
class TakesEveryAnswer(RemoteLedger):
    """The status of an answer is not looked at."""

    caught_by = _STORM
    where = "log and 503"

    def request(self, run, method, what, name="", content=None):
        try:
            return super().request(run, method, what, name, content)
        except urllib.error.HTTPError:
            return b"{}"


@flavor
class RetriesWithNewTimes(RemoteLedger):
    """After an error it sends the batch again by itself, with the time of that."""

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
class KeepsWhatComesTwice(RemoteLedger):
    """Points have no identity, and sending a batch twice is declared to change nothing."""

    caught_by = _STORM
    where = "log and takes"

    def place(self, number, *point):
        return "metric", number


@flavor
class MarksAsSentBefore(RemoteLedger):
    """Lines are noted as sent before they are, and left out when the batch comes again."""

    caught_by = _STORM
    where = "log and closes"

    _sent: set[str] = attrs.field(init=False, factory=set)

    def send(self, run, lines):
        new = [line for line in lines if line not in self._sent]
        self._sent.update(new)
        super().send(run, new)


@flavor
class ForgetsTheSecondHalf(RemoteLedger):
    """A large batch is sent in two, and after an error of the first the second is left out."""

    caught_by = _STORM
    where = "log and closes"

    def send(self, run, lines):
        middle = len(lines) // 2
        try:
            super().send(run, lines[:middle])
        except OSError:
            super().send(run, lines[:middle])
            return
        super().send(run, lines[middle:])


@flavor
class GivesUp(RemoteLedger):
    """After one error nothing more is sent in this process."""

    caught_by = _STORM
    where = "log and closes"

    _is_broken: bool = attrs.field(init=False, default=False)

    def send(self, run, lines):
        if self._is_broken:
            return
        self._is_broken = True
        super().send(run, lines)
        self._is_broken = False


@flavor
class RefusesForTheServer(RemoteLedger):
    """A server that is away is said to refuse the records for ever."""

    caught_by = _STORM
    where = "log and 503"

    @hookimpl
    def tracker_log(self, run, batch):
        try:
            super().tracker_log(run, batch)
        except OSError as error:
            records = [*batch.metrics, *batch.params, *batch.tags, *batch.artifacts]
            raise RejectedRecords(records, str(error)) from error


@flavor
class RefusesWithoutItsSecret(RemoteLedger):
    """A secret that is refused for a while loses what is sent meanwhile."""

    caught_by = _STORM
    where = "log and 401"

    @hookimpl
    def tracker_log(self, run, batch):
        try:
            super().tracker_log(run, batch)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                records = [*batch.metrics, *batch.params, *batch.tags, *batch.artifacts]
                raise RejectedRecords(records, str(error)) from error
            raise


@flavor
class TakesAny404ForADeletion(RemoteLedger):
    """A gateway that knows no way to the server is said to know that the run was deleted."""

    caught_by = _STORM
    where = "log and 404"

    def request(self, run, method, what, name="", content=None):
        try:
            return super().request(run, method, what, name, content)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise RunDeleted(str(error)) from error
            raise


@flavor
class EndsInSilence(RemoteLedger):
    """An end that does not reach the server is taken for told."""

    caught_by = _STORM
    where = "end and 503"

    def end(self, run, status):
        with suppress(OSError):
            super().end(run, status)


@flavor
class StartsInSilence(RemoteLedger):
    """A start that does not reach the server is taken for done, and its tags are lost."""

    caught_by = _STORM
    where = "start and closes"

    @hookimpl
    def tracker_start_run(self, run):
        with suppress(OSError):
            super().tracker_start_run(run)


@flavor
class SwallowsWriteErrors(Ledger):
    """A full disk is nobody's business."""

    caught_by = _WRITE

    def write(self, run, *lines):
        with suppress(OSError):
            super().write(run, *lines)


@flavor
class NotesBeforeItWrites(Ledger):
    """A line is noted as written before it is."""

    caught_by = _WRITE

    _written: set[str] = attrs.field(init=False, factory=set)

    def write(self, run, *lines):
        new = [line for line in lines if repr(line) not in self._written]
        self._written.update(map(repr, new))
        super().write(run, *new)


@flavor
class GoesOnInATornLine(Ledger):
    """What comes after a line that was cut off is a part of it."""

    caught_by = _WRITE

    def write(self, run, *lines):
        with self.path(run).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))


@flavor
class KeepsHalfAFile(Ledger):
    """A file that is there is whole, it thinks."""

    caught_by = _WRITE

    def kept(self, run: Any, batch: Any) -> Any:
        for artifact in batch.artifacts:
            digest = f"{artifact.timestamp}-{artifact.path.name}"
            target = self.directory / run.id / digest
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.write_bytes(artifact.path.read_bytes())
            yield "artifact", artifact.name, str(target)


@flavor
class TakesItsTokenElsewhere(RemoteLedger):
    """A redirect is followed, with the token in the request's head."""

    caught_by = "test_redirect_takes_no_secret_along"
    where = "redirect"

    def authorize(self, request, text):
        request.add_header("Authorization", text)


@flavor
class TakesARefusalForAnOutage(RemoteLedger):
    """Whatever the server answers, it is asked again: also where it will never take a record."""

    caught_by = "test_what_is_refused_does_not_wait_for_ever"
    where = "refused"

    def request(self, run, method, what, name="", content=None):
        try:
            return super().request(run, method, what, name, content)
        except urllib.error.HTTPError as error:
            raise RetryLater(str(error)) from error


@flavor
class IgnoresRetryAfter(RemoteLedger):
    """A busy server is asked again when core likes: the answer's header is thrown away."""

    caught_by = "test_retry_after_is_passed_on"
    where = "test"

    def request(self, *asked, **more):
        try:
            return super().request(*asked, **more)
        except urllib.error.HTTPError as error:
            if error.code == 429:
                raise RetryLater(str(error)) from None
            raise


@flavor
class TakesTooLargeForAway(RemoteLedger):
    """A batch that is too large is sent again as it is, until somebody looks."""

    caught_by = "test_request_that_is_too_large_is_named_so"
    where = "test"

    def request(self, *asked, **more):
        try:
            return super().request(*asked, **more)
        except urllib.error.HTTPError as error:
            if error.code == 413:
                raise RetryLater(str(error)) from None
            raise
