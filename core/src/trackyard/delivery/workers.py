"""What may one ask of a tracker's worker, be it a thread or a process, and which does it get?"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Protocol

from trackyard.contract.records import Capabilities, Run
from trackyard.delivery.breaker import breaker_of
from trackyard.delivery.process import WorkerProcess, worker_process
from trackyard.delivery.stages import Progress
from trackyard.delivery.thread import WorkerThread
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import folder_name, is_portable

if TYPE_CHECKING:
    from trackyard.delivery.reports import TrackerReport
    from trackyard.project.configuration import Project
    from trackyard.project.stacks import TrackerOptions
    from trackyard.project.trackers import Tracker

logger = logging.getLogger("trackyard")


class Delivery(Protocol):
    """One run on its way to one tracker, whoever carries it."""

    @property
    def hooks(self) -> TrackerHooks:
        """The tracker's hooks in this process, for the activation."""

    @property
    def capabilities(self) -> Capabilities:
        """What the tracker's backend can hold."""

    @property
    def run(self) -> Run:
        """The run as the next hook gets it."""

    @property
    def progress(self) -> Progress:
        """How far it has come."""

    @property
    def url(self) -> str | None:
        """The run's address, as soon as it is known."""

    @property
    def delivered(self) -> int:
        """The number of records that the tracker has taken."""

    @property
    def problem(self) -> str:
        """The last error as one line, or an empty text."""

    def hurry(self) -> None:
        """Do the next thing as soon as the backend allows: the run has ended, someone waits."""

    def close(self) -> None:
        """Wait for it no more: this process has done with it."""

    def report(self, most: int | None = None) -> TrackerReport:
        """Say how the run stands on this tracker now.

        Args:
            most: As in `report_of`.
        """


class Worker(Protocol):
    """What serves the runs of one tracker, one hook at a time."""

    def carry(self, hooks: TrackerHooks, run: Run, options: TrackerOptions) -> Delivery:
        """Serve one more run.

        Args:
            hooks: The tracker's hooks.
            run: The run, with a folder of this tracker's own.
            options: How long the tracker may take, and what it may cost.
        """

    def hurry(self) -> None:
        """Try a tracker that fails once more, as soon as the backend allows: someone waits."""

    def look_after(self) -> None:
        """Leave alone what hangs; called every now and then."""

    def close(self) -> None:
        """Serve this runner no more, as soon as no hook runs."""

    def stop(self) -> None:
        """End it for good, whatever it has not delivered; nobody waits for a hook."""


def worker_for(
    tracker: Tracker, project: Project, *, is_attached: bool = False, isolates: bool = False
) -> Worker:
    """Give a tracker's worker: a thread, or a process, by its `isolation` (see `TrackerOptions`).

    Args:
        tracker: The tracker.
        project: Where it is configured.
        is_attached: It continues runs of other processes, and shares nothing with this one's.
        isolates: With `auto` have a process, whatever the flavor's limits.
    """
    isolation: str = tracker.options.isolation
    if isolation == "auto":
        isolation = os.environ.get("TRACKYARD_ISOLATION") or "auto"
    is_wanted = isolates or tracker.capabilities.shared_runs
    wants_process = isolation == "process" or (isolation == "auto" and is_wanted)
    # A class of the user's own script, or a field that is an object, stays in this process.
    can_move = tracker.flavor.__module__ != "__main__" and is_portable(tracker.table)
    if not wants_process or not can_move:
        if isolation == "process":
            logger.warning("experiment tracker %r cannot move to a process", tracker.name)
        breaker = None if is_attached else breaker_of(project.root, tracker.name)
        return WorkerThread(tracker.name, breaker)
    logs, name = project.home / "workers", folder_name(tracker.name)
    if is_attached:
        log = logs / f"{name}.sync.log"
        return WorkerProcess(tracker.name, project.root, log, is_attached=True)
    return worker_process(tracker.name, project.root, logs / f"{name}.log")
