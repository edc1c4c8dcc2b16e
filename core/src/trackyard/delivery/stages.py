"""How far has the delivery of one run to one tracker come, and how is that waited for?"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from trackyard.system.conditions import Condition


class Stage(Enum):
    """Where a delivery stands in this process."""

    NEW = "new"  # its start has not come back yet
    LATE = "late"  # its first start has failed, or was put off: it is tried again
    OPEN = "open"  # the SDK has the run open
    WAITING = "waiting"  # it has the end, and records that it has not taken are tried again
    SHUT = "shut"  # it had it open, and is asked to open it again
    ENDED = "ended"  # the tracker has the run's end and all that was written until then
    DELETED = "deleted"  # there, by somebody; a sync that is typed tries again
    LEFT = "left"  # to another process
    GIVEN_UP = "given up"  # a hook hangs in it, or in others before it

    @property
    def has_started(self) -> bool:
        """Tell whether the tracker has the run."""
        return self in (Stage.OPEN, Stage.WAITING, Stage.SHUT, Stage.ENDED)

    @property
    def is_open(self) -> bool:
        """Tell whether the SDK has the run open."""
        return self in (Stage.OPEN, Stage.WAITING)

    @property
    def is_final(self) -> bool:
        """Tell whether there is nothing to do by itself, whichever process does it."""
        return self in (Stage.ENDED, Stage.DELETED)

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more is done for it here."""
        return self in (Stage.ENDED, Stage.DELETED, Stage.LEFT, Stage.GIVEN_UP)


class Progress:
    """The stage of a delivery, which its worker changes and others wait for."""

    def __init__(self) -> None:
        self.stage = Stage.NEW
        self.retry_failed = False  # a try after the run's end
        self._changed = Condition()

    def move(self, stage: Stage) -> None:
        """Go to a stage, unless that would be a step back.

        What is over stays over, but that the end may still arrive; what has started is never new
        or late again.

        Args:
            stage: The stage.
        """
        with self._changed:
            now = self.stage
            is_back = stage in (Stage.NEW, Stage.LATE) and now.has_started
            reopens = now.is_over and stage is not Stage.ENDED
            is_worse = now is Stage.LEFT and stage is Stage.GIVEN_UP
            if not is_back and (not reopens or is_worse):
                self.stage = stage
                self._changed.notify_all()

    def until_settled(self, seconds: float) -> bool:
        """Wait until the first start has come back; True where it has."""
        return self._until(lambda stage: stage is not Stage.NEW, seconds)

    def until_started(self, seconds: float) -> bool:
        """Wait until the tracker has the run; True where it has."""
        return self._until(lambda stage: stage.has_started, seconds)

    def until_ended(self, seconds: float) -> bool:
        """Wait until the tracker has everything; True where it has."""
        return self._until(lambda stage: stage is Stage.ENDED, seconds)

    def until_done(self, seconds: float) -> bool:
        """Wait until the tracker has all that it takes now; True where it has.

        Args:
            seconds: How long at most.
        """
        return self._until(lambda stage: stage in (Stage.ENDED, Stage.WAITING), seconds)

    def _until(self, is_there: Callable[[Stage], bool], seconds: float) -> bool:
        """Wait for a stage; not for one that cannot come any more."""
        end = time.monotonic() + seconds
        with self._changed:
            while not is_there(self.stage) and not self.stage.is_over:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return is_there(self.stage)
