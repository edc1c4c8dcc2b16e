"""How does a run get tags, a note or another name after its start, here and on its trackers?

Where its journal is here, they are written there as by a child of the run, and delivered like
what a child logs late. Else the store has them, and trackers that can be reached from here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import NAME, NOTE
from trackyard.delivery.reports import TrackerReport
from trackyard.journal.descriptions import load_description
from trackyard.journal.durability import load_journal_options
from trackyard.journal.entries import Entry
from trackyard.journal.pending import mark_as_pending, mark_as_to_be_indexed, mark_as_to_be_shared
from trackyard.journal.reader import is_attended, latest_session
from trackyard.journal.summaries import keep_summary, kept_summary
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import Project
from trackyard.recovery.elsewhere import failure_in, send_from_here
from trackyard.recovery.finishing import PendingRun, store_may_be_away, sync_run
from trackyard.recovery.indexing import index_marked
from trackyard.redaction.redactor import Redactor
from trackyard.runs.finding import FoundRun
from trackyard.runs.histories import has_journal
from trackyard.store import Store
from trackyard.store.annotations import Annotation, annotate, left_elsewhere
from trackyard.store.databases import StoreError
from trackyard.system.coercing import to_text
from trackyard.system.showing import Shown, says
from trackyard.system.users import user_name

SentState = Literal["sent", "pending", "not sent"]
_RESERVED = "trackyard."


@attrs.frozen(repr=False)
class SentAnnotation(Shown):
    """Whether one tracker of a run has what was said of it."""

    run: str = attrs.field(metadata=says("The run's name"))
    tracker: str = attrs.field(metadata=says("The tracker's name"))
    state: SentState = attrs.field(
        metadata=says("`pending` is sent by `trackyard sync`; `not sent` is not sent by anything")
    )
    id: str = attrs.field(metadata=says("The run's id"))
    problem: str = attrs.field(default="", metadata=says("Why it was not sent"))


def checked_tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    """Give tags as texts.

    Args:
        tags: Values by key.

    Raises:
        TrackyardError: There are none, or a key is none.
    """
    texts = {
        to_text(key): value if type(value) is str else to_text(value) for key, value in tags.items()
    }
    wrong = next((key for key in texts if not key or key.startswith(_RESERVED)), None)
    if wrong is not None:
        raise TrackyardError(f"{wrong!r} is no key of a tag: those of trackyard.* are its own")
    if not texts:
        raise TrackyardError("no tags are given; give such as reviewed=yes")
    return texts


def annotate_run(
    project: Project,
    store: Store | None,
    found: FoundRun,
    said: Annotation,
    *,
    patience: float = 10.0,
) -> list[SentAnnotation]:
    """Write what somebody says of a run in its journal and in the store, and send it to trackers.

    Args:
        project: The run's project.
        store: Its store; None where it has none yet.
        found: The run.
        said: What is said of it.
        patience: Seconds to go on with a tracker that fails.

    Returns:
        For each tracker of the run whether it has it.

    Raises:
        TrackyardError: It cannot be written anywhere.
    """
    if said.name is not None and _is_step(found):
        raise TrackyardError(f"step {found.name!r} keeps the name that its pipeline gave it")
    said = _redacted(said)
    folder = found.folder or project.home / "runs" / found.id
    description = found.description or load_description(folder)
    is_here = description is not None and has_journal(folder)
    entry = Entry("tags", time.time_ns(), None, _as_tags(said))
    if is_here:
        _write(folder, entry)
        if load_journal_options(project).upload:
            mark_as_to_be_shared(folder)
    try:
        is_stored = store is not None and annotate(
            store, found.id, said, entry.timestamp, user_name()
        )
    except StoreError:
        if not is_here:
            raise
        is_stored = False
    if is_here and not is_stored:
        mark_as_to_be_indexed(folder)
        with store_may_be_away():
            index_marked(project)  # a project of an older version is looked up by it from now on
    if is_here:
        assert description is not None
        run = PendingRun(folder, description, is_attended(folder))
        return _delivered(found, run, project, patience)
    if store is None:
        raise TrackyardError(f"run {found.name!r}: there is no store to write this to")
    return _sent_from_here(project, store, found, entry, patience)


def _is_step(found: FoundRun) -> bool:
    if found.description is not None:
        return found.description.run.step is not None
    return found.listed is not None and found.listed.kind == "step"


def _redacted(said: Annotation) -> Annotation:
    redact = Redactor().redact
    return Annotation(
        {redact(key): redact(text) for key, text in said.tags.items()},
        None if said.note is None else redact(said.note),
        None if said.name is None else redact(said.name),
    )


def _as_tags(said: Annotation) -> dict[str, str]:
    own = {NOTE: said.note, NAME: said.name}
    return {**said.tags, **{key: text for key, text in own.items() if text is not None}}


def _write(folder: Path, entry: Entry) -> None:
    """Write into a run's journal beside its own process; its summary stays true of it."""
    summary = kept_summary(folder)
    session = latest_session(folder)
    journal = JournalWriter(folder, "child", makes_folder=False, session=session)
    journal.append(entry)
    journal.close()
    if journal.dropped:
        raise TrackyardError(f"{folder}: cannot be written; is the disk full?")
    if summary is not None:
        keep_summary(folder, attrs.evolve(summary, tags={**summary.tags, **entry.data}))


def _delivered(
    found: FoundRun, run: PendingRun, project: Project, patience: float
) -> list[SentAnnotation]:
    if not run.description.trackers:
        return []
    mark_as_pending(run.folder)
    if run.is_alive:  # its own process reads what children write
        names = [tracker.name for tracker in run.description.trackers]
        return [_row(found, name, "pending", "its process sends it") for name in names]
    return rows_of(found, sync_run(run, project, patience=patience), "pending")


def _sent_from_here(
    project: Project, store: Store, found: FoundRun, entry: Entry, patience: float
) -> list[SentAnnotation]:
    (row,) = store.execute(
        "SELECT status, error, ended_at FROM runs WHERE id = :id", {"id": found.id}
    )
    names = store.execute(
        "SELECT t.name FROM trackers t JOIN runs r ON r.no = t.run WHERE r.id = :id",
        {"id": found.id},
    )
    left = left_elsewhere(store, found.id)
    problem = "" if left else "its journal is not on this machine; type this where it ran"
    if row["status"] == "running":
        problem = "the run goes on on another machine; type this again after its end"
    if problem or left is None:
        return [_row(found, known["name"], "not sent", problem) for known in names]
    end = int(row["ended_at"] or time.time_ns()), failure_in(row)
    reports = send_from_here(project, left, found.id, [entry], end, patience=patience)
    return rows_of(found, reports, "not sent")


def rows_of(
    found: FoundRun, reports: Iterable[TrackerReport], failed: SentState
) -> list[SentAnnotation]:
    """Say of each tracker whether it has what was sent, and why not.

    Args:
        found: The run.
        reports: How it stands on each tracker.
        failed: The state of one that has not.
    """
    rows = []
    for report in reports:
        state: SentState = "sent" if report.is_complete else failed
        problem = "" if report.is_complete else report.problem
        if report.is_complete and report.is_kept_offline:
            state, problem = "pending", "its SDK keeps the run until: trackyard sync"
        rows.append(_row(found, report.tracker, state, problem))
    return rows


def _row(found: FoundRun, tracker: str, state: SentState, problem: str) -> SentAnnotation:
    return SentAnnotation(found.name, tracker, state, found.id, problem)
