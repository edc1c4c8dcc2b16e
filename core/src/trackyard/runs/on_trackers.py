"""What do a run's trackers hold of it, where its journal is gone, or on another machine?"""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from trackyard.contract.errors import ArtifactNotFoundError, TrackyardError
from trackyard.contract.records import Artifact, Metric, Record
from trackyard.delivery.adapting import original_key, original_name
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.points import Column
from trackyard.journal.remains import lay_out, lay_out_text
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.project.trackers import Tracker
from trackyard.runs.reading_back import ReadingBack, timeout_now
from trackyard.store import StepRunRow

logger = logging.getLogger("trackyard")

_COMMAND = "trackyard runs download"


class OnTrackers:
    """A run as the first of its trackers has it that can be read back; that is asked once.

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
        tracker, records = self._read
        found: dict[str, tuple[Artifact, ...]] = {}
        for record in records:
            if isinstance(record, Artifact) and record.path.is_file():
                name = original_name(record.name, tracker.capabilities.artifact_pattern)
                found[name] = (*found.get(name, ()), record)
        return found

    def columns(self) -> Iterator[Column]:
        """Give the points of each metric.

        Raises:
            ArtifactNotFoundError: No tracker could be read.
        """
        columns: dict[str, Column] = {}
        for record in self._read[1]:
            if isinstance(record, Metric):
                key = original_key(record.key)
                column = columns.setdefault(key, Column(key, [], [], []))
                column.steps.append(record.step)
                column.values.append(record.value)
                column.timestamps.append(record.timestamp)
        yield from columns.values()

    @cached_property
    def _read(self) -> tuple[Tracker, list[Record]]:
        place = Path(tempfile.mkdtemp(prefix="trackyard-"))
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        folder, run = self._laid_out(place)
        problems = []
        reading = ReadingBack(self._project, timeout_now(), _COMMAND)
        for described in run.trackers if run is not None else ():
            assert run is not None
            try:
                tracker = reading.tracker(run, described)
                records = list(reading.records(run, folder, described, tracker))
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


def trackers_of_step(project: Project, row: StepRunRow, *, is_here: bool) -> OnTrackers | None:
    """Give what the trackers of a step hold; a cached one is what the run of its result is there.

    Args:
        project: Its project.
        row: The step.
        is_here: Its journal is here.

    Returns:
        None where it is on no tracker, and its journal is not here.
    """
    folder = project.home / "runs" / str(row.metadata.get("cached_from", row.id))
    is_tracked = any(key.startswith("experiment_tracker.") for key in row.metadata)
    return OnTrackers(project, folder, row.name) if is_here or is_tracked else None
