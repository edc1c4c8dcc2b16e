"""Flavors that need a process of their own, for their tests or for good."""

from __future__ import annotations

import ctypes
import os
from typing import ClassVar

from recorder import Recorder

from trackyard.contract import Capabilities, flavor, hookimpl


class Shared(Recorder):
    """Several processes may write one of its runs."""

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True)


@flavor
class Deadly(Recorder):
    """Ends its process the first time that a hook is called."""

    hook: str = ""
    way: str = "exit"

    def note(self, hook, run, **more):
        done = self.directory / f"died-{hook}"
        if hook == self.hook and not done.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            done.touch()
            if self.way == "exit":
                os._exit(1)
            ctypes.string_at(0)
        super().note(hook, run, **more)


class Loud(Recorder):
    """Prints, as SDKs do."""

    @hookimpl
    def tracker_log(self, run, batch):
        print("loud on stdout", flush=True)
        os.write(2, b"loud on stderr\n")
        Recorder.tracker_log(self, run, batch)
