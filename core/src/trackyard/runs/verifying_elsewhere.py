"""Does a tracker hold what the store says of a run whose journal is not here?

The store has params, tags, names of files, how the run ended, and of each metric the last value and
the number of points: those are compared, and the points are not.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.records import Artifact, Capabilities, Metric, Param, Record, Tag
from trackyard.delivery.adapting import Adapter
from trackyard.journal.descriptions import load_description
from trackyard.journal.remains import lay_out, lay_out_text
from trackyard.project.configuration import Project
from trackyard.recovery.finishing import PendingRun
from trackyard.runs.differences import Difference, differences
from trackyard.runs.fetching import ids_meant
from trackyard.runs.gathered import Points
from trackyard.store import Store
from trackyard.store.annotations import left_elsewhere
from trackyard.store.details import LONGEST_KEPT, MOST_ARTIFACTS, MetricRow, RunDetails
from trackyard.store.listing import has_store


@attrs.frozen
class KnownRun:
    """A run as the store knows it.

    Attributes:
        run: What is left of its folder, laid out: where its trackers have it.
        details: What was logged in it.
        status: How it ended; `running` where it has not.
        artifacts: Its files, whose content is not known.
    """

    run: PendingRun
    details: RunDetails
    status: str
    artifacts: tuple[Artifact, ...]

    def records(self) -> Iterator[Record]:
        """Give what a tracker should hold, but for metrics and what the store has cut."""
        for key, value in self.details.params.items():
            if not (isinstance(value, str) and len(value) >= LONGEST_KEPT):
                yield Param(key, value)
        for key, text in self.details.tags.items():
            if len(text) < LONGEST_KEPT:
                yield Tag(key, text)
        if len(self.artifacts) < MOST_ARTIFACTS:
            yield from self.artifacts


@contextmanager
def known_runs(project: Project, name: str) -> Iterator[list[KnownRun]]:
    """Give the runs of a name, or of a pipeline run, as the store knows them, while in the block.

    Args:
        project: Their project.
        name: A name, an id, or a prefix of an id.

    Raises:
        TrackyardError: The store cannot be read.
    """
    if not has_store(project):
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="trackyard-") as place:
        store = Store.of(project)
        try:
            found = [_known(project, store, id_, Path(place)) for id_ in ids_meant(store, name)]
        finally:
            store.close()
        yield [known for known in found if known is not None]


def _known(project: Project, store: Store, id: str, place: Path) -> KnownRun | None:
    folder = lay_out(project.home / "runs" / id, place)
    if load_description(folder) is None:
        lay_out_text(left_elsewhere(store, id) or "", folder)
    description = load_description(folder)
    rows = store.execute("SELECT no, status FROM runs WHERE id = :id", {"id": id})
    if description is None or not rows:
        return None  # it was on no tracker
    files = store.execute(
        "SELECT name, kind, media_type FROM artifacts WHERE run = :run", {"run": rows[0]["no"]}
    )
    return KnownRun(
        PendingRun(folder, description, is_alive=False),
        store.details_of([id])[id],
        rows[0]["status"],
        tuple(_file(folder, row) for row in files),
    )


def _file(folder: Path, row: Any) -> Artifact:
    name = row["name"]
    return Artifact(name, folder / "gone" / Path(name).name, row["kind"], row["media_type"])


def metrics_that_differ(
    metrics: Iterable[MetricRow],
    points: Mapping[str, Points],
    adapter: Adapter,
    tracker: Capabilities,
) -> Iterator[Difference]:
    """List metrics whose last value a tracker lacks, or of which it has another number of points.

    Args:
        metrics: What the store knows of them.
        points: What the tracker gave back, by metric.
        adapter: Fits records to the backend.
        tracker: What the flavor declares.
    """
    for row in metrics:
        # Which step a point got there may depend on those before it, which the store does not know.
        step = None if adapter.depends_on_earlier else row.last_step
        last = Metric(row.key, math.nan if row.last is None else row.last, step, 0)
        for ours in adapter.adapt(last):
            if isinstance(ours, Metric):
                there = points.get(ours.key) or Points(ours.key)
                known = attrs.evolve(ours, step=None if step is None else ours.step)
                yield from _last_that_differs(known, there, tracker)
                if there and row.points and len(there) != row.points:
                    yield _of_count(ours.key, row.points, len(there))


def _last_that_differs(ours: Metric, there: Points, tracker: Capabilities) -> list[Difference]:
    """Compare a last value with the points of its step; the store does not know its time."""
    at_step = [point for point in there if ours.step is None or point.step == ours.step]
    same_time = [attrs.evolve(point, timestamp=ours.timestamp) for point in at_step]
    found = differences([ours], same_time, tracker)
    return [one for one in found if one.problem == "missing"]


def _of_count(key: str, ours: int, theirs: int) -> Difference:
    shown = (f"{ours} points", f"{theirs} points")
    if ours > theirs:
        return Difference("metric", key, "missing", ours - theirs, *shown)
    return Difference("metric", key, "extra", theirs - ours, *shown)
