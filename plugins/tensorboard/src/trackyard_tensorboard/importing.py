"""Which runs do the event files below a folder hold, whoever wrote them? A run is a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    ImportNote,
    MetricPoints,
    PointsByMetric,
    Record,
    RemoteRun,
    RunQuery,
    TrackyardError,
    inside,
)
from trackyard_tensorboard.events import run_files
from trackyard_tensorboard.foreign_values import Values
from trackyard_tensorboard.frames import first_event, foreign_events, is_foreign
from trackyard_tensorboard.reading import ARTIFACTS, read_records, read_state
from trackyard_tensorboard.summaries import NAME, RunState

Piece = Record | RemoteRun | ImportNote | MetricPoints
_MARK = "tfevents"
_START = 1  # SessionLog.START


@attrs.define
class EventFolders:
    """The folders below a folder, or it itself, in which event files lie.

    Attributes:
        root: The folder.
    """

    root: Path
    _folders: dict[str, Path] = attrs.field(factory=dict)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs; of each, the first event of its first file is read.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: There is no such folder.
        """
        if not self.root.is_dir():
            raise TrackyardError(f"{self.root}: there is no such folder")
        ids: dict[Path, str] = {}
        for folder, files in _walk(self.root):
            run = self._listed(folder, files)
            ids[folder] = run.remote_id
            above = next((ids[parent] for parent in folder.parents if parent in ids), None)
            self._folders[run.remote_id] = folder
            if query.fits(run):
                yield attrs.evolve(run, parent_id=above)

    def _listed(self, folder: Path, files: list[Path]) -> RemoteRun:
        data, event = first_event(files[0])
        # No path: what was moved is the same run. Writers of one second differ by their folder.
        known = f"{files[0].name}\0{folder.name}\0".encode() + data
        sizes = [path.stat().st_size for path in files]
        place = folder.relative_to(self.root)
        state = read_state(folder) if run_files(folder) else None
        moment = event.wall_time if event is not None and isfinite(event.wall_time) else 0
        return RemoteRun(
            remote_id=hashlib.sha256(known).hexdigest()[:32],
            name=_name_of(state, place.name or self.root.name),
            experiment=place.parent.as_posix() if len(place.parts) > 1 else self.root.name,
            status=state.status if state else None,  # type: ignore[arg-type]
            started_at=state.started_at if state else round(moment * 1e6) * 1000 or None,
            ended_at=state.ended_at if state else None,
            version=" ".join(map(str, sizes)),
            size=sum(sizes),
        )

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id.
            scratch: Where files are written.

        Raises:
            TrackyardError: None of its files was written by TensorBoard's writers.
        """
        folder = self._folders[remote_id]
        if run_files(folder):  # one of Trackyard's own, with exact values
            for record in read_records(folder):
                if isinstance(record, Artifact) and inside(folder, record.path) is None:
                    yield ImportNote(f"artifact {record.name}: it is a link, which is not followed")
                else:
                    yield record
        else:
            yield from self._read_foreign(_files_of(folder), remote_id, scratch)

    def _read_foreign(self, files: list[Path], remote_id: str, scratch: Path) -> Iterator[Piece]:
        if all(map(is_foreign, files)):
            raise TrackyardError(f"{files[0]}: it is none of TensorBoard's")
        values, points = Values(scratch), PointsByMetric()
        last = 0
        for path in files:
            for event in foreign_events(path):
                if isinstance(event, ImportNote):
                    yield event
                    continue
                # A float of today's seconds holds no less than a quarter of a microsecond.
                try:
                    timestamp = round(event.wall_time * 1e6) * 1000
                except (ValueError, OverflowError):  # of no number
                    timestamp = last
                last = max(last, timestamp)
                if not _is_scalar(event, timestamp, points):
                    yield from _pieces(event, timestamp, values)
                elif points.is_full:
                    yield from points.take()
        yield from points.take()
        yield RemoteRun(
            remote_id,
            status=values.status or "finished",  # type: ignore[arg-type]
            ended_at=values.ended_at or last or None,
        )


def _name_of(state: RunState | None, folder: str) -> str:
    """Give what a run is called: Trackyard's has its id behind that, in the folder's name."""
    tags = {} if state is None else state.tags
    own = tags.get("trackyard.run_id", "")
    return tags.get(NAME) or (folder.removesuffix(f"-{own[-8:]}") if own else folder)


def _is_scalar(event: Any, timestamp: int, points: PointsByMetric) -> bool:
    """Take the number of an event that is nothing else, as nearly all are."""
    found = event.summary.value
    if len(found) != 1:
        return False
    value = found[0]
    # Asked for only where it may be the default: most numbers are not 0.
    number = value.simple_value
    if not number and not value.HasField("simple_value"):
        return False
    points.add(value.tag, number, event.step, timestamp)
    return True


def _pieces(event: Any, timestamp: int, values: Values) -> Iterator[Piece]:
    what = event.WhichOneof("what")
    if what == "summary":
        step = event.step
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield MetricPoints(value.tag, [step], [value.simple_value], [timestamp])
            else:
                yield from values.of_value(value, step, timestamp)
    elif what in ("graph_def", "meta_graph_def"):
        yield values.of_graph(getattr(event, what), ".pb", timestamp)
    elif what == "tagged_run_metadata":
        yield values.of_graph(event.tagged_run_metadata.run_metadata, ".run_metadata.pb", timestamp)
    elif what == "session_log" and event.session_log.status == _START and event.step:
        again = f"the log was begun again at step {event.step}: what stood behind it is kept, too"
        yield ImportNote(again, "changed")


def _walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Give each folder that has event files, those above first; no link is followed."""
    for name, folders, _ in os.walk(root):
        folder = Path(name)
        is_own = any(run_files(folder))
        folders[:] = sorted(f for f in folders if not (is_own and f == ARTIFACTS))
        if files := _files_of(folder):
            yield folder, files


def _files_of(folder: Path) -> list[Path]:
    names = folder.glob(f"*{_MARK}*")
    return sorted(path for path in names if path.is_file() and not path.is_symlink())
