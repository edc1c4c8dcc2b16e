"""A recorder whose runs several processes may write, with faults on demand."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import attrs
from recorder import Recorder

from trackyard.contract import Capabilities, flavor, hookimpl


@flavor
class SharedRecorder(Recorder):
    """Write each call of a hook to a file; fail once, in the way that `fault` says."""

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True, nests=True)

    fault: str = ""
    anything: Any = None
    waits_for: Path | None = attrs.field(default=None)

    @hookimpl
    def tracker_log(self, run, batch):
        mark = self.directory / "fault"
        if self.fault not in ("", "refuse") and not mark.exists():
            mark.touch()
            if self.fault == "segfault":
                ctypes.string_at(0)
            if self.fault == "exit":
                os._exit(3)
            if self.fault == "hang":
                time.sleep(3600)
            if self.fault == "spin":
                while True:
                    pass
        if self.fault == "refuse" and any(m.key == "bad" for m in batch.metrics):
            raise ValueError("bad is refused")
        if self.waits_for is not None and not self.waits_for.exists():
            raise ConnectionError("not yet")
        super().tracker_log(run, batch)

    def note(self, hook, run, **more):
        super().note(hook, run, frozen=gc.get_freeze_count(), **more)
