"""How do runs reach their trackers that their own process did not deliver, and when is it enough?

Each tracker has a worker here as it has beside a step, so that none waits for another, and a hook
that hangs or crashes harms nothing but itself.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Run
from trackyard.delivery.reports import TrackerReport, report_of
from trackyard.delivery.stages import Stage
from trackyard.delivery.state import DeliveryState, load_state, save_state
from trackyard.delivery.workers import Delivery, Worker, worker_for
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.managers import NamedPlugins
from trackyard.journal.descriptions import RunDescription, TrackerDescription, run_for
from trackyard.journal.ending import last_sequences
from trackyard.journal.reader import JournalReader
from trackyard.project.configuration import Project
from trackyard.project.trackers import Trackers
from trackyard.recovery.trusting import tracker_for
from trackyard.system.conditions import Event

logger = logging.getLogger("trackyard")

# So many runs of a tracker are open at a time: each holds a lock.
_MOST_RUNS = 20
_LOOK_EVERY = 0.05


@attrs.frozen
class Limits:
    """How long it may take, and where hooks run.

    Attributes:
        patience: Seconds to go on after a tracker has failed, with nothing delivered since.
        timeout: Seconds for each tracker at most, or None.
        isolates: Have a process for each tracker unless the configuration says otherwise.
    """

    patience: float = 10.0
    timeout: float | None = None
    isolates: bool = False


@attrs.define(eq=False)
class Owed:
    """What one tracker lacks of one run.

    Attributes:
        run: The run's description.
        tracker: The tracker's.
        folder: The tracker's folder of the run.
        before: How the run stood there at first.
        report: How it stands in the end.
    """

    run: RunDescription
    tracker: TrackerDescription
    folder: Path
    before: TrackerReport
    report: TrackerReport | None = None
    delivery: Delivery | None = None

    @classmethod
    def of(cls, run: RunDescription, tracker: TrackerDescription, run_folder: Path) -> Owed:
        """Look at what a tracker lacks.

        Args:
            run: The run's description.
            tracker: That of the tracker.
            run_folder: The run's folder.
        """
        folder = run_folder / tracker.folder
        state = load_state(folder)
        if not state.is_ended:
            _forget_what_is_gone(state, folder)
        before = report_of(tracker.name, state, folder)
        return cls(run, tracker, folder, before, before if before.is_complete else None)

    def now(self) -> TrackerReport:
        """Say how it stands, without reading the journal once more."""
        if self.report is not None or self.delivery is None:
            return self.report or self.before
        delivery, before = self.delivery, self.before
        delivered = delivery.delivered
        return attrs.evolve(
            before,
            delivered=max(delivered, before.delivered),
            pending=max(0, before.pending - max(0, delivered - before.delivered)),
            problem=delivery.problem,
        )


class CatchingUp:
    """Delivers to one tracker what it is owed.

    Args:
        name: The tracker's name.
        project: The project.
        trackers: Its trackers.
        plugins: Cross-cutting plugins.
        limits: How long it may take.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        trackers: Trackers,
        plugins: NamedPlugins,
        limits: Limits,
    ) -> None:
        self.name = name
        self.owed: list[Owed] = []
        self._project = project
        self._trackers = trackers
        self._plugins = plugins
        self._limits = limits
        self._begun = time.monotonic()
        self._has_home = project.home.is_dir()  # a colleague who looks at runs of others may not
        self._worker: Worker | None = None
        self._waiting: deque[Owed] = deque()
        self._open: list[Owed] = []
        self._failing_since: float | None = None
        self._progress = 0

    def add(self, owed: Owed) -> None:
        """Deliver this too."""
        self.owed.append(owed)
        if owed.report is None:
            self._waiting.append(owed)

    def is_done(self) -> bool:
        """Go on; tell whether everything is delivered, or it was given up."""
        while self._waiting and len(self._open) < _MOST_RUNS:
            self._begin(self._waiting.popleft())
        for owed in list(self._open):
            assert owed.delivery is not None
            stage = owed.delivery.progress.stage
            if stage.is_final or stage is Stage.LEFT:  # somebody has resumed the run
                self._settle(owed, owed.delivery.report())
        if not self._open:
            return not self._waiting
        if self._worker is not None:
            self._worker.look_after()
        if self._is_enough():
            self._give_up()
        return not self._open and not self._waiting

    def close(self) -> None:
        """End the worker, whatever it does."""
        if self._worker is not None:
            self._worker.stop()
        for owed in self._open:
            assert owed.delivery is not None
            owed.delivery.close()

    def _begin(self, owed: Owed) -> None:
        description = owed.tracker
        try:
            built = tracker_for(owed.run, description, self._project, self._trackers)
            hooks = TrackerHooks.of(built, self._plugins)
        except TrackyardError as error:
            owed.report = attrs.evolve(owed.before, problem=str(error))
            return
        run_folder = owed.folder.parent
        run: Run = attrs.evolve(run_for(owed.run, description, run_folder), attached=True)
        if self._worker is None:
            self._worker = worker_for(
                built, self._project, is_attached=True, isolates=self._limits.isolates
            )
        owed.delivery = self._worker.carry(hooks, run, built.options)
        owed.delivery.hurry()
        self._open.append(owed)

    def _is_enough(self) -> bool:
        """Tell whether the tracker has failed for too long, with nothing delivered since."""
        limits, now = self._limits, time.monotonic()
        if limits.timeout is not None and now >= self._begun + limits.timeout:
            return True
        if self._has_home and not self._project.home.is_dir():
            return True  # somebody has deleted it, or moved it: nothing can be noted there
        deliveries = [owed.delivery for owed in self._open if owed.delivery is not None]
        progress = sum(owed.now().delivered for owed in self.owed)
        progress += sum(owed.report is not None for owed in self.owed)
        problem = any(delivery.problem for delivery in deliveries)
        if progress != self._progress:
            self._progress, self._failing_since = progress, None
        # A try that is under way bears no problem yet: patience goes on from the first failure.
        if not problem:
            return False
        self._failing_since = self._failing_since or now
        return now >= self._failing_since + limits.patience

    def _give_up(self) -> None:
        problems = (o.delivery.problem for o in self._open if o.delivery and o.delivery.problem)
        problem = next(problems, "out of time")
        self.close()
        for owed in list(self._open):
            assert owed.delivery is not None
            report = owed.delivery.report()
            self._settle(owed, attrs.evolve(report, problem=report.problem or problem))
        for owed in self._waiting:
            owed.report = attrs.evolve(owed.before, problem=problem)
        self._waiting.clear()
        self._worker = None

    def _settle(self, owed: Owed, report: TrackerReport) -> None:
        owed.report = report
        self._open.remove(owed)


