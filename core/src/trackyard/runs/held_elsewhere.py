"""What do others hold of a run whose journal is gone, or on another machine?

The artifact store, where the team's journals go there, and else the run's trackers.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from trackyard.contract.errors import ArtifactNotFoundError, TrackyardError
from trackyard.contract.records import Artifact, Metric, Record
from trackyard.delivery.adapting import original_key, original_name
from trackyard.journal.columns import Column
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.remains import lay_out, lay_out_text
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.project.trackers import Tracker
from trackyard.recovery.sharing import SharedJournal, shares_journals
from trackyard.runs.reading_back import ReadingBack, timeout_now
from trackyard.store import StepRunRow

logger = logging.getLogger("trackyard")

_COMMAND = "trackyard runs download"


class HeldElsewhere:
    """A run as the artifact store has it, or the first of its trackers; each is asked once.

    Where the trackers have it says what is left of the run's folder, here or in a team's store.
    They are those of this project's configuration, and files live as long as this object.

    Args:
        project: Its project.
        folder: Its folder, which may be gone.
        run: Its name, for messages.
    """

    def __init__(self, project: Project, folder: Path, run: str) -> None:
        self._project = project
        self._folder = folder
        self._run = run

    @cached_property
    def journal(self) -> SharedJournal | None:
        """The run's own journal, as far as the team's artifact store has it."""
        try:
            found = SharedJournal.find(
                self._project, self._folder.name, self._place / "shared", timeout=timeout_now()
            )
        except TrackyardError as error:
            logger.warning("run %r: %s; its trackers are asked", self._run, error)
            return None
        if found is not None:
            logger.warning(
                "run %r: what is not on this machine is read from its journal in %s",
                *(self._run, found.url),
            )
        return found

    @property
    def tracker(self) -> str:
        """The name of the tracker that was read.

        Raises:
            ArtifactNotFoundError: None could be.
        """
        return self._read[0].name

    @cached_property
    def artifacts(self) -> dict[str, tuple[Artifact, ...]]:
        """The files by name, the latest last.

        Raises:
            ArtifactNotFoundError: No tracker could be read.
        """
        found: dict[str, tuple[Artifact, ...]] = {}
        if self.journal is not None:
            self.journal.fetch_files()
        for record in self._records():
            if isinstance(record, Artifact) and record.path.is_file():
                name = self._original_name(record)
                found[name] = (*found.get(name, ()), record)
        return found

    @cached_property
    def console(self) -> Path | None:
        """The folder with what a run that goes on has printed, as the artifact store has it.

        Raises:
            TrackyardError: The store cannot be read.
        """
        return None if self.journal is None else self.journal.fetch_console()

    def columns(self) -> Iterator[Column]:
        """Give the points of each metric.

        Raises:
            ArtifactNotFoundError: No tracker could be read.
        """
        columns: dict[str, Column] = {}
        for record in self._records():
            if isinstance(record, Metric):
                key = record.key if self.journal is not None else original_key(record.key)
                column = columns.setdefault(key, Column(key, [], [], []))
                column.steps.append(record.step)
                column.values.append(record.value)
                column.timestamps.append(record.timestamp)
        yield from columns.values()

    def _records(self) -> Iterable[Record]:
        return self.journal.records() if self.journal is not None else self._read[1]

    def _original_name(self, artifact: Artifact) -> str:
        if self.journal is not None:
            return artifact.name
        return original_name(artifact.name, self._read[0].capabilities.artifact_pattern)

    @cached_property
    def _place(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="trackyard-"))
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        return place

    @cached_property
    def _read(self) -> tuple[Tracker, list[Record]]:
        folder, run = self._laid_out(self._place)
        problems = []
        reading = ReadingBack(self._project, timeout_now(), _COMMAND)
        for described in run.trackers if run is not None else ():
            assert run is not None
            try:
                tracker = reading.tracker(run, described)
                records = reading.records(run, folder, described, tracker, list)
                logger.warning(
                    "run %r: what its journal does not have on this machine is read from "
                    "experiment tracker %r",
                    *(self._run, tracker.name),
                )
                return tracker, records
            except TrackyardError as error:
                problems.append(f"{described.name}: {error}")
        why = "; ".join(problems) or "it is not known where its trackers have it"
        raise ArtifactNotFoundError(
            f"run {self._run!r}: its journal is not on this machine, and no tracker gives its "
            f"artifacts and points: {why}"
        )

    def _laid_out(self, place: Path) -> tuple[Path, RunDescription | None]:
        folder = lay_out(self._folder, place)
        run = load_description(folder)
        if run is None and names_store(self._project):
            from trackyard.store import Store
            from trackyard.store.annotations import left_elsewhere

            store = Store.of(self._project)
            try:
                left = left_elsewhere(store, self._folder.name)
            finally:
                store.close()
            lay_out_text(left or "", folder)
            run = load_description(folder)
        return folder, run


def trackers_of_step(project: Project, row: StepRunRow, *, is_here: bool) -> HeldElsewhere | None:
    """Give what the trackers of a step hold; a cached one is what the run of its result is there.

    Args:
        project: Its project.
        row: The step.
        is_here: Its journal is here.

    Returns:
        None where it is on no tracker, its journal is not here, and journals are not shared.
    """
    folder = project.home / "runs" / str(row.metadata.get("cached_from", row.id))
    is_tracked = any(key.startswith("experiment_tracker.") for key in row.metadata)
    is_elsewhere = is_here or is_tracked or shares_journals(project)
    return HeldElsewhere(project, folder, row.name) if is_elsewhere else None
