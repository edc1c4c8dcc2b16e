"""How do the runs of a tracker, or of an export, become runs of the project, and go on to others?

The source is listed first, so that parents go before their children and the time that is left is
known; then each run is read, written and moved in by itself. Doing it twice changes nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal, Self

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.importing import MetricPoints, RemoteRun, RunQuery
from trackyard.delivery.adapting import Adapter
from trackyard.hooks.discovery import load_plugins
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.durability import load_journal_options
from trackyard.journal.family import children_of, note_child
from trackyard.journal.pending import mark_as_to_be_indexed, mark_as_to_be_shared
from trackyard.project.configuration import Project, in_project
from trackyard.project.trackers import Trackers
from trackyard.recovery.finishing import PendingRun
from trackyard.recovery.import_filters import RunFilter
from trackyard.recovery.import_sources import Source, open_source, read_remote
from trackyard.recovery.imported_runs import (
    IsOtherRun,
    Mark,
    Piece,
    Place,
    RunWriter,
    Tallied,
    id_of,
    id_of_run,
    is_run_id,
    load_mark,
    pieces_of,
)
from trackyard.recovery.indexing import index_marked
from trackyard.recovery.replay import replay_run
from trackyard.system.files import make_home, make_private_folder
from trackyard.system.locks import FileLock
from trackyard.system.showing import Shown, says

ImportState = Literal["new", "grown", "same", "own", "left out", "failed", "planned"]


@attrs.frozen(kw_only=True, repr=False)
class ImportedRun(Shown):
    """What an import has made, or would make, of a run."""

    run: str = attrs.field(metadata=says("The run's name"))
    id: str = attrs.field(metadata=says("Its id in the project"))
    remote_id: str = attrs.field(metadata=says("The source's own id of it"))
    experiment: str = attrs.field(default="", metadata=says("Its experiment"))
    status: str | None = attrs.field(default=None, metadata=says("Its status"))
    state: ImportState = attrs.field(
        metadata=says(
            "`new`; `grown` where more was added to a run that was here; `same` where nothing was; "
            "`own` where it is a run of this project; `left out` where the filter does; `failed`, "
            "or `planned`"
        )
    )
    metrics: int = attrs.field(default=0, metadata=says("Points of metrics"))
    params: int = attrs.field(default=0, metadata=says("Params"))
    tags: int = attrs.field(default=0, metadata=says("Tags"))
    artifacts: int = attrs.field(default=0, metadata=says("Artifacts"))
    bytes: int = attrs.field(default=0, metadata=says("The size of its artifacts"))
    left: int = attrs.field(default=0, metadata=says("How many records cannot be imported"))
    changed: int = attrs.field(default=0, metadata=says("How many come as something else"))
    losses: Mapping[str, int] = attrs.field(
        factory=dict, metadata=says("What cannot be imported, with how often")
    )
    changes: Mapping[str, int] = attrs.field(
        factory=dict, metadata=says("What comes as something else, with how often")
    )
    tracker: str = attrs.field(default="", metadata=says("The tracker that it went on to"))
    delivered: bool | None = attrs.field(
        default=None, metadata=says("That tracker has all of it; null where there is none")
    )
    problem: str = attrs.field(default="", metadata=says("What went wrong, as one line"))

    @property
    def is_lacking(self) -> bool:
        """The run did not arrive, here or there."""
        return self.state == "failed" or self.delivered is False


@attrs.define
class ImportProgress:
    """How far an import is.

    Attributes:
        runs, of: How many runs are done, and how many there are; 0 while they are listed.
        listed: How many were found so far.
        records: How many records were read.
        bytes, of_bytes: How much of the source was read, and how much there is; 0 if unknown.
    """

    runs: int = 0
    of: int = 0
    listed: int = 0
    records: int = 0
    bytes: int = 0
    of_bytes: int = 0


Told = Callable[[ImportProgress], None]


@attrs.frozen(kw_only=True)
class Wanted:
    """Which runs of a source are imported, and how.

    Attributes:
        experiment, since, limit: As in `RunQuery`.
        runs: Names and remote ids; without any, all runs.
        filter: As for `runs list`, on what was logged.
        to: A tracker that they go on to.
        is_plan: Nothing is written; the source is read, and what would become of it is counted.
    """

    experiment: str | None = None
    since: int | None = None
    limit: int | None = None
    runs: Collection[str] = ()
    filter: str = ""
    to: str | None = None
    is_plan: bool = False


def import_runs(
    project: Project, source: str, wanted: Wanted | None = None, told: Told | None = None
) -> Iterator[ImportedRun]:
    """Import runs, one after the other; give what came of each.

    Args:
        project: Where they go.
        source: A configured tracker, or `flavor:place`.
        wanted: Which, and how; all by default.
        told: Called again and again with how far it is.

    Raises:
        ConfigError: The source or the tracker is not known, or wrong.
        FilterError: The filter is wrong.
        TrackyardError: The source cannot be listed, or another import is under way.
    """
    wanted = wanted or Wanted()
    opened = open_source(project, source)
    if wanted.to is not None:
        Trackers(project).select(wanted.to)  # what is wrong with it is said before anything is read
    with in_project(project), _Import(project, opened, wanted, told) as importing:
        yield from importing.all()


class _Import:
    """An import while it goes on; the project takes one at a time."""

    def __init__(self, project: Project, source: Source, wanted: Wanted, told: Told | None) -> None:
        self._project, self._source, self._wanted = project, source, wanted
        self._told = told
        self._is_shared = load_journal_options(project).upload
        self._progress = ImportProgress()
        self._plugins = load_plugins()[0]
        self._writer = RunWriter(source.flavor, source.redactor, self._plugins, self._count_records)
        self._ids: dict[str, str] = {}
        self._places: dict[str, Place] = {}
        self._parents: dict[str, str] = {}  # as runs themselves say, whose parents may come later
        self._folder = project.home / "importing"
        self._lock: FileLock | None = None
        self._filter: RunFilter | None = None

    def __enter__(self) -> Self:
        if self._wanted.filter:
            self._filter = RunFilter(self._wanted.filter)
        if not self._wanted.is_plan:
            make_private_folder(make_home(self._project.home) / "runs")
            self._lock = FileLock(self._project.home / "importing.lock")
            if not self._lock.acquire():
                raise TrackyardError("another import is under way in this project; wait for it")
            shutil.rmtree(self._folder, ignore_errors=True)  # what a killed one has left
            make_private_folder(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        if self._filter is not None:
            self._filter.close()
        if self._lock is not None:
            try:
                shutil.rmtree(self._folder, ignore_errors=True)
                index_marked(self._project)
            finally:
                self._lock.release()

    def all(self) -> Iterator[ImportedRun]:
        """Import each run that is wanted."""
        runs = parents_first(self._listed())
        self._progress.of = len(runs)
        self._progress.of_bytes = sum(run.size for run in runs)
        for number, remote in enumerate(runs, start=1):
            yield self._imported(remote)
            self._progress.runs = number
            self._progress.bytes += remote.size
            self._tell()
            if number == len(runs):
                self._note_parents()
            if number % _INDEXED_AT_ONCE == 0 and not self._wanted.is_plan:
                index_marked(self._project)

    def _listed(self) -> Iterator[RemoteRun]:
        wanted = self._wanted
        limit = None if wanted.runs else wanted.limit
        query = RunQuery(self._source.place, wanted.experiment, wanted.since, limit)
        found = (
            run
            for run in self._source.reader.list_runs(query)
            if query.fits(run)
            and (not wanted.runs or run.remote_id in wanted.runs or run.name in wanted.runs)
        )
        for run in islice(found, wanted.limit):
            self._progress.listed += 1
            self._tell()
            yield run

    def _imported(self, remote: RemoteRun) -> ImportedRun:
        tallied = Tallied(remote)
        try:
            if self._wanted.is_plan:
                return self._planned(tallied)
            row = self._written(tallied, id_of_run(self._source.flavor, remote))
            return self._sent_on(row)
        except (TrackyardError, OSError) as error:
            return _row(tallied, "", "failed", problem=" ".join(str(error).split()))

    def _written(self, tallied: Tallied, run_id: str) -> ImportedRun:
        """Write a run, or what it has more than is here."""
        remote = tallied.remote
        self._ids[remote.remote_id] = run_id
        folder = self._project.home / "runs" / run_id
        mark = load_mark(folder)
        if mark is None and folder.is_dir():
            return _row(tallied, run_id, "own")
        self._place(remote, run_id)
        if mark is not None and mark.version is not None and mark.version == remote.version:
            return _row_of_mark(mark, tallied, run_id)
        try:
            with read_remote(self._source, remote) as stream:
                if mark is not None:
                    return self._gone_on(folder, stream, tallied, mark)
                staged = self._folder / run_id
                self._writer.write(staged, stream, tallied, self._places[remote.remote_id])
        except IsOtherRun as other:
            if run_id != id_of_run(self._source.flavor, remote):
                raise TrackyardError(f"it says that it is {run_id}, and {other.run_id}") from other
            return self._written(Tallied(remote), other.run_id)
        if self._filter is not None and not self._filter.fits(staged):
            shutil.rmtree(staged, ignore_errors=True)
            return _row(tallied, run_id, "left out")
        self._mark(folder)
        if tallied.place.parent_id is not None:
            self._parents[run_id] = tallied.place.parent_id
        os.rename(staged, folder)  # noqa: PTH104 - onto nothing: a folder that is there stays
        return _row(tallied, run_id, "new")

    def _mark(self, folder: Path) -> None:
        """Note that others than the journal lack what is about to be written there."""
        mark_as_to_be_indexed(folder)
        if self._is_shared:
            mark_as_to_be_shared(folder)

    def _note_parents(self) -> None:
        """Note runs with those that they say they stand below, which are here by now."""
        runs = self._project.home / "runs"
        for child, parent in self._parents.items():
            if (runs / parent).is_dir() and child not in children_of(runs / parent):
                note_child(runs / parent, child)
        self._parents.clear()

    def _gone_on(
        self, folder: Path, stream: Iterator[Piece], tallied: Tallied, mark: Mark
    ) -> ImportedRun:
        self._mark(folder)
        has_grown = self._writer.go_on(folder, stream, tallied, mark)
        return _row(tallied, folder.name, "grown" if has_grown else "same")

    def _place(self, remote: RemoteRun, run_id: str) -> None:
        """Find where a run stands, and note that with its parent, which is here by now."""
        if remote.parent_id is None:
            self._places[remote.remote_id] = Place()
            return
        parent = self._ids.get(remote.parent_id) or id_of(self._source.flavor, remote.parent_id)
        above = self._places.get(remote.parent_id, Place())
        self._places[remote.remote_id] = Place(parent, above.group or parent)
        folder = self._project.home / "runs" / parent
        if folder.is_dir() and run_id not in children_of(folder):
            note_child(folder, run_id)

    def _planned(self, tallied: Tallied) -> ImportedRun:
        """Read a run and count, by what the target can hold."""
        changes = Counter[str]()
        run_id = id_of_run(self._source.flavor, tallied.remote)
        with (
            read_remote(self._source, tallied.remote) as stream,
            tempfile.TemporaryDirectory() as long_texts,
        ):
            adapter = self._adapter(Path(long_texts))
            try:
                for record in pieces_of(stream, tallied, run_id):
                    self._count_records(len(record) if isinstance(record, MetricPoints) else 1)
                    if adapter is None:
                        continue
                    for one in record.metrics() if isinstance(record, MetricPoints) else (record,):
                        adapter.adapt(one)
            except IsOtherRun as other:
                run_id = other.run_id
            if adapter is not None:
                changes.update(adapter.changes)
        for what, count in changes.items():
            noted = tallied.left if what.endswith("were left out") else tallied.changed
            noted[f"{self._wanted.to}: {what}"] += count
        is_here = (self._project.home / "runs" / run_id).is_dir()
        return _row(tallied, run_id, "same" if is_here else "planned")

    def _adapter(self, long_texts: Path) -> Adapter | None:
        if self._wanted.to is None:
            return None
        (target,) = Trackers(self._project).select(self._wanted.to)
        return Adapter(target.capabilities, long_texts)

    def _sent_on(self, row: ImportedRun) -> ImportedRun:
        """Send a run on to the tracker that was named."""
        to = self._wanted.to
        if to is None or row.state == "left out" or not is_run_id(row.id):
            return row
        folder = self._project.home / "runs" / row.id
        description: RunDescription | None = load_description(folder)
        if description is None:
            return attrs.evolve(row, tracker=to, delivered=False, problem="it cannot be described")
        report = replay_run(PendingRun(folder, description, is_alive=False), self._project, to)
        refused = report.quarantined - report.accepted
        problem = report.problem or row.problem
        if refused > 0 and not problem:
            problem = f"{to} refused {refused} records; type: trackyard sync --refused"
        is_whole = report.is_complete and refused <= 0
        return attrs.evolve(row, tracker=to, delivered=is_whole, problem=problem)

    def _count_records(self, count: int) -> None:
        self._progress.records += count
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            self._told(self._progress)


# So many runs are written into the store's index at once.
_INDEXED_AT_ONCE = 500


def parents_first(runs: Iterator[RemoteRun]) -> list[RemoteRun]:
    """Put each run behind the one that it stands below, else in the order of the source.

    Args:
        runs: The runs; each of them counts once.
    """
    by_id = {run.remote_id: run for run in runs}
    ordered: dict[str, RemoteRun] = {}
    for run in by_id.values():
        above: list[RemoteRun] = []
        seen: set[str] = set()  # what goes round in a circle ends somewhere
        current: RemoteRun | None = run
        while current is not None and current.remote_id not in ordered:
            if current.remote_id in seen:
                break
            seen.add(current.remote_id)
            above.append(current)
            current = by_id.get(current.parent_id or "")
        for one in reversed(above):
            ordered[one.remote_id] = one
    return list(ordered.values())


def _row(tallied: Tallied, run_id: str, state: ImportState, problem: str = "") -> ImportedRun:
    remote, counts = tallied.remote, tallied.counts
    return ImportedRun(
        run=remote.name or remote.remote_id,
        id=run_id,
        remote_id=remote.remote_id,
        experiment=remote.experiment or "",
        status=remote.status,
        state=state,
        metrics=counts["metrics"],
        params=counts["params"],
        tags=counts["tags"],
        artifacts=counts["artifacts"],
        bytes=counts["bytes"],
        left=tallied.left.total(),
        changed=tallied.changed.total(),
        losses=dict(tallied.left),
        changes=dict(tallied.changed),
        problem=problem,
    )


def _row_of_mark(mark: Mark, tallied: Tallied, run_id: str) -> ImportedRun:
    """Give the row of a run that was imported as it is now."""
    before = Tallied(
        tallied.remote, Counter(mark.counts), Counter(mark.left), Counter(mark.changed)
    )
    return _row(before, run_id, "same")
