"""How does a run whose journal is on another machine get one here, for a while?

From the team's artifact store, where journals go there. Else from what a tracker gives back: points
and files are that tracker's, params, tags and the end the store's. A replay from here sends those.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import RunNotFoundError, TrackyardError
from trackyard.contract.records import Artifact, Run
from trackyard.journal.descriptions import REPLAYED_FROM, RunDescription, save_description
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.recovery.elsewhere import failure_in, lay_out_elsewhere
from trackyard.recovery.finishing import PendingRun
from trackyard.runs.folders import find_runs
from trackyard.runs.held_elsewhere import HeldElsewhere
from trackyard.store import Store
from trackyard.store.annotations import left_elsewhere
from trackyard.store.details import RunDetails
from trackyard.store.listing import find_rows, has_store


@contextmanager
def runs_at_hand(project: Project, name: str) -> Iterator[list[PendingRun]]:
    """Give runs by name, id or prefix, or all of a pipeline run's, wherever they were made.

    Those of other machines of a team lie in a folder for the time of the block, without trackers.

    Args:
        project: The project.
        name: A name, an id, or a prefix of an id.

    Raises:
        RunNotFoundError: There is none.
        TrackyardError: No tracker gives one back.
    """
    try:
        found, missing = find_runs(project, name), None
    except RunNotFoundError as error:
        found, missing = [], error
    if missing is None or not names_store(project) or not has_store(project):
        if missing is not None:
            raise missing
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="trackyard-") as place:
        store = Store.of(project)
        try:
            ids = ids_meant(store, name)
            runs = [_fetched(project, store, id_, Path(place) / "runs") for id_ in ids]
        finally:
            store.close()
        there = [run for run in runs if run is not None]
        if not there:
            raise missing
        yield there


def ids_meant(store: Store, name: str) -> list[str]:
    """Give the ids of the runs that are meant, the pipeline run's own first.

    Args:
        store: The store.
        name: A name, an id, or a prefix of an id.
    """
    rows = find_rows(store, name)
    if len(rows) != 1:
        return []
    steps = store.list_step_runs(rows[0].id) if rows[0].kind == "pipeline" else []
    return [rows[0].id, *(step.id for step in steps)]


def _fetched(project: Project, store: Store, id: str, runs: Path) -> PendingRun | None:
    left = left_elsewhere(store, id)
    (row,) = store.execute(
        "SELECT name, status, error, ended_at FROM runs WHERE id = :id", {"id": id}
    )
    if row["status"] == "running":
        raise TrackyardError(f"run {row['name']!r} goes on on another machine; wait for its end")
    there = HeldElsewhere(project, runs / id, row["name"])
    if (journal := there.journal) is not None:
        journal.fetch_files()
        shutil.copytree(journal.folder, runs / id)
        return _as_replayed(runs / id, journal.run, "journal")
    description = lay_out_elsewhere(left, id, runs) if left else None
    if description is None:
        return None  # it was on no tracker
    _write(runs / id, there, store.details_of([id])[id], row)
    return _as_replayed(runs / id, description.run, there.tracker)


def _as_replayed(folder: Path, run: Run, source: str) -> PendingRun:
    fetched = attrs.evolve(run, tags={**run.tags, REPLAYED_FROM: source})
    save_description(folder, fetched, ())
    return PendingRun(folder, RunDescription(fetched, ()), is_alive=False)


def _write(folder: Path, there: HeldElsewhere, known: RunDetails, row: Mapping[str, Any]) -> None:
    """Write the journal of a run that has ended."""
    journal = JournalWriter(folder)
    ended_at = int(row["ended_at"] or 0)
    if known.params:
        journal.append(Entry("params", ended_at, None, dict(known.params)))
    if known.tags:
        journal.append(Entry("tags", ended_at, None, dict(known.tags)))
    if known.context:
        journal.append(Entry("context", ended_at, None, dict(known.context)))
    for column in there.columns():
        for step, value, timestamp in zip(
            column.steps, column.values, column.timestamps, strict=True
        ):
            journal.append_metric(timestamp, step, column.key, value)
    for name, files in there.artifacts.items():
        for file in files:
            with journal.blobs.staging(name) as staged:
                shutil.copyfile(file.path, staged)
                artifact: Artifact = attrs.evolve(file, name=name, path=staged)
                journal.append(Entry("artifact", file.timestamp or ended_at, None, artifact))
    journal.end(Entry("end", ended_at, None, failure_in(row)))