def catch_up(
    all_owed: list[Owed],
    project: Project,
    plugins: NamedPlugins,
    limits: Limits,
    progress: Callable[[list[Owed]], None] | None = None,
) -> None:
    """Deliver what trackers are owed, to all of them side by side; reports are kept in it.

    Args:
        all_owed: What is owed, the oldest run first.
        project: The project.
        plugins: Cross-cutting plugins.
        limits: How long it may take.
        progress: Called a few times a second.
    """
    trackers = Trackers(project)
    workers: dict[str, CatchingUp] = {}
    for owed in all_owed:
        name = owed.tracker.name
        if name not in workers:
            workers[name] = CatchingUp(name, project, trackers, plugins, limits)
        workers[name].add(owed)
    pause = Event()
    try:
        while [worker for worker in workers.values() if not worker.is_done()]:
            if progress is not None:
                progress(all_owed)
            pause.wait(_LOOK_EVERY)
        if progress is not None:
            progress(all_owed)
    finally:
        for worker in workers.values():
            worker.close()


def _forget_what_is_gone(state: DeliveryState, folder: Path) -> None:
    """Take a cursor back that is ahead of a journal that was cut: the end would never be read."""
    written = last_sequences(folder.parent)
    if all(last <= written.get(name, -1) for name, last in state.cursor.items()):
        return
    reader = JournalReader(folder.parent)
    while entries := reader.read(1000):
        written.update(position for position, _ in entries)
    ahead = [name for name, last in state.cursor.items() if last > written.get(name, -1)]
    if ahead:
        for name in ahead:
            del state.cursor[name]
        save_state(folder, state)
