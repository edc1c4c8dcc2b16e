"""How does somebody end a run by hand whose process is gone, here or on another machine?"""

from __future__ import annotations

import time
from contextlib import closing
from typing import get_args

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Failure, FinalStatus, Status
from trackyard.project.configuration import Project
from trackyard.project.storing import SILENT_AFTER, load_store_options, names_store
from trackyard.recovery.autopsy import end_as
from trackyard.recovery.declaring import declare_dead
from trackyard.recovery.elsewhere import send_from_here
from trackyard.recovery.finishing import PendingRun, store_may_be_away, sync_run
from trackyard.recovery.syncing import RowState, SyncRow
from trackyard.runs.annotating import SentAnnotation, rows_of
from trackyard.runs.finding import FoundRun, find_run
from trackyard.runs.folders import find_runs
from trackyard.store import Store
from trackyard.store.annotations import left_elsewhere
from trackyard.store.listing import has_store
from trackyard.store.lives import SilentRun, end_by_hand, seconds_since_sign, silent_runs
from trackyard.system.durations import seconds_in

ENDS: tuple[Status, ...] = ("crashed", *get_args(FinalStatus))


def end_run(
    project: Project,
    store: Store | None,
    found: FoundRun,
    status: Status,
    *,
    is_forced: bool = False,
    patience: float = 10.0,
) -> list[SentAnnotation]:
    """End a run, with its steps and child runs, in the store and on its trackers.

    A run whose machine comes back after all is open again, and gets the end that it has then.

    Args:
        project: The run's project.
        store: Its store; None where it has none yet.
        found: The run.
        status: How it ended.
        is_forced: End also what gave a sign of life a moment ago.
        patience: Seconds to go on with a tracker that fails.

    Returns:
        For each of its trackers whether it knows the end.

    Raises:
        TrackyardError: It lives, or has ended.
    """
    failure = None if status == "finished" else _by_hand(status)
    here = _here(project, found)
    if here:
        declare_dead(project, here)
    elif store is not None and not is_forced:
        _refuse_living(store, found)
    ended = end_by_hand(store, found.id, failure) if store is not None else []
    before = len(ended)
    rows: list[SentAnnotation] = []
    for run in here:
        before += end_as(run.folder, failure)
        reports = sync_run(run, project, patience=patience)
        rows += rows_of(found, reports, "pending")
    if not before:
        raise TrackyardError(f"run {found.name!r} has ended; it is ended once")
    known = {run.folder.name for run in here}
    for id_ in ended:
        left = left_elsewhere(store, id_) if store is not None and id_ not in known else None
        if store is not None and left is not None:
            end = _end_in(store, id_), failure
            reports = send_from_here(project, left, id_, (), end, patience=patience)
            rows += rows_of(found, reports, "not sent")
    return rows


def end_silent_runs(project: Project, *, patience: float = 10.0) -> list[SyncRow]:
    """End as crashed the runs of gone machines that are silent for the store's `end_after`.

    Nothing is ended where the project does not say how long that is. A store that is away leaves
    them for the next time.

    Args:
        project: The project.
        patience: Seconds to go on with a tracker that fails.

    Returns:
        For each of their trackers whether it knows the end; a row without a tracker where a run
        has none.
    """
    end_after = load_store_options(project).end_after
    seconds = seconds_in(end_after) if end_after is not None else None
    if seconds is None or not (names_store(project) or has_store(project)):
        return []
    rows: list[SyncRow] = []
    with store_may_be_away(), closing(Store.of(project)) as store:
        # What belongs to a pipeline run ends with it.
        silent = sorted(silent_runs(store, seconds), key=lambda run: run.kind == "step")
        for run in silent:
            if seconds_since_sign(store, run.id) is None:
                continue
            try:
                found = find_run(project, store, run.id)
                sent = end_run(project, store, found, "crashed", patience=patience)
            except TrackyardError as error:  # such as one that lives here, without its store
                rows.append(_sync_row(run, problem=str(error)))
                continue
            rows += [_sync_row(run, one.tracker, one.problem) for one in sent] or [_sync_row(run)]
    return rows


def _sync_row(run: SilentRun, tracker: str = "", problem: str = "") -> SyncRow:
    state: RowState = "incomplete" if problem else "complete"
    return SyncRow(run=run.name, id=run.id, tracker=tracker, state=state, problem=problem)


def _by_hand(status: Status) -> Failure:
    assert status in ("failed", "killed", "crashed")
    return Failure(status, "EndedByHand", "its process was gone, and somebody ended it")


def _here(project: Project, found: FoundRun) -> list[PendingRun]:
    if found.listed is not None:
        return []
    try:
        return find_runs(project, found.id)
    except TrackyardError:  # its journals are elsewhere
        return []


def _refuse_living(store: Store, found: FoundRun) -> None:
    since = seconds_since_sign(store, found.id)
    if since is not None and since < SILENT_AFTER:
        raise TrackyardError(
            f"run {found.name!r} gave a sign of life {since:.0f} s ago; stop it where it runs, or "
            f"type: trackyard runs end {found.id} --force"
        )


def _end_in(store: Store, id: str) -> int:
    rows = store.execute("SELECT ended_at FROM runs WHERE id = :id", {"id": id})
    return int(rows[0]["ended_at"] or 0) if rows else time.time_ns()
