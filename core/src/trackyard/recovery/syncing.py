"""How does everything that trackers lack reach them, in one pass?

Also what an SDK keeps offline: there core has done its part, since the run is whole in the SDK's
own files, and `tracker_sync_run` uploads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from typing import Literal

import attrs

from trackyard.contract.errors import NewerFormatError, TrackyardError
from trackyard.delivery.aside import count_refused
from trackyard.delivery.reports import TrackerReport, report_of
from trackyard.delivery.state import load_state, save_state
from trackyard.hooks.discovery import load_plugins
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import TrackerDescription, load_description, run_for
from trackyard.journal.pending import kept_offline_folders, mark_as_uploaded
from trackyard.outputs.keeping import KeptOutput, KeptOutputs
from trackyard.project.configuration import Project, in_project
from trackyard.project.trackers import Trackers
from trackyard.recovery.accepting import accept_losses, find_lacking, reports_of, take_back_all
from trackyard.recovery.catching_up import Owed
from trackyard.recovery.finishing import (
    LeftRun,
    PendingRun,
    end_the_dead,
    store_may_be_away,
    sync_runs,
)
from trackyard.recovery.indexing import index_marked
from trackyard.recovery.sharing import share_journals
from trackyard.recovery.trusting import is_own, tracker_for
from trackyard.recovery.unsent import send_unsent
from trackyard.system.locks import FileLock
from trackyard.system.showing import Shown, line, says

RowState = Literal["complete", "incomplete", "refused", "lost", "accepted", "uploaded", "running"]
# No upload may take longer than this, in seconds: it is one call for a whole run.
_DEADLINE = 600.0


def find_kept_offline(project: Project) -> list[PendingRun]:
    """List the ended runs that some SDK keeps on this machine, the oldest first."""
    return [kept for kept in _kept_or_left(project) if isinstance(kept, PendingRun)]


def _kept_or_left(project: Project) -> Iterator[PendingRun | LeftRun]:
    for folder in kept_offline_folders(project.home):
        try:
            description = load_description(folder)
            trackers = description.trackers if description is not None else ()
            states = [load_state(folder / tracker.folder) for tracker in trackers]
        except NewerFormatError as error:
            yield LeftRun(folder, str(error))
            continue
        if description is not None and any(state.is_kept_offline for state in states):
            yield PendingRun(folder, description, is_alive=False)
        else:
            mark_as_uploaded(folder)


def upload_run(
    kept: PendingRun,
    project: Project,
    *,
    timeout: float | None = None,
    leave_out: Collection[str] = (),
) -> list[TrackerReport]:
    """Upload a run wherever an SDK keeps it; uploaded twice it would change nothing.

    Args:
        kept: The run.
        project: Where it was made.
        timeout: Seconds for each tracker at most; ten minutes by default.
        leave_out: Trackers that are not asked: they have hung with another run.

    Returns:
        How the run stands on each of those trackers; one that could not be uploaded is incomplete.
    """
    trackers = Trackers(project)
    deadline = _DEADLINE if timeout is None else timeout
    reports = [
        _hung_before(kept, description)
        if description.name in leave_out
        else _upload(kept, description, trackers, project, deadline)
        for description in kept.description.trackers
        if load_state(kept.folder / description.folder).is_kept_offline
    ]
    if all(report.is_complete for report in reports):
        mark_as_uploaded(kept.folder)
    return reports


def _hung_before(kept: PendingRun, description: TrackerDescription) -> TrackerReport:
    folder = kept.folder / description.folder
    report = report_of(description.name, load_state(folder), folder)
    return attrs.evolve(report, is_complete=False, problem="it hangs with another run")


def _upload(
    kept: PendingRun,
    description: TrackerDescription,
    trackers: Trackers,
    project: Project,
    deadline: float,
) -> TrackerReport:
    folder = kept.folder / description.folder
    lock = FileLock(folder / "delivery.lock")
    if not lock.acquire():
        problem = "another process is uploading it"
    else:
        try:
            problem = _call(kept, description, trackers, project, deadline)
        finally:
            lock.release()
    report = report_of(description.name, load_state(folder), folder)
    return attrs.evolve(report, is_complete=not problem, problem=problem)


def _call(
    kept: PendingRun,
    description: TrackerDescription,
    trackers: Trackers,
    project: Project,
    deadline: float,
) -> str:
    """Call the hook; give what went wrong, or an empty text."""
    run = run_for(kept.description, description, kept.folder)
    run = attrs.evolve(run, attached=True, deadline=deadline)
    try:
        tracker = tracker_for(kept.description, description, project, trackers)
    except TrackyardError as error:
        return str(error)
    hooks = TrackerHooks.of(tracker, load_plugins()[0])
    with in_project(project):
        state = load_state(run.folder)
        outcome = count_refused(hooks.name, state, run.folder, hooks.upload_run(run))
        if outcome.kind != "done":
            return outcome.reason
        state.is_kept_offline = False
        state.url = hooks.url(run) or state.url
    save_state(run.folder, state)
    return ""


@attrs.frozen(kw_only=True, repr=False)
class SyncRow(Shown):
    """How a run stands on a tracker after a pass of `trackyard sync`."""

    run: str = attrs.field(metadata=says("The run's name"))
    id: str = attrs.field(metadata=says("Its id"))
    tracker: str = attrs.field(
        default="",
        metadata=says(
            "The tracker's name, or `artifact store`; empty for a run that is running, or left as "
            "it is"
        ),
    )
    state: RowState = attrs.field(
        metadata=says(
            "`complete`, `incomplete`, `refused` or `lost` where no more comes by itself, "
            "`accepted`, `uploaded` or `running`"
        )
    )
    url: str | None = attrs.field(default=None, metadata=says("The run's address there"))
    delivered: int = attrs.field(default=0, metadata=says("Records that it has"))
    pending: int = attrs.field(default=0, metadata=says("Records that are sent later"))
    quarantined: int = attrs.field(default=0, metadata=says("Records that it refused for good"))
    lost: int = attrs.field(
        default=0,
        metadata=says("Log calls lost to a full or damaged disk, or with a machine"),
    )
    problem: str = attrs.field(default="", metadata=says("The last error as one line"))

    def __repr__(self) -> str:
        counts = ("delivered", "pending", "quarantined", "lost")
        told = ", ".join(f"{getattr(self, key)} {key}" for key in counts if getattr(self, key))
        where = f" on {self.tracker}" if self.tracker else ""
        why = f": {self.problem}" if self.problem else ""
        return line(
            f"<SyncRow {self.run}{where} {self.state}{f', {told}' if told else ''}{why}>"[:240]
        )

    @property
    def is_lacking(self) -> bool:
        """A tracker does not have everything, and nobody has accepted that."""
        return self.state in ("incomplete", "refused", "lost")

    @classmethod
    def of(cls, pending: PendingRun, report: TrackerReport, state: RowState) -> SyncRow:
        """Make the row of a report.

        Args:
            pending: The run.
            report: How it stands on a tracker.
            state: Its state where the tracker has everything.
        """
        return cls(
            run=pending.description.run.name,
            id=pending.folder.name,
            tracker=report.tracker,
            state=_state_of(report, state),
            url=report.url,
            delivered=report.delivered,
            pending=report.pending,
            quarantined=report.quarantined,
            lost=report.lost,
            problem=report.problem,
        )

    @classmethod
    def of_outputs(
        cls, project: Project, outputs: list[KeptOutput], problem: str
    ) -> Iterator[SyncRow]:
        """Make the rows of outputs that an artifact store did not have, one for each step run.

        Args:
            project: The project.
            outputs: What waited for it.
            problem: What went wrong; empty where it has all of them now.
        """
        for run_id, of_run in groupby(outputs, lambda kept: kept.run_id):
            of_one = [*of_run]
            left = [kept for kept in of_one if kept.is_waiting]
            lost = sum(not kept.path.exists() for kept in left)
            if all(kept.is_accepted for kept in left):
                state: RowState = "accepted" if left else "uploaded"
            else:
                state = "lost" if lost == len(left) else "incomplete"
            try:
                described = load_description(project.home / "runs" / run_id)
            except NewerFormatError:
                described = None
            yield cls(
                run=described.run.name if described is not None else run_id,
                id=run_id,
                tracker="artifact store",
                state=state,
                delivered=len(of_one) - len(left),
                pending=len(left) - lost,
                lost=lost,
                problem=problem if left else "",
            )

    @classmethod
    def of_left(cls, left: LeftRun) -> SyncRow:
        """Make the row of what cannot be read, and is left as it is."""
        return cls(run=left.path.stem, id=left.path.stem, state="incomplete", problem=left.problem)


def _state_of(report: TrackerReport, when_whole: RowState) -> RowState:
    if report.accepted and report.is_settled:
        return "accepted"
    if not report.is_complete:
        return "incomplete"
    if report.is_settled:
        return when_whole
    return "refused" if report.quarantined else "lost"


def synchronise(
    project: Project,
    *,
    patience: float = 10.0,
    timeout: float | None = None,
    announce: Callable[[list[PendingRun]], None] | None = None,
    progress: Callable[[list[Owed]], None] | None = None,
    refused: bool = False,
) -> list[SyncRow]:
    """Deliver what trackers lack, end dead runs, upload what SDKs keep offline.

    That is what somebody typed: it also serves runs without a stamp of this user's and project's.
    They come from elsewhere, from an older version, or from a process that could have no key.

    Args:
        project: The project.
        patience: Seconds to go on with a tracker that fails.
        timeout: Seconds for each tracker at most, or None.
        announce: Called with the runs without such a stamp, before anything is delivered.
        progress: Called again and again while something is delivered.
        refused: Send once more what trackers have refused, too.
    """
    if refused:
        take_back_all(project)
    pending, left = end_the_dead(project)
    with store_may_be_away():
        index_marked(project)
    offline = list(_kept_or_left(project))
    kept_offline = [run for run in offline if isinstance(run, PendingRun)]
    left += [run for run in offline if isinstance(run, LeftRun) and run not in left]
    ended = [run for run in (*pending, *kept_offline) if not run.is_alive]
    foreign = [run for run in ended if not is_own(run.description, project)]
    if foreign and announce is not None:
        announce(foreign)
    rows = [SyncRow.of_left(run) for run in left]
    rows += [
        SyncRow(run=run.description.run.name, id=run.folder.name, state="running")
        for run in pending
        if run.is_alive
    ]
    delivered = sync_runs(
        pending, project, patience=patience, timeout=timeout, isolates=True, progress=progress
    )
    rows += [SyncRow.of(run, report, "complete") for run, report in delivered]
    hanging: set[str] = set()
    for kept in find_kept_offline(project):
        for report in upload_run(kept, project, timeout=timeout, leave_out=hanging):
            rows.append(SyncRow.of(kept, report, "uploaded"))
            if "has not returned" in report.problem:
                hanging.add(report.tracker)
    rows += _outputs(project, timeout)
    rows += _journals(project, timeout)
    listed = {row.id for row in rows}
    return [*rows, *(row for row in _rows_of_lacking(project) if row.id not in listed)]


def _rows_of_lacking(project: Project) -> Iterator[SyncRow]:
    """Give what is lacking of runs of which nothing is pending any more."""
    lacking, left = find_lacking(project)
    yield from map(SyncRow.of_left, left)
    for run in lacking:
        reports = (report for report in reports_of(run) if not report.is_settled)
        yield from (SyncRow.of(run, report, "complete") for report in reports)


def _outputs(project: Project, timeout: float | None) -> Iterator[SyncRow]:
    """Send the outputs that artifact stores did not take."""
    for outputs, problem in send_unsent(project, timeout=timeout):
        yield from SyncRow.of_outputs(project, outputs, problem)


def _journals(project: Project, timeout: float | None) -> Iterator[SyncRow]:
    """Send the journals that a team's artifact store lacks."""
    for run in share_journals(project, timeout=timeout):
        if run.problem:
            yield SyncRow(
                run=run.name,
                id=run.id,
                tracker="artifact store",
                state="incomplete",
                pending=1,
                problem=run.problem,
            )


