"""How does a run go from its start to its end on its trackers, without ever hurting the step?"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from trackyard.config import Project
from trackyard.delivery.budgets import Budget
from trackyard.delivery.delivery import Delivery, TrackerReport
from trackyard.delivery.worker import Worker
from trackyard.descriptions import TrackerDescription, folder_name, save_description
from trackyard.dispatch import NamedPlugins, TrackerHooks, apply_filters, record_filters
from trackyard.errors import RequiredTrackerError
from trackyard.guarding import watch_over
from trackyard.identifiers import new_id
from trackyard.interruption import Terminated
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
from trackyard.pending import mark_as_complete, mark_as_pending
from trackyard.plugins import load_plugins
from trackyard.records import Artifact, Failure, Metric, Param, ParamValue, Record, Run, Tag
from trackyard.redaction import Redactor
from trackyard.trackers import Tracker

logger = logging.getLogger("trackyard")

_RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


def is_disabled() -> bool:
    """Tell whether `TRACKYARD_DISABLE` switches tracking off altogether."""
    return os.environ.get("TRACKYARD_DISABLE", "") not in ("", "0")


def process_rank() -> int:
    """Give this process's rank under torchrun, SLURM or MPI; 0 elsewhere."""
    values = (os.environ.get(name, "") for name in _RANK_VARIABLES)
    return next((int(value) for value in values if value.isdigit()), 0)


class TrackedRun:
    """One run with its journal and its trackers.

    Args:
        run: The run; each tracker gets it with a folder of its own.
        folder: The run's folder, which holds those.
        plugins: Cross-cutting plugins.
        redactor: Keeps secrets out of what is written down.
    """

    def __init__(self, run: Run, folder: Path, plugins: NamedPlugins, redactor: Redactor) -> None:
        self.run = run
        self.folder = folder
        self.redactor = redactor
        self.deliveries: dict[str, Delivery] = {}
        self.native_runs: dict[str, object] = {}
        self.last_metrics: dict[str, float] = {}
        self._journal = JournalWriter(folder, f"r{process_rank()}")
        self._plugins = plugins
        self._described: list[TrackerDescription] = []
        self._filters = record_filters(plugins, run)

    @property
    def urls(self) -> dict[str, str]:
        """The addresses that are known by now, by tracker name."""
        return {name: d.url for name, d in self.deliveries.items() if d.url}

    def append(self, entry: Entry) -> None:
        """Journal an entry for every tracker; any thread may call this."""
        if not self._filters:
            self._journal.append(entry)
        else:
            for record in entry.records():
                kept = apply_filters(self._filters, record)
                if kept is not None:
                    self._journal.append(_entry_of(kept, entry))
        if entry.kind == "metrics":
            self.last_metrics.update(entry.data)

    def append_metrics(self, timestamp: int, step: float | None, metrics: dict[str, float]) -> None:
        """Journal numbers of one moment: the call that stands in training loops."""
        if self._filters:
            self.append(Entry("metrics", timestamp, step, metrics))
        else:
            self._journal.append_metrics(timestamp, step, metrics)
            self.last_metrics.update(metrics)

    def add_tracker(self, tracker: Tracker, worker: Worker, parent: TrackedRun | None) -> None:
        """Begin to carry the run to a tracker."""
        folder = _private_folder(self.folder / folder_name(tracker.name))
        nested = parent is not None and tracker.name in parent.deliveries
        run = attrs.evolve(
            self.run,
            folder=folder,
            parent_id=parent.run.id if parent and nested else None,
            parent_folder=parent.folder / folder.name if parent and nested else None,
        )
        hooks = TrackerHooks(tracker.new_instance(), tracker.name, self._plugins)
        delivery = Delivery(hooks, run, tracker.options.start_timeout)
        self._described.append(
            TrackerDescription(tracker.name, folder.name, tracker.table, tracker.place)
        )
        save_description(self.folder, run, self._described)
        mark_as_pending(self.folder)
        self.deliveries[tracker.name] = delivery
        worker.add(delivery)

    @contextmanager
    def activated(self) -> Iterator[None]:
        """Let the SDKs' own calls land in this run, in the calling thread.

        Of several trackers of one flavor the first is activated: an SDK has one active run.
        """
        with ExitStack() as stack:
            flavors: dict[type, str] = {}
            for name, delivery in self.deliveries.items():
                flavor = type(delivery.hooks.tracker)
                if flavor in flavors:
                    logger.warning(
                        "native calls go to experiment tracker %r; %r, of the same flavor, "
                        "gets the portable calls only",
                        flavors[flavor],
                        name,
                    )
                    continue
                flavors[flavor] = name
                native = stack.enter_context(delivery.hooks.activated(delivery.run))
                self.native_runs[name] = native
            yield
        self.native_runs.clear()

    def finish(self, failure: Failure | None) -> None:
        """Say how the run ended; the rest is delivered in the background."""
        if not self.deliveries and self._journal.has_entries:
            save_description(self.folder, self.run, [])
        if self.deliveries or self._journal.has_entries:
            self._journal.append_end(Entry("end", time.time_ns(), None, failure))
        self._journal.close()
        for delivery in self.deliveries.values():
            delivery.hurry()

    def reports(self) -> tuple[TrackerReport, ...]:
        """Say how the run stands on each tracker."""
        return tuple(delivery.report() for delivery in self.deliveries.values())


