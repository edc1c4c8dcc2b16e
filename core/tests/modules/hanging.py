"""A flavor that hangs in one of its hooks until a file says that it may go on."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import ClassVar

from recorder import Recorder

from trackyard.contract import Capabilities, flavor, hookimpl


@flavor
class Hanging(Recorder):
    """Hang in a hook of the runs whose name begins with `stuck`, or in those of every run."""

    hook: str = "log"
    only_stuck: bool = False

    def note(self, hook, run, **more):
        self.directory.mkdir(parents=True, exist_ok=True)
        if hook == self.hook and (not self.only_stuck or run.name.startswith("stuck")):
            with (self.directory / "hung").open("a") as file:
                file.write(".")
            while not (self.directory / "go on").exists():
                time.sleep(0.02)
        super().note(hook, run, **more)


class HangingOneByOne(Hanging):
    """Can hold one run at a time."""

    capabilities: ClassVar[Capabilities] = Capabilities(concurrent_runs=False)


@flavor
class HangingUpload(Recorder):
    """Keeps its runs offline, and hangs when they are uploaded."""

    is_offline: ClassVar[bool] = True

    @hookimpl
    def tracker_sync_run(self, run):
        time.sleep(600)


@flavor
class HangingAround(Recorder):
    """Hang around the step, where its activation is entered or left."""

    hook: str = "enter"

    @hookimpl
    def tracker_activate_run(self, run):
        return self.active(run)

    @contextmanager
    def active(self, run):
        self.hang("enter", run)
        yield
        self.hang("leave", run)

    def hang(self, hook, run):
        self.note(hook, run)
        if hook == self.hook:
            time.sleep(600)
