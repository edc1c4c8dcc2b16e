"""Flavors that go wrong when a call of their SDK fails in the middle of a hook, each one."""

from __future__ import annotations

import json
from contextlib import suppress

import attrs

from mutants.sdk import Board, SdkLedger
from trackyard.contract import flavor, hookimpl

_CALL, _WRITE = (
    "test_sdk_call_that_fails_loses_and_doubles_nothing",
    "test_write_that_fails_loses_and_doubles_nothing",
)


@flavor
class ForgivesTheSdk(SdkLedger):
    """What the SDK raises is written down nowhere."""

    caught_by = _CALL

    def add(self, run, lines):
        with suppress(Exception):
            super().add(run, lines)


@flavor
class ForgivesUploads(SdkLedger):
    """A file that the SDK has not kept is listed all the same."""

    caught_by = _CALL

    def keep(self, run, name, content):
        try:
            return super().keep(run, name, content)
        except (OSError, RuntimeError):
            return self.directory / run.id / name


@flavor
class NotesBeforeItCalls(SdkLedger):
    """A line is noted as given to the SDK before it is."""

    caught_by = _CALL

    _given: set[str] = attrs.field(init=False, factory=set)

    def add(self, run, lines):
        new = [line for line in lines if line not in self._given]
        self._given.update(new)
        super().add(run, new)


@flavor
class CallsAgainWithNewTimes(SdkLedger):
    """After an error it calls again by itself, with the time of that."""

    caught_by = _CALL

    def add(self, run, lines):
        try:
            super().add(run, lines)
        except RuntimeError:
            points = [json.loads(line) for line in lines]
            later = [[*p[:-1], p[-1] + 10**9] if p[0] == "metric" else p for p in points]
            super().add(run, [json.dumps(point) for point in later])


@flavor
class CountsPointsItself(SdkLedger):
    """Steps are counted by the flavor, and a call that failed has counted."""

    caught_by = _CALL

    _count: int = attrs.field(init=False, default=0)

    def add(self, run, lines):
        numbered = []
        for line in map(json.loads, lines):
            if line[0] == "metric" and line[3] is None:
                self._count += 1
                line[3] = -self._count
            numbered.append(json.dumps(line))
        super().add(run, numbered)


@flavor
class StartsAllTheSame(SdkLedger):
    """The tags of the start are a nicety."""

    caught_by = _CALL

    @hookimpl
    def tracker_start_run(self, run):
        with suppress(Exception):
            super().tracker_start_run(run)


@flavor
class EndsAllTheSame(SdkLedger):
    """An end that the SDK has not taken is taken for told."""

    caught_by = _CALL

    def end(self, run, status):
        with suppress(Exception):
            super().end(run, status)


@flavor
class ForgetsAFullDisk(SdkLedger):
    """Only errors of the system are forgiven."""

    caught_by = _CALL

    def add(self, run, lines):
        with suppress(OSError):
            super().add(run, lines)


@flavor
class ListsWhatIsNotMoved(SdkLedger):
    """A file that could not be moved to its place is listed by the name of its part."""

    caught_by = _WRITE

    def keep(self, run, name, content):
        part = self.directory / run.id / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        target = part.with_suffix("")
        if not target.exists() and not part.exists():
            part.write_bytes(content)
            part.rename(target)
        return target


@flavor
class GivesUpTheSdk(SdkLedger):
    """After one error nothing more is given to the SDK in this process."""

    caught_by = _CALL

    _is_broken: bool = attrs.field(init=False, default=False)

    def add(self, run, lines):
        if self._is_broken:
            return
        self._is_broken = True
        Board(self.directory).add(f"{run.id}.jsonl", lines)
        self._is_broken = False
