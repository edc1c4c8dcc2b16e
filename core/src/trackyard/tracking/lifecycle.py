"""How do the runs of a pipeline run start and end on its trackers, within their budgets?"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import attrs

from trackyard.console.keeping import Console
from trackyard.console.options import load_console_options
from trackyard.contract.errors import RequiredTrackerError, TrackyardError
from trackyard.contract.records import Failure, ParamValue, Run
from trackyard.delivery.budgets import Budget, wait_side_by_side
from trackyard.delivery.reports import TrackerReport, complete
from trackyard.delivery.stages import Stage
from trackyard.hooks.discovery import load_plugins
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import is_described
from trackyard.journal.durability import load_journal_options
from trackyard.journal.entries import Entry
from trackyard.journal.family import note_child
from trackyard.journal.pending import note_as_indexed
from trackyard.project.configuration import Project
from trackyard.project.stacks import TrackerOptions
from trackyard.project.storing import names_store
from trackyard.project.trackers import Tracker
from trackyard.recovery.guarding import watch_over
from trackyard.redaction.redactor import Redactor
from trackyard.system.descriptors import FollowedFolder
from trackyard.system.environment import inherited_run_id, is_disabled
from trackyard.system.files import make_home, make_private_folder
from trackyard.system.ranks import process_rank
from trackyard.tracking.collecting import tell_context
from trackyard.tracking.containing import spared
from trackyard.tracking.context import load_context_options
from trackyard.tracking.failures import failure_of
from trackyard.tracking.params import load_param_options
from trackyard.tracking.parents import ParentRun
from trackyard.tracking.sessions import open_session
from trackyard.tracking.tracked_runs import TrackedRun

if TYPE_CHECKING:
    from trackyard.delivery.workers import Delivery, Worker

logger = logging.getLogger("trackyard")

# What a file system must have left for a run to be kept there.
_LEAST_BYTES, _LEAST_FILES = 128 * 1024, 12
# Metrics, and params, of steps that a pipeline's own run shows, and a param's longest text there.
_MOST_IN_SUMMARY, _LONGEST_IN_SUMMARY = 1000, 100
# Seconds for the very first start of a store on this machine, of which one is told after so many;
# and for others unless one says so.
_FIRST_START, _SAID_AFTER = 60.0, 2.0
_USUAL_START = attrs.fields(TrackerOptions).start_timeout.default
# What a tracker lacks when a run has ended is counted so far: a million points take half a second.
_COUNTED = 100_000
# What becomes of the rest, in the closing line.
_LATER = "it is tried again in the background, or type: trackyard sync"
_NEVER = "what it lacks is lost, since the run's folder was deleted and cannot be made again"


class RunGroup:
    """The runs of one pipeline run, or of a `start_run` block, with their child runs.

    It holds a worker and the budgets of each tracker, and the pipeline run's own tracker run,
    the parent of its steps' runs on trackers that can nest. Who uses it from several threads holds
    its `lock` while a run starts and ends.

    Args:
        project: Where the runs' folders go.
        redactor: Keeps secrets out of what is written down.
        parent: The pipeline run as a run (`step=None`), or None where there is no pipeline.
        command: The command that is tracked; by default the runs are this process's own.

    Raises:
        ConfigError: The project's `[journal]`, `[params]`, `[context]` or `[console]` is wrong.
    """

    def __init__(
        self,
        project: Project,
        redactor: Redactor | None = None,
        parent: Run | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.lock = RLock()
        self.process = os.getpid()
        self.say_what_is_left: Callable[..., object] = _say_what_is_left
        self.told: int | None = None  # the signal that told the process to stop
        self._is_closed = False
        self._project = project
        self._journal_options = load_journal_options(project)
        self._param_options = load_param_options(project)
        self._context_parts = load_context_options(project).parts
        self._command = tuple(command) if command is not None else None
        self._console_options = load_console_options(project)
        self._runs_folder = _writable(project.home) / "runs"
        self._place: FollowedFolder | None = FollowedFolder(self._runs_folder)
        self._rank = process_rank()
        self._workers: dict[str, Worker] = {}
        self._start_budgets: dict[str, Budget] = {}
        self._flush_budgets: dict[str, Budget] = {}
        self._runs: list[TrackedRun] = []
        self._params_shown: set[str] = set()
        self._plugins, problems = load_plugins()
        for problem in problems:
            logger.warning("%s", problem)
        self.parent = self._new_run(parent, is_tracked=False) if parent is not None else None

    @property
    def console(self) -> Console | None:
        """Where what its latest run prints is kept, or None."""
        return self._runs[-1].console if self._runs else None

    def log_params(self, params: Mapping[str, ParamValue]) -> None:
        """Log the pipeline's arguments as params of its own run, where it is tracked."""
        if self.parent is not None and self.parent.deliveries and params:
            self._params_shown |= params.keys()
            self.parent.append(Entry("params", time.time_ns(), None, params))

    def log_summary(self, step: str, metrics: Mapping[str, float]) -> None:
        """Log a step's last metrics to the pipeline's own run, where it is tracked: `train.loss`.

        Tables of runs show them there; of a pipeline with thousands the first ones alone.

        Args:
            step: The step's name.
            metrics: The last value of each of its metrics.
        """
        if self.parent is None or not self.parent.deliveries:
            return
        shown = [(k, v) for k, v in metrics.items() if not k.startswith("system/")]
        shown = shown[: max(0, _MOST_IN_SUMMARY - len(self.parent.last_metrics))]
        if shown:
            named = {f"{step}.{key}": value for key, value in shown}
            self.parent.append(Entry("metrics", time.time_ns(), None, named))

    def log_params_of(self, step: str, params: Mapping[str, ParamValue]) -> None:
        """Log a step's params to the pipeline's own run, where it is tracked: `train.rate`.

        Tables of runs show them there. Long texts stand in the step's run alone, and a pipeline's
        argument of that name stays as it is: trackers refuse a param that changes.

        Args:
            step: The step's name.
            params: What has become of its params.
        """
        if self.parent is None or not self.parent.deliveries:
            return
        named = {f"{step}.{key}": value for key, value in params.items() if _is_short(value)}
        new = [(key, value) for key, value in named.items() if key not in self._params_shown]
        self.log_params(dict(new[: max(0, _MOST_IN_SUMMARY - len(self._params_shown))]))

    def prepare(self, trackers: Iterable[Tracker]) -> None:
        """Begin to start the parent run, without waiting: SDKs take seconds to import."""
        for tracker in _tracked_here(trackers, self._rank):
            self._start_parent(tracker, self._worker(tracker))

    def start(
        self,
        run: Run,
        trackers: Iterable[Tracker],
        parent: ParentRun | None = None,
        *,
        waits: bool = True,
    ) -> TrackedRun:
        """Start a run on trackers and wait for them as long as their budgets allow.

        Args:
            run: The run.
            trackers: Where it is to be tracked, and what else is captured in it.
            parent: Of a child run, the run that it belongs to.
            waits: False where somebody waits who must not be held up; see `wait_for_starts`.

        Raises:
            RequiredTrackerError: A tracker with `required = true` is not up in time.
            TrackyardError: A run that is to be resumed cannot be.
        """
        trackers = [*trackers]
        chosen = self._watched(trackers)
        tracked = self._new_run(run, is_tracked=bool(chosen))
        is_block = parent is not None or (run.step is None and run.pipeline is None)
        if is_block and not is_disabled():
            with spared("the run's description"):
                tracked.describe()  # it is seen from now on, also without a tracker
                if self.parent is None:  # its lock is followed: descriptors are left to the user
                    self._place = None
        if parent is not None and not is_disabled():
            with spared("the note of a child run"):
                note_child(parent.folder, run.id)
        elif self.parent is not None:
            for tracker in chosen:
                with spared(f"the pipeline's own run on experiment tracker {tracker.name!r}"):
                    self._start_parent(tracker, self._worker(tracker))
            parent = self.parent.as_parent
        try:
            for tracker in chosen:
                with spared(f"experiment tracker {tracker.name!r}"):
                    worker = self._worker(tracker)
                    worker.look_after()
                    tracked.add_tracker(tracker, worker, parent)
            with spared("what SDKs log by themselves"):
                tracked.add_sources(_sources_here(trackers, self._rank))
            if waits:
                self.wait_for_starts(tracked, chosen)
        except (KeyboardInterrupt, SystemExit) as error:
            tracked.finish(failure_of(error, self.redactor))
            for budget in self._start_budgets.values():
                budget.left = 0.0  # who presses Ctrl-C waits for no tracker that is not there yet
            raise
        return tracked

    def finish(self, tracked: TrackedRun, failure: Failure | None) -> None:
        """Say how a run ended and wake its trackers; returns at once, without waiting.

        Args:
            tracked: The run.
            failure: Why it did not finish, or None.
        """
        tracked.finish(failure)

    @property
    def project(self) -> Project:
        """The project of the runs."""
        return self._project

    @property
    def without_end(self) -> list[TrackedRun]:
        """The runs that have no end yet, the pipeline run's own and child runs left out."""
        own = [run for run in self._runs if run is not self.parent and not run.is_child]
        return [run for run in own if not run.has_end]

    def note_signal(self, number: int) -> None:
        """Note in the runs that have not ended that the process is told to stop."""
        self.told = number
        for tracked in [*self._runs]:
            tracked.note_signal(number)

    def wait_for_required(self, tracked: TrackedRun, trackers: Iterable[Tracker]) -> None:
        """Wait for trackers with `required = true`, which must have everything.

        Args:
            tracked: A run that has ended.
            trackers: Its trackers.

        Raises:
            RequiredTrackerError: One could not take everything in time.
        """
        for tracker in trackers:
            delivery = tracked.deliveries.get(tracker.name)
            if delivery is None or not tracker.options.required:
                continue
            if not self._flush_budgets[tracker.name].wait(delivery.progress.until_ended):
                raise RequiredTrackerError(
                    f"experiment tracker {tracker.name!r} is required and could not take "
                    f"everything: {delivery.problem or 'it did not answer in time'}"
                )

    def close(self, failure: Failure | None = None) -> tuple[TrackerReport, ...]:
        """End the parent run, wait for what is not delivered as long as the budgets allow, stop.

        A child run that goes on is left alone; the end of the last one stops the workers.

        Args:
            failure: Why the pipeline run did not finish, for the parent run.

        Returns:
            How each run that has ended stands on each tracker.
        """
        if self.parent is not None:
            self.parent.finish(failure)
        self._is_closed = True
        return self._settle()

    def close_child(self) -> None:
        """Wait for a child run that has outlived the others as `close` waits for those."""
        if self._is_closed:
            self._settle()

    def _settle(self) -> tuple[TrackerReport, ...]:
        """Wait for the runs that have ended, and forget them; stop where there are no others."""
        with self.lock:
            going_on = [run for run in self._runs if run.is_child and not run.has_end]
            runs = [run for run in self._runs if run.has_end or not run.is_child]
            self._runs = going_on
        for worker in self._workers.values():
            worker.look_after()
            worker.hurry()
        names = {name for tracked in runs for name in tracked.deliveries}
        wait_side_by_side([partial(self._wait_for_ends, name, runs) for name in names])
        if not self._runs:
            for worker in self._workers.values():
                worker.close()
        for tracked in runs:
            for delivery in tracked.deliveries.values():
                delivery.close()
            stages = [delivery.progress.stage for delivery in tracked.deliveries.values()]
            is_there = bool(stages) or tracked.folder.is_dir()  # of most untracked steps nothing is
            if is_there and all(stage is Stage.ENDED for stage in stages):
                complete(tracked.folder, tracked.tracker_folders)
        reports = tuple(
            delivery.report(_COUNTED) for run in runs for delivery in run.deliveries.values()
        )
        if not all(is_described(tracked.folder) for tracked in runs if tracked.deliveries):
            _say_what_is_left(reports, _NEVER)
        else:
            self.say_what_is_left(reports)
        return reports

    def _open_again(self, tracked: TrackedRun) -> None:
        try:
            open_session(tracked)
        except (TrackyardError, OSError):
            self._runs.remove(tracked)  # it is not ours to end
            raise

    def _new_run(self, run: Run, *, is_tracked: bool) -> TrackedRun:
        # The project may have been moved since.
        if self._place is not None:
            self._runs_folder = self._place.path
        elif self._runs:
            self._runs_folder = self._runs[-1].folder.parent
        folder = self._runs_folder / run.id
        tracked = TrackedRun(
            *(run, folder, self._plugins, self.redactor, self._journal_options),
            role=f"r{self._rank}",
            params=self._param_options,
            console=self._console_options,
            place=self._place,
        )
        tracked.group, tracked.is_of_command = self, self._command is not None
        self._runs.append(tracked)  # first: a signal's handler may raise in what follows
        if not is_disabled():
            with spared("where the run comes from"):
                is_brief = run.pipeline is not None and not is_tracked  # as most steps are
                tell_context(tracked, self._context_parts, self._command, is_brief=is_brief)
        if run.resumed:
            self._open_again(tracked)
        return tracked

    def _watched(self, trackers: Iterable[Tracker]) -> list[Tracker]:
        """Choose what this rank is tracked on, with a watchdog that the run's lock can name."""
        chosen = _tracked_here(trackers, self._rank)
        with spared("a watchdog"):
            # Others learn of a run's end, and get its journal, though no tracker follows it.
            if chosen or self._journal_options.upload or names_store(self._project):
                watch_over(self._project)
        return chosen

    def _worker(self, tracker: Tracker) -> Worker:
        if tracker.name not in self._workers:
            from trackyard.delivery.workers import worker_for

            watch_over(self._project)
            self._workers[tracker.name] = worker_for(tracker, self._project)
            self._start_budgets[tracker.name] = Budget(tracker.options.start_timeout)
            self._flush_budgets[tracker.name] = Budget(tracker.options.flush_timeout)
        return self._workers[tracker.name]

    def _start_parent(self, tracker: Tracker, worker: Worker) -> None:
        parent = self.parent
        if parent is None or tracker.name in parent.deliveries:
            return
        if tracker.capabilities.nests:
            parent.add_tracker(tracker, worker, None)

    def wait_for_starts(self, tracked: TrackedRun, trackers: Iterable[Tracker]) -> None:
        """Wait for a run's trackers as long as their budgets allow, and say what is late.

        Args:
            tracked: The run.
            trackers: Its trackers.

        Raises:
            RequiredTrackerError: A tracker with `required = true` is not up in time.
        """
        chosen = _tracked_here(trackers, self._rank)
        self._wait_for_starts(tracked, chosen)
        for tracker in chosen:
            self._judge_start(tracker, tracked)

    @property
    def patience(self) -> float:
        """The seconds for which its trackers may still be waited for."""
        budgets = zip(self._start_budgets.values(), self._flush_budgets.values(), strict=True)
        return max((start.left + flush.left for start, flush in budgets), default=0.0)

    def wait_no_more(self, say: Callable[[tuple[TrackerReport, ...]], object]) -> None:
        """Have nobody wait for its trackers any more: what is not delivered is left.

        Args:
            say: Gets what else would be said of that.
        """
        self.say_what_is_left = say
        for budget in (*self._start_budgets.values(), *self._flush_budgets.values()):
            budget.left = 0.0
            budget.close()

    def _wait_for_starts(self, tracked: TrackedRun, trackers: Iterable[Tracker]) -> None:
        deliveries = [(tracker, tracked.deliveries.get(tracker.name)) for tracker in trackers]
        wait_side_by_side(
            [
                partial(self._wait_for_start, tracker, delivery)
                for tracker, delivery in deliveries
                if delivery is not None and delivery.progress.stage is Stage.NEW
            ]
        )

    def _wait_for_start(self, tracker: Tracker, delivery: Delivery) -> None:
        """Wait within the budget, and longer for a store that is made on this machine just now.

        Its SDK has never been imported here, and makes its database: who has just installed it
        would else see no URL.
        """
        budget, progress = self._start_budgets[tracker.name], delivery.progress
        budget.wait(progress.until_settled, most=_SAID_AFTER)
        if progress.stage is not Stage.NEW or budget.is_closed:
            return
        self._worker(tracker).look_after()  # its thread may have found no memory to begin
        if not self._is_made(tracker):
            budget.wait(progress.until_settled)
            return
        logger.warning(
            "experiment tracker %r makes its store on this machine: waiting for that, %g s at most",
            *(tracker.name, _FIRST_START),
        )
        longer = Budget(_FIRST_START)
        longer.left -= budget.seconds - budget.left
        self._start_budgets[tracker.name] = longer
        longer.wait(progress.until_settled)

    def _is_made(self, tracker: Tracker) -> bool:
        """Tell whether this is the project's first run, on a tracker that has its store here.

        Who has set `start_timeout` to something else than its default means it.
        """
        if tracker.options.start_timeout != _USUAL_START:
            return False
        ours = {tracked.folder for tracked in self._runs}
        with suppress(OSError):
            if ours.issuperset(self._runs_folder.iterdir()):
                command = TrackerHooks.of(tracker).ui_command("127.0.0.1", None)
                return command.kind == "done" and bool(command.value)
        return False

    def _judge_start(self, tracker: Tracker, tracked: TrackedRun) -> None:
        delivery = tracked.deliveries.get(tracker.name)
        if delivery is not None and delivery.progress.stage.has_started:
            return
        budget = self._start_budgets.get(tracker.name)
        problem = delivery.problem if delivery is not None else "the system has nothing left for it"
        if not problem and budget is not None:
            problem = f"not up within {budget.seconds:g} s"
        if tracker.options.required:
            tracked.finish(Failure("failed", "RequiredTrackerError", problem))
            raise RequiredTrackerError(
                f"experiment tracker {tracker.name!r} is required and could not be started: "
                f"{problem}"
            )
        if delivery is None or budget is None:
            return  # it was said
        if not budget.is_closed:
            what = "could not be started, and is tried again" if delivery.problem else "starts late"
            logger.warning("experiment tracker %r %s: %s", tracker.name, what, problem)
        budget.close()

    def _wait_for_ends(self, name: str, runs: Iterable[TrackedRun]) -> None:
        for tracked in runs:
            delivery = tracked.deliveries.get(name)
            # Those of a project that was moved are delivered from its new place, by a later sync.
            if delivery is not None and delivery.run.folder.parent == tracked.folder:
                self._wait_for_end(name, delivery)

    def _wait_for_end(self, name: str, delivery: Delivery) -> None:
        """Wait for a run's end on a tracker; where it never started, for one more try at most.

        Together with all waits for starts that stays within `start_timeout`; who gave none has
        not waited yet, and does so here.
        """
        budget, progress = self._start_budgets[name], delivery.progress
        if budget.seconds == 0 and progress.stage is Stage.NEW:
            self._flush_budgets[name].wait(progress.until_done)
        elif not progress.stage.has_started and not progress.retry_failed:
            is_new = progress.stage is Stage.NEW and not budget.is_closed
            budget.open()
            budget.wait(progress.until_started, most=None if is_new else 1.0)
        if progress.stage.has_started:
            self._flush_budgets[name].wait(progress.until_done)


