"""Flavors of which a check finds something."""

from __future__ import annotations

import shutil
from threading import Event
from typing import ClassVar

from recorder import Recorder

from trackyard.contract import hookimpl


class Deleting(Recorder):
    """Can delete its runs."""

    notice: ClassVar[str] = "It is meant for tests."

    @hookimpl
    def tracker_delete_run(self, run):
        self.note("delete", run)


class Forgetful(Recorder):
    """Says that it cannot delete this run."""

    @hookimpl
    def tracker_delete_run(self, run):
        raise OSError("deleting is not allowed")


class Away(Recorder):
    """Its backend cannot be reached, and the message holds the secret."""

    @hookimpl
    def tracker_start_run(self, run):
        raise ConnectionError(f"no answer for {self.token.reveal()}")


class Deaf(Recorder):
    """Starts, and takes no records."""

    @hookimpl
    def tracker_log(self, run, batch):
        raise ValueError("it takes nothing")


class Troubled(Recorder):
    """Knows itself what is wrong."""

    @hookimpl
    def tracker_check(self):
        return ["the disk is full", "the key is old"]


class Stuck(Recorder):
    """Never returns from its start."""

    @hookimpl
    def tracker_start_run(self, run):
        self.note("start", run)
        Event().wait()


class Offline(Recorder):
    """Its SDK keeps runs on this machine."""

    is_offline: ClassVar[bool] = True

    @hookimpl
    def tracker_end_run(self, run):
        self.note("end", run)
        shutil.rmtree(run.folder)  # whatever a flavor does to its folder
