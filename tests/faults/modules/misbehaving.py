"""A tracker that does harm in one of its hooks, in the way that its configuration names."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

import attrs
from ledger import Ledger

from trackyard import current_run
from trackyard.contract import flavor, hookimpl


class Unpicklable:
    """Cannot be pickled, compared or shown."""

    def __reduce__(self):
        raise TypeError("cannot be pickled")

    def __repr__(self):
        raise RuntimeError("cannot be shown")

    __str__ = __repr__


def spin() -> None:
    while True:
        pass


def raise_(error: BaseException) -> None:
    raise error


WAYS = {
    "exception": lambda: raise_(RuntimeError("broken")),
    "BaseException": lambda: raise_(BaseException("broken")),
    "KeyboardInterrupt": lambda: raise_(KeyboardInterrupt()),
    "SystemExit": lambda: raise_(SystemExit(3)),
    "GeneratorExit": lambda: raise_(GeneratorExit()),
    "odd exception": lambda: raise_(type("Odd", (Exception,), {"__str__": lambda _: 1 / 0})()),
    "sleep": lambda: time.sleep(600),
    "spin": spin,
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "text": lambda: "text",
    "huge": lambda: "x" * 10_000_000,
    "unpicklable": Unpicklable,
    "recursion": lambda: current_run().log_metric("from inside", 1),
    "leave": lambda: os.chdir("/"),
}


@flavor
class Misbehaving(Ledger):
    """Do harm before or after the work of a hook, each time or once."""

    hook: str = "log"
    way: str = "exception"
    after: bool = False
    times: int = 1_000_000

    def harm(self, hook: str, *, after: bool = False) -> Any:
        if hook != self.hook or after != self.after:
            return None
        count = self.database.with_name(f"harm-{hook}")
        with count.open("a") as file:
            file.write(".")
        return WAYS[self.way]() if count.stat().st_size <= self.times else None

    @hookimpl
    def tracker_start_run(self, run):
        harm = self.harm("start")
        super().tracker_start_run(run)
        return self.harm("start", after=True) or harm

    @hookimpl
    def tracker_url(self, run):
        return self.harm("url") or super().tracker_url(run)

    @hookimpl
    def tracker_activate_run(self, run):
        return self.harm("activate")

    @hookimpl
    def tracker_log(self, run, batch):
        harm = self.harm("log")
        super().tracker_log(run, batch)
        return self.harm("log", after=True) or harm

    @hookimpl
    def tracker_end_run(self, run):
        harm = self.harm("end")
        super().tracker_end_run(run)
        return self.harm("end", after=True) or harm

    @hookimpl
    def tracker_fail_run(self, run, failure):
        harm = self.harm("fail")
        super().tracker_fail_run(run, failure)
        return self.harm("fail", after=True) or harm


@flavor
class Spoiling(Ledger):
    """Change what it is given, as far as Python lets it."""

    @hookimpl
    def tracker_log(self, run, batch):
        for record in (*batch.metrics, *batch.params, *batch.tags):
            try:
                record.value = "spoilt"
            except attrs.exceptions.FrozenInstanceError:
                object.__setattr__(record, "value", "spoilt")
        super().tracker_log(run, batch)