def _writable(home: Path) -> Path:
    """Give the project's home, or a folder for temporary files where it cannot be written."""
    if is_disabled():  # then nothing is written at all
        return home
    try:
        is_new = not (home / "runs").exists()
        make_private_folder(make_home(home) / "runs")
        if is_new:
            note_as_indexed(home)
        if not os.access(home / "runs", os.W_OK):
            problem = "it is read-only"
        elif _is_a_trap(home / "runs"):
            problem = "another user made it, for anyone to write"
        elif not _has_room(home):
            problem = "no space left on device"
        else:
            return home
    except OSError as error:
        problem = error.strerror or str(error)
    import tempfile

    other = Path(tempfile.mkdtemp(prefix="trackyard-"))
    logger.warning("%s cannot be written (%s); the runs are kept in %s", home, problem, other)
    return other


def _is_a_trap(folder: Path) -> bool:
    """Tell whether another user made a link, or a folder that all may write, where ours goes.

    Trackyard makes it for its owner alone; in a folder such as /tmp anyone can be there first.
    """
    status = folder.lstat()
    is_open = stat.S_ISLNK(status.st_mode) or bool(status.st_mode & stat.S_IWOTH)
    return is_open and status.st_uid not in (os.getuid(), 0)


def _has_room(folder: Path) -> bool:
    """Tell whether the file system takes a few small files more."""
    status = os.statvfs(folder)
    # Some file systems count no files: theirs are 0 of 0.
    has_files = status.f_favail >= _LEAST_FILES or not status.f_files
    return has_files and status.f_bavail * status.f_frsize >= _LEAST_BYTES


