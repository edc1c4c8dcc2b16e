"""Which trackers, plugins and filters raise where they are told to?"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import attrs

from trackyard import (
    Failure,
    Metric,
    Run,
    flavor,
    hookimpl,
)
from trackyard.contract.records import Batch
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.filters import apply_filters, record_filters

RUN = Run(id="0" * 32, name="run", experiment="default", started_at=0, folder=Path("nowhere"))
FAILURE = Failure("failed", "ValueError")
METRIC = Metric("a", 1.0, None, 0)
BATCH = Batch.of((METRIC,), 0, 0)


class Crash(BaseException):
    """What no `except Exception` catches."""


class Silent(Exception):
    """An error without a text."""

    def __str__(self):
        raise RuntimeError


ERRORS = [ValueError("odd"), SystemExit(3), Crash("deep"), GeneratorExit(), Silent(), MemoryError()]


@flavor
class Raising:
    """Raises in one hook."""

    hook: str = ""
    error: BaseException = attrs.field(factory=ValueError)

    @hookimpl
    def tracker_start_run(self, run):
        return self.call("tracker_start_run")

    @hookimpl
    def tracker_url(self, run):
        return self.call("tracker_url", "https://tracker.test/run")

    @hookimpl
    def tracker_log(self, run, batch):
        return self.call("tracker_log")

    @hookimpl
    def tracker_end_run(self, run):
        return self.call("tracker_end_run")

    @hookimpl
    def tracker_fail_run(self, run, failure):
        return self.call("tracker_fail_run")

    @hookimpl
    def tracker_activate_run(self, run):
        return self.call("tracker_activate_run", self.active())

    @hookimpl
    def tracker_check(self):
        return self.call("tracker_check", ["no server"])

    @hookimpl
    def tracker_ui_command(self, host, port):
        return self.call("tracker_ui_command", ["serve", host, str(port)])

    @contextmanager
    def active(self):
        self.call("enter")
        try:
            yield "native"
        finally:
            self.call("leave")

    def call(self, hook, value=None):
        if hook == self.hook:
            raise self.error
        return value


def hooks_of(tracker, *plugins):
    return TrackerHooks(tracker, "local", [(f"plugin {i}", p) for i, p in enumerate(plugins)])


class Plugin:
    """A cross-cutting plugin that notes what it sees, and raises where it is told to."""

    def __init__(self, error=None, place="before"):
        self.seen = []
        self.error = error
        self.place = place

    def fail(self, place):
        if self.error is not None and place == self.place:
            raise self.error


class Plain(Plugin):
    @hookimpl
    def tracker_log(self, run, batch):
        self.seen.append("log")
        self.fail("before")
        return "ignored"


@flavor
class Counting:
    """Counts what it gets; raises where it is told to."""

    error: BaseException | None = None
    got: list = attrs.field(factory=list)

    @hookimpl
    def tracker_start_run(self, run):
        return None

    @hookimpl
    def tracker_log(self, run, batch):
        self.got.append(batch)
        if self.error is not None:
            raise self.error


def filtering(function):
    class Filter:
        @hookimpl
        def tracker_filter_records(self, run):
            return function

    return Filter()


def passed(*functions, record=METRIC):
    plugins = [(f"plugin {i}", filtering(f)) for i, f in enumerate(functions)]
    return apply_filters(record_filters(plugins, RUN), record)
