"""Does a tracker hold what the journal of a run holds?

The run is read back by the flavor's own `tracker_read_run`, and compared with the journal as it
was sent: fitted to the backend's limits, without what the backend refused.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError, RunNotFoundError, TrackyardError
from trackyard.contract.records import Record, Tag
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.reports import report_of
from trackyard.delivery.state import load_state
from trackyard.journal.children import as_counted
from trackyard.journal.descriptions import REPLAYED_FROM, TrackerDescription
from trackyard.journal.ending import read_status
from trackyard.project.configuration import Project
from trackyard.recovery.finishing import PendingRun
from trackyard.runs.differences import Difference, differences
from trackyard.runs.folders import find_runs, read_entries
from trackyard.runs.gathered import Gathered
from trackyard.runs.reading_back import TIMEOUT, ReadingBack
from trackyard.runs.verifying_elsewhere import KnownRun, known_runs, metrics_that_differ
from trackyard.system.showing import Shown, says
from trackyard.system.suggestions import did_you_mean, listed

_COMMAND = "trackyard runs verify"

VerificationState = Literal["same", "different", "missing", "unreadable"]


@attrs.frozen(repr=False)
class Verification(Shown):
    """How a run on a tracker compares with its journal, or what was imported with its source."""

    run: str = attrs.field(metadata=says("The run's name"))
    tracker: str = attrs.field(
        metadata=says("The tracker's name; empty where the journal was compared with a source")
    )
    state: VerificationState = attrs.field(
        metadata=says(
            "`unreadable` where the flavor cannot read runs back, or failed to; `missing` where a "
            "source's run is not in the project"
        )
    )
    id: str = attrs.field(metadata=says("The run's id"))
    records: int = attrs.field(metadata=says("How many records were compared"))
    pending: int = attrs.field(metadata=says("Records that were not sent yet, hence are missing"))
    quarantined: int = attrs.field(
        metadata=says("Records that the backend refused, which are not expected there")
    )
    native: int = attrs.field(
        default=0,
        kw_only=True,
        metadata=says(
            "Records that calls of the tracker's own SDK put there in its own form; of these, "
            "metrics and params are compared where it has them under the same key"
        ),
    )
    differences: tuple[Difference, ...] = attrs.field(
        default=(), metadata=says("What is missing or different")
    )
    problem: str = attrs.field(default="", metadata=says("Why it could not be read"))
    has_journal: bool = attrs.field(
        default=True,
        metadata=says(
            "Its journal is here; else what the store knows was compared, and its points were not"
        ),
    )
    left: Mapping[str, int] = attrs.field(
        factory=dict,
        kw_only=True,
        metadata=says("What of a source cannot be imported, with how often; it is not expected"),
    )
    changed: Mapping[str, int] = attrs.field(
        factory=dict,
        kw_only=True,
        metadata=says("What of a source comes as something else, with how often"),
    )


def verify_runs(
    project: Project, name: str, tracker: str | None = None, *, timeout: float = TIMEOUT
) -> list[Verification]:
    """Compare the runs of a name, or of a pipeline run, with their journals.

    Where those are not here, trackers are compared with what the store knows of the runs. One that
    has not answered in time is not asked again.

    Args:
        project: Their project.
        name: A name, an id or a prefix of an id.
        tracker: One of their trackers; those that are not on it are left out.
        timeout: Seconds that a tracker may take for each run.

    Raises:
        RunNotFoundError: There is none.
        ConfigError: None is on that tracker.
    """
    try:
        found = find_runs(project, name)
    except RunNotFoundError as missing:
        return _verify_elsewhere(project, name, tracker, timeout, missing)
    on_it = [r for r in found if tracker in (None, *(t.name for t in r.description.trackers))]
    reading = ReadingBack(project, timeout, _COMMAND)
    return [row for run in on_it or found for row in _verify_run(run, reading, tracker)]


def verify_run(
    run: PendingRun, project: Project, tracker: str | None = None, *, timeout: float = TIMEOUT
) -> list[Verification]:
    """Compare a run on its trackers, or on one of them, with its journal.

    Args:
        run: The run.
        project: Its project.
        tracker: One of its trackers; all by default.
        timeout: Seconds that a tracker may take.

    Raises:
        ConfigError: The run is not on that tracker.
    """
    return _verify_run(run, ReadingBack(project, timeout, _COMMAND), tracker)


def _verify_elsewhere(
    project: Project, name: str, tracker: str | None, timeout: float, missing: RunNotFoundError
) -> list[Verification]:
    reading = ReadingBack(project, timeout, _COMMAND)
    with known_runs(project, name) as every:
        if not every:
            raise missing
        on_it = [
            k for k in every if tracker in (None, *(t.name for t in k.run.description.trackers))
        ]
        return [row for k in on_it or every for row in _verify_run(k.run, reading, tracker, k)]


def _verify_run(
    run: PendingRun, reading: ReadingBack, tracker: str | None, known: KnownRun | None = None
) -> list[Verification]:
    described = {known.name: known for known in run.description.trackers}
    if tracker is not None and tracker not in described:
        hint = did_you_mean(tracker, described) or f"; it is on {listed(described)}"
        name = run.description.run.name
        raise ConfigError(f"run {name!r} is not on experiment tracker {tracker!r}{hint}")
    chosen = [described[tracker]] if tracker else described.values()
    return [_verify(run, description, reading, known) for description in chosen]


def verify_journal(
    run: PendingRun, description: TrackerDescription, reading: ReadingBack, journal: Path
) -> Verification:
    """Compare a run on a tracker with a journal that should come to the same as its own.

    Args:
        run: The run.
        description: The tracker as the run has it.
        reading: Reads runs back.
        journal: The folder of the journal.
    """
    return _verify(run, description, reading, None, journal)


def _verify(
    run: PendingRun,
    description: TrackerDescription,
    reading: ReadingBack,
    known: KnownRun | None,
    journal: Path | None = None,
) -> Verification:
    folder = run.folder / description.folder
    report = report_of(description.name, load_state(folder), folder)
    verification = Verification(
        run=run.description.run.name,
        tracker=description.name,
        state="unreadable",
        id=run.description.run.id,
        records=0,
        pending=report.pending,
        quarantined=report.quarantined,
        has_journal=known is None,
    )
    count, native = Counter[str](), Gathered()
    try:
        tracker = reading.tracker(run.description, description)
        place = (run.description, run.folder, description, tracker)
        stored = reading.records(*place, Gathered.of)
    except TrackyardError as error:
        return attrs.evolve(verification, problem=str(error))
    with tempfile.TemporaryDirectory() as long_texts:
        adapter = Adapter(
            tracker.capabilities,
            Path(long_texts),
            takes_context=tracker.options.context is not False,
            takes_console=tracker.options.console is not False,
        )
        able = tracker.capabilities
        if known is None:
            all_ranks = tracker.options.rank == "all"
            whole = attrs.evolve(run, folder=journal or run.folder)
            given = _expected(whole, description, folder, adapter, native, all_ranks=all_ranks)
            found = differences(_counted(given, count), stored, able, native)
        else:
            given = _expected_of_known(known, folder, adapter)
            rows = known.details.metrics
            found = differences(_counted(given, count), stored, able)
            found += metrics_that_differ(rows, stored.metrics, adapter, able)
    state: VerificationState = "different" if found else "same"
    records = count["records"] + (len(known.details.metrics) if known else 0)
    return attrs.evolve(
        verification,
        state=state,
        records=records,
        native=native.count,
        differences=tuple(found),
    )


def _counted(records: Iterable[Record], count: Counter[str]) -> Iterator[Record]:
    for record in records:
        count["records"] += 1
        yield record


def _expected(
    run: PendingRun,
    description: TrackerDescription,
    folder: Path,
    adapter: Adapter,
    native: Gathered,
    *,
    all_ranks: bool,
) -> Iterator[Record]:
    """Give what the tracker should hold: tags of the start, records as sent, the status.

    Args:
        run: The run, with the journal that is compared.
        description: The tracker as the run has it.
        folder: The tracker's folder in the run's.
        adapter: Fits records to the backend.
        native: Gets what calls of the tracker's own SDK have put there.
        all_ranks: The tracker gets what children of a rank above 0 have logged.
    """
    refused, state = _refused(folder), load_state(folder)
    yield from _tags_of_start(run, adapter)
    for position, entry in read_entries(run.folder):
        counted = as_counted(entry, position.writer, all_ranks=all_ranks)
        if counted is None or state.is_of_another_sdk(entry.held_by, description.name):
            continue
        if state.is_put_there(entry.held_by, description.name):
            for record in counted.records():
                native.add(record)
            continue
        for record in counted.records():
            for adapted in adapter.adapt(record):
                if not refused or _identity(adapted) not in refused:
                    yield adapted
    if state.is_ended:
        yield from _unchanged([Tag("trackyard.status", read_status(run.folder)[0])], adapter)


def _expected_of_known(known: KnownRun, folder: Path, adapter: Adapter) -> Iterator[Record]:
    """Give what the tracker should hold of a run that the store knows, but for its metrics."""
    refused = _refused(folder)
    yield from _tags_of_start(known.run, adapter)
    adapted = (record for given in known.records() for record in adapter.adapt(given))
    yield from (record for record in adapted if _identity(record) not in refused)
    if known.status != "running":
        yield from _unchanged([Tag("trackyard.status", known.status)], adapter)


def _tags_of_start(run: PendingRun, adapter: Adapter) -> Iterator[Record]:
    tags = {**run.description.run.tags, "trackyard.run_id": run.description.run.id}
    of_start = [Tag(key, value) for key, value in tags.items() if key != REPLAYED_FROM]
    return _unchanged(of_start, adapter)


def _unchanged(tags: Iterable[Tag], adapter: Adapter) -> Iterator[Record]:
    """Give the tags that the backend takes as they are."""
    return (tag for tag in tags if adapter.adapt(tag) == [tag])


def _refused(folder: Path) -> set[str]:
    """Name the records that are quarantined, as they were sent."""
    try:
        lines = (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        try:
            found.add(_identity_of(json.loads(line)["record"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # torn by a full disk
    return found


def _identity(record: Record) -> str:
    return _identity_of(attrs.asdict(record))


def _identity_of(values: dict[str, Any]) -> str:
    """Make a text of a record's values; where a file lies is none of them."""
    return json.dumps({k: v for k, v in values.items() if k != "path"}, sort_keys=True, default=str)