class RunGroup:
    """The runs of one pipeline run, or the one of a `start_run` block, on shared trackers.

    It holds a worker and the budgets of each tracker, and the pipeline run's own tracker run,
    the parent of its steps' runs on trackers that can nest.

    Args:
        project: Where the runs' folders go.
        redactor: Keeps secrets out of what is written down.
        parent: The pipeline run as a run (`step=None`), or None where there is no pipeline.
    """

    def __init__(
        self, project: Project, redactor: Redactor | None = None, parent: Run | None = None
    ) -> None:
        self.redactor = redactor or Redactor()
        self._project = project
        self._runs_folder = project.home / "runs"
        self._workers: dict[str, Worker] = {}
        self._start_budgets: dict[str, Budget] = {}
        self._flush_budgets: dict[str, Budget] = {}
        self._runs: list[TrackedRun] = []
        self._plugins, problems = load_plugins()
        for problem in problems:
            logger.warning("%s", problem)
        self.parent = self._new_run(parent) if parent is not None else None

    def log_params(self, params: Mapping[str, ParamValue]) -> None:
        """Log the pipeline's arguments as params of its own run, where it is tracked."""
        if self.parent is not None and self.parent.deliveries and params:
            self.parent.append(Entry("params", time.time_ns(), None, params))

    def prepare(self, trackers: Iterable[Tracker]) -> None:
        """Begin to start the parent run, without waiting: SDKs take seconds to import."""
        for tracker in _tracked_here(trackers):
            self._start_parent(tracker, self._worker(tracker))

    def start(self, run: Run, trackers: Iterable[Tracker]) -> TrackedRun:
        """Start a run on trackers and wait for them as long as their budgets allow.

        Raises:
            RequiredTrackerError: A tracker with `required = true` is not up in time.
        """
        tracked = self._new_run(run)
        chosen = _tracked_here(trackers)
        for tracker in chosen:
            worker = self._worker(tracker)
            self._start_parent(tracker, worker)
            tracked.add_tracker(tracker, worker, self.parent)
        for tracker in chosen:
            self._wait_for_start(tracker, tracked)
        return tracked

    def finish(self, tracked: TrackedRun, failure: Failure | None) -> None:
        """Say how a run ended and wake its trackers; returns at once, without waiting."""
        tracked.finish(failure)
        for name in tracked.deliveries:
            self._workers[name].wake()

    def wait_for_required(self, tracked: TrackedRun, trackers: Iterable[Tracker]) -> None:
        """Wait for trackers with `required = true`, which must have everything.

        Raises:
            RequiredTrackerError: One could not take everything in time.
        """
        for tracker in trackers:
            delivery = tracked.deliveries.get(tracker.name)
            if delivery is None or not tracker.options.required:
                continue
            if not self._flush_budgets[tracker.name].wait(delivery.ended):
                raise RequiredTrackerError(
                    f"experiment tracker {tracker.name!r} is required and could not take "
                    f"everything: {delivery.problem or 'it did not answer in time'}"
                )

    def close(self, failure: Failure | None = None) -> tuple[TrackerReport, ...]:
        """End the parent run, wait for what is not delivered as long as the budgets allow, stop.

        Args:
            failure: Why the pipeline run did not finish, for the parent run.

        Returns:
            How each run stands on each tracker.
        """
        if self.parent is not None:
            self.parent.finish(failure)
        for worker in self._workers.values():
            worker.wake()
        runs = [*self._runs]
        for tracked in runs:
            for name, delivery in tracked.deliveries.items():
                self._wait_for_end(name, delivery)
        for worker in self._workers.values():
            worker.close()
        for tracked in runs:
            for delivery in tracked.deliveries.values():
                delivery.close()
            if all(delivery.ended.is_set() for delivery in tracked.deliveries.values()):
                mark_as_complete(tracked.folder)
        reports = tuple(report for tracked in runs for report in tracked.reports())
        _say_what_is_left(reports)
        return reports

    def _new_run(self, run: Run) -> TrackedRun:
        tracked = TrackedRun(run, self._runs_folder / run.id, self._plugins, self.redactor)
        self._runs.append(tracked)
        return tracked

    def _worker(self, tracker: Tracker) -> Worker:
        if tracker.name not in self._workers:
            watch_over(self._project.root)
            self._workers[tracker.name] = Worker(tracker.name)
            self._start_budgets[tracker.name] = Budget(tracker.options.start_timeout)
            self._flush_budgets[tracker.name] = Budget(tracker.options.flush_timeout)
        return self._workers[tracker.name]

    def _start_parent(self, tracker: Tracker, worker: Worker) -> None:
        parent = self.parent
        if parent is None or tracker.name in parent.deliveries:
            return
        if tracker.capabilities.nests:
            parent.add_tracker(tracker, worker, None)

    def _wait_for_start(self, tracker: Tracker, tracked: TrackedRun) -> None:
        budget, delivery = self._start_budgets[tracker.name], tracked.deliveries[tracker.name]
        budget.wait(delivery.start_settled)
        if delivery.started.is_set():
            return
        problem = delivery.problem or f"not up within {tracker.options.start_timeout:g} s"
        if tracker.options.required:
            tracked.finish(Failure("failed", "RequiredTrackerError", problem))
            raise RequiredTrackerError(
                f"experiment tracker {tracker.name!r} is required and could not be started: "
                f"{problem}"
            )
        if not budget.is_closed:
            logger.warning("experiment tracker %r starts late: %s", tracker.name, problem)
        budget.close()

    def _wait_for_end(self, name: str, delivery: Delivery) -> None:
        """Wait for a run's end on a tracker; where it never started, for one more try at most.

        Together with the wait for its start that stays within `start_timeout`.
        """
        if delivery.started.is_set() or not delivery.start_settled.is_set():
            self._flush_budgets[name].wait(delivery.ended)
            return
        if not delivery.retry_failed.is_set():
            most = min(1.0, self._start_budgets[name].left)
            self._flush_budgets[name].wait(delivery.started, most=most)
        if delivery.started.is_set():
            self._flush_budgets[name].wait(delivery.ended)