def _tracked_here(trackers: Iterable[Tracker], rank: int) -> list[Tracker]:
    if is_disabled():
        return []
    takes_all = inherited_run_id() is None
    chosen = (t for t in trackers if not t.is_source)
    return [t for t in chosen if not rank or (takes_all and t.options.rank == "all")]


def _sources_here(trackers: Iterable[Tracker], rank: int) -> list[Tracker]:
    is_here = not is_disabled() and rank == 0
    return [tracker for tracker in trackers if tracker.is_source and is_here]


def _say_what_is_left(reports: Iterable[TrackerReport], what_now: str = _LATER) -> None:
    """Say in one line per tracker what it does not have, and nothing where it has everything."""
    by_tracker: dict[str, list[TrackerReport]] = {}
    for report in reports:
        by_tracker.setdefault(report.tracker, []).append(report)
    for name, of_tracker in by_tracker.items():
        gone = _what_is_gone(of_tracker)
        left = [report for report in of_tracker if not report.is_complete]
        if left:
            ends = sum(not report.has_end for report in left)
            late = "out of time" if ends else "it took the end before them"
            problem = next((report.problem for report in left if report.problem), late)
            logger.warning(
                "experiment tracker %r has not taken %d%s record(s)%s: %s; %s%s",
                name,
                sum(report.pending for report in left),
                " and more" if any(report.has_more for report in left) else "",
                f" and the end of {ends} run(s)" if ends else "",
                problem,
                what_now,
                f"; {gone}" if gone else "",
            )
        elif gone:
            delivered = sum(report.delivered for report in of_tracker)
            logger.warning("experiment tracker %r has %d record(s); %s", name, delivered, gone)


def _what_is_gone(reports: list[TrackerReport]) -> str:
    """Say what one tracker will not get by itself."""
    refused = sum(report.quarantined for report in reports)
    lost = sum(report.lost for report in reports)
    again = "to send them again type: trackyard sync --refused"
    texts = [f"{refused} were refused ({again})"] if refused else []
    texts += [f"{lost} log call(s) are lost"] if lost else []
    return ", ".join(texts)


def _is_short(value: ParamValue) -> bool:
    return not isinstance(value, str) or len(value) <= _LONGEST_IN_SUMMARY
