"""Do the project, and the trackers that imported runs went on to, hold what their source holds?

Each run is read from the source once more and written aside, as an import would: that is compared
with its journal, and with what its trackers give back.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from trackyard.contract.errors import ConfigError, RunNotFoundError, TrackyardError
from trackyard.contract.importing import RemoteRun, RunQuery
from trackyard.contract.records import Capabilities, Failure, Record
from trackyard.hooks.discovery import load_plugins
from trackyard.journal.descriptions import load_description
from trackyard.journal.ending import read_status
from trackyard.project.configuration import Project, in_project
from trackyard.recovery.finishing import PendingRun
from trackyard.recovery.import_sources import Source, open_source, read_remote
from trackyard.recovery.imported_runs import IsOtherRun, Place, RunWriter, Tallied, id_of_run
from trackyard.runs.differences import Difference, differences
from trackyard.runs.folders import read_entries
from trackyard.runs.reading_back import TIMEOUT, ReadingBack
from trackyard.runs.verifying import Verification, VerificationState, verify_journal
from trackyard.system.suggestions import did_you_mean, listed

_COMMAND = "trackyard runs verify --source"


def verify_import(
    project: Project,
    source: str,
    names: Collection[str] = (),
    tracker: str | None = None,
    *,
    timeout: float = TIMEOUT,
) -> Iterator[Verification]:
    """Compare the runs of a source with the project's, and with what their trackers hold of them.

    Args:
        project: The project that they were imported into.
        source: A configured tracker, or `flavor:place`.
        names: Names and ids, the source's or the project's; all runs of the source without any.
        tracker: One of their trackers; all, and the journal, by default.
        timeout: Seconds that a tracker may take for each run.

    Raises:
        ConfigError: The source is not known, or none of the runs is on that tracker.
        RunNotFoundError: The source has no such run.
        TrackyardError: The source cannot be listed.
    """
    opened = open_source(project, source)
    reading = ReadingBack(project, timeout, f"{_COMMAND} {opened.name}")
    with in_project(project), tempfile.TemporaryDirectory(prefix="trackyard-verify-") as place:
        verifying = _Verifying(project, opened, reading, tracker, Path(place))
        found = False
        for remote in opened.reader.list_runs(RunQuery(opened.place)):
            if _is_meant(remote, id_of_run(opened.flavor, remote), names):
                found = True
                yield from verifying.rows(remote)
    if names and not found:
        raise RunNotFoundError(f"{opened.name} has no run {listed(names)}")
    if tracker is not None and found and tracker not in verifying.trackers:
        hint = did_you_mean(tracker, verifying.trackers) or (
            f"; they are on {listed(verifying.trackers)}" if verifying.trackers else ""
        )
        raise ConfigError(f"none of these runs is on experiment tracker {tracker!r}{hint}")


def _is_meant(remote: RemoteRun, run_id: str, names: Collection[str]) -> bool:
    known = (remote.name, remote.remote_id)
    return not names or any(n in known or (n and run_id.startswith(n)) for n in names)


@attrs.define
class _Verifying:
    """Compares runs of one source.

    Attributes:
        project: Where they were imported into.
        source: The source.
        reading: Reads them back from trackers.
        tracker: The only tracker that is wanted, or None.
        place: Where they are written aside.
        trackers: The trackers that were met so far.
    """

    project: Project
    source: Source
    reading: ReadingBack
    tracker: str | None
    place: Path
    trackers: set[str] = attrs.field(factory=set)

    def rows(self, remote: RemoteRun) -> Iterator[Verification]:
        """Compare a run; what is wrong with it is a row, too."""
        tallied = Tallied(remote)
        try:
            with self._aside(tallied) as staged:
                yield from self._compared(tallied, staged)
        except (TrackyardError, OSError) as error:
            run_id = id_of_run(self.source.flavor, remote)
            problem = " ".join(str(error).split())
            yield attrs.evolve(_row(tallied, run_id, ""), state="unreadable", problem=problem)

    @contextmanager
    def _aside(self, tallied: Tallied, run_id: str = "") -> Iterator[Path]:
        """Write a run of the source aside, as an import would; it is deleted afterwards."""
        remote = tallied.remote
        staged = self.place / (run_id or id_of_run(self.source.flavor, remote))
        writer = RunWriter(
            self.source.flavor, self.source.redactor, load_plugins()[0], lambda _: None
        )
        try:
            try:
                with read_remote(self.source, remote) as stream:
                    writer.write(staged, stream, tallied, Place())
            except IsOtherRun as other:
                if run_id:
                    raise TrackyardError(f"it says that it is {run_id}, and {other}") from other
                tallied.note_afresh()
                with self._aside(tallied, other.run_id) as again:
                    yield again
                return
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _compared(self, tallied: Tallied, staged: Path) -> Iterator[Verification]:
        folder = self.project.home / "runs" / staged.name
        description = load_description(folder)
        if description is None:
            problem = "it is not in the project; type: trackyard import"
            missing = _row(tallied, staged.name, "")
            yield attrs.evolve(missing, state="missing", problem=f"{problem} {self.source.name}")
            return
        if self.tracker is None:
            found = [*differences(_records(staged), _records(folder), Capabilities())]
            found += _of_status(staged, folder)
            state: VerificationState = "different" if found else "same"
            row = _row(tallied, staged.name, "")
            yield attrs.evolve(row, state=state, differences=tuple(found))
        run = PendingRun(folder, description, is_alive=False)
        for known in description.trackers:
            self.trackers.add(known.name)
            if self.tracker in (None, known.name):
                there = verify_journal(run, known, self.reading, staged)
                row = _row(tallied, staged.name, known.name)
                yield attrs.evolve(there, left=row.left, changed=row.changed)


def _row(tallied: Tallied, run_id: str, tracker: str) -> Verification:
    counts, remote = tallied.counts, tallied.remote
    return Verification(
        run=remote.name or remote.remote_id,
        tracker=tracker,
        state="same",
        id=run_id,
        records=sum(counts[kind] for kind in ("metrics", "params", "tags", "artifacts")),
        pending=0,
        quarantined=0,
        left=dict(tallied.left),
        changed=dict(tallied.changed),
    )


def _records(folder: Path) -> Iterator[Record]:
    for _, entry in read_entries(folder):
        yield from entry.records()


def _of_status(expected: Path, found: Path) -> list[Difference]:
    ours, theirs = (_shown(*read_status(folder)) for folder in (expected, found))
    return [Difference("tag", "trackyard.status", "different", 1, ours, theirs)] * (ours != theirs)


def _shown(status: str, end: object) -> str:
    failure = getattr(end, "data", None)
    return f"{status}: {failure}" if isinstance(failure, Failure) else status