def accept(
    project: Project, runs: Collection[PendingRun] | None = None, steps: Collection[str] = ()
) -> list[SyncRow]:
    """Accept by name what trackers do not have of runs, and artifact stores of their outputs.

    Args:
        project: The project.
        runs: The runs; None means all of which something is lacking.
        steps: Ids of steps, which may have no journal here, whose outputs are meant beside those
            of the runs.

    Raises:
        TrackyardError: One is still running, or a process is delivering it.
    """
    lacking, left = find_lacking(project) if runs is None else ([*runs], [])
    reports = [(run, report) for run in lacking for report in accept_losses(run)]
    rows = [SyncRow.of(run, report, "complete") for run, report in reports]
    ids = None if runs is None else {run.folder.name for run in runs}.union(steps)
    return [*map(SyncRow.of_left, left), *rows, *_accept_outputs(project, ids)]


def _accept_outputs(project: Project, ids: Collection[str] | None) -> Iterator[SyncRow]:
    """Accept that artifact stores lack outputs of some steps, or of all."""
    for kept in KeptOutputs(project.home):
        if ids is None or kept.run_id in ids:
            kept.accept()
    outputs = [kept for kept in KeptOutputs(project.home) if ids is None or kept.run_id in ids]
    yield from SyncRow.of_outputs(project, outputs, "")
