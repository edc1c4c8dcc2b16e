"""Recorders that obey orders given as files, and that are idempotent in each of the ways."""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

from recorder import Recorder

from trackyard.contract import Capabilities, RetryLater, flavor, hookimpl


class Counting(Recorder):
    """Note each call that is tried; `down`, `HOOK down`, `busy`, `most` are files with orders."""

    def note(self, hook, run, **more):
        self.obey(hook, len(more.get("metrics", ())))
        super().note(hook, run, **more)

    def obey(self, hook, size):
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "tried").open("a") as file:
            print(time.monotonic(), file=file)
        if (self.directory / "down").exists() or (self.directory / f"{hook} down").exists():
            raise ConnectionRefusedError("the server is down")
        if (busy := self.directory / "busy").exists():
            raise RetryLater("429", after=float(busy.read_text()))
        most = self.directory / "most"
        if most.exists() and size > int(most.read_text()):
            raise RuntimeError("413 payload too large")


@flavor
class AlwaysRaising(Recorder):
    """Raise for every batch, or for the first ones."""

    times: int = 1_000_000

    @hookimpl
    def tracker_log(self, run, batch):
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "raised").open("a") as file:
            file.write(".")
        if (self.directory / "raised").stat().st_size <= self.times:
            raise RuntimeError("odd")
        super().tracker_log(run, batch)


class Losing(Counting):
    """Take batches and lose the answers: to the first two, or by the order `lose`; or die."""

    def lose(self):
        for word, way in (("lose", self.raise_error), ("die", self.die)):
            order = self.directory / word
            if order.exists():
                left = int(order.read_text() or 2) - 1
                order.write_text(str(left))
                if left == 0 or word == "lose":
                    if left == 0:
                        order.unlink()
                    way()

    def raise_error(self):
        raise ConnectionResetError("the answer is lost")

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Cursor(Losing):
    """Keep a cursor with each batch."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotence="cursor", largest_batch=20, shared_runs=True
    )

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        cursor = self.directory / f"cursor-{run.id}"
        return int(cursor.read_text()) if cursor.exists() else None

    @hookimpl
    def tracker_log(self, run, batch):
        super().tracker_log(run, batch)
        (self.directory / f"cursor-{run.id}").write_text(str(batch.last_sequence))
        self.lose()


class AtTheEnd(Losing):
    """Keep nothing before the end."""

    capabilities: ClassVar[Capabilities] = Capabilities(acknowledges="end")


class Rebuilt(Losing):
    """Cannot tell what it has."""

    capabilities: ClassVar[Capabilities] = Capabilities(idempotence="rebuild")

    @hookimpl
    def tracker_log(self, run, batch):
        super().tracker_log(run, batch)
        self.lose()