def new_run(
    name: str,
    experiment: str,
    *,
    id: str | None = None,
    pipeline: str | None = None,
    step: str | None = None,
    attempt: int = 1,
    group: str | None = None,
    tags: dict[str, str] | None = None,
) -> Run:
    """Make a run that starts now, with a new id unless one is given."""
    return Run(
        id=id or new_id(),
        name=name,
        experiment=experiment,
        started_at=time.time_ns(),
        folder=Path(),  # each tracker gets its own
        pipeline=pipeline,
        step=step,
        attempt=attempt,
        group=group,
        tags=tags or {},
    )


def failure_of(error: BaseException, redactor: Redactor) -> Failure | None:
    """Say how a run ended that an exception left; None for `sys.exit()` without an error."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return None
    if isinstance(error, Terminated):
        return Failure("killed", "SIGTERM", "the process was told to stop", signal=15)
    killed = isinstance(error, KeyboardInterrupt)
    return redactor.failure(error, "killed" if killed else "failed")


def _tracked_here(trackers: Iterable[Tracker]) -> list[Tracker]:
    if is_disabled():
        return []
    return [t for t in trackers if t.options.rank == "all" or process_rank() == 0]


def _private_folder(folder: Path) -> Path:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:  # a full or read-only disk must not stop the step
        logger.warning("%s cannot be made: %s", folder, error.strerror)
    return folder


def _entry_of(record: Record, entry: Entry) -> Entry:
    match record:
        case Metric():
            return Entry("metrics", record.timestamp, record.step, {record.key: record.value})
        case Param():
            return Entry("params", entry.timestamp, entry.step, {record.key: record.value})
        case Tag():
            return Entry("tags", entry.timestamp, entry.step, {record.key: record.value})
        case Artifact():
            return Entry("artifact", record.timestamp, record.step, record)


def _say_what_is_left(reports: Iterable[TrackerReport]) -> None:
    """Say in one line per tracker what it does not have."""
    by_tracker: dict[str, list[TrackerReport]] = {}
    for report in reports:
        if not report.is_complete:
            by_tracker.setdefault(report.tracker, []).append(report)
    for name, left in by_tracker.items():
        pending = sum(report.pending for report in left)
        problem = next((report.problem for report in left if report.problem), "out of time")
        logger.warning(
            "experiment tracker %r has not taken %d record(s) and the end of %d run(s): %s; "
            "it is tried again in the background, or type: trackyard sync",
            name,
            pending,
            len(left),
            problem,
        )
