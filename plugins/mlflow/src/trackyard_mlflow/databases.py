"""What does a sqlite database of MLflow's hold, of whichever version of its schema?

It is read by plain SQL: MLflow itself would migrate it as soon as it opens it.
"""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any
from zlib import crc32

import attrs

from trackyard.contract import (
    ImportNote,
    Metric,
    MetricPoints,
    Param,
    ReadOnlyDatabase,
    Record,
    RemoteRun,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)
from trackyard_mlflow.foreign import (
    CAPPED,
    SOURCE_RUN,
    context_of,
    dataset_of,
    files_below,
    left_of,
    local_folder,
    remote_run,
    version_of,
    whole_value,
)

_MILLISECOND = 1_000_000
# So many points are read at once.
_AT_ONCE = 4000
_key = itemgetter(0)
_LARGEST = 1.7976931348623157e308
_COLUMNS = ("run_uuid", "name", "status", "start_time", "end_time", "user_id", "artifact_uri")


@attrs.define
class Database:
    """A database; nothing is written to it.

    Attributes:
        path: Its file.
    """

    path: Path
    _opened: ReadOnlyDatabase | None = None

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List its runs, without those that were deleted.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: It is none of MLflow's, or cannot be read.
        """
        try:
            self._opened = ReadOnlyDatabase(self.path)
            yield from self._listed(query)
        except FileNotFoundError as error:
            raise TrackyardError(f"{self.path}: there is no such file") from error
        except (OSError, sqlite3.DatabaseError) as error:
            raise TrackyardError(f"{self.path}: no database of MLflow's: {error}") from error

    def _listed(self, query: RunQuery) -> Iterator[RemoteRun]:
        known = self._columns("runs")
        names = [name if name in known else f"NULL AS {name}" for name in _COLUMNS]
        conditions = ["r.experiment_id = e.experiment_id"]
        conditions += ["r.lifecycle_stage = 'active'"] if "lifecycle_stage" in known else []
        columns = ", ".join(f"r.{n}" if n in known else n for n in names)
        text = (
            f"SELECT {columns}, e.name AS experiment FROM runs r, experiments e "  # noqa: S608 - our own words
            f"WHERE {' AND '.join(conditions)} ORDER BY r.start_time, r.run_uuid"
        )
        points = dict(self._rows("SELECT run_uuid, COUNT(*) FROM metrics GROUP BY run_uuid"))
        changing = self._digests()
        for row in self._rows(text):
            values = dict(zip((*_COLUMNS, "experiment"), row, strict=True))
            run_id = str(values["run_uuid"])
            tags = {k: v for k, v in self._pairs("tags", run_id).items() if v is not None}
            count = points.get(run_id, 0)
            version = version_of([*row, count, changing.get(run_id, 0), _files_of(values)])
            run = remote_run(run_id, values, tags, version, 40 * count)
            if query.fits(run):
                yield run

    def _digests(self) -> dict[str, int]:
        """Give a number for each run that changes with its tags and params."""
        found: dict[str, int] = {}
        for table in ("tags", "params"):
            for run_id, key, value in self._rows(f"SELECT run_uuid, key, value FROM {table}"):  # noqa: S608 - our own words
                found[run_id] = found.get(run_id, 0) ^ crc32(f"{key}\0{value}".encode())
        return found

    def read(self, run_id: str, scratch: Path) -> Iterator[Record | ImportNote | MetricPoints]:
        """Read a run that was listed.

        Args:
            run_id: MLflow's own id.
            scratch: Where files are written.
        """
        tags = {k: v or "" for k, v in self._pairs("tags", run_id).items()}
        yield from (Tag(key, value) for key, value in tags.items())
        yield context_of(tags)
        for key, value in self._pairs("params", run_id).items():
            yield Param(key, value)
        yield from self._points(run_id)
        yield from self._artifacts(run_id)
        yield from self._inputs(run_id, scratch)
        yield from self._left(run_id)

    def _points(self, run_id: str) -> Iterator[Record | ImportNote | MetricPoints]:
        columns = self._columns("metrics")
        step = "step" if "step" in columns else "0"
        is_nan = "is_nan" if "is_nan" in columns else "0"
        text = (  # a key is decoded for many points at once
            f"SELECT CAST(key AS BLOB), value, {step}, timestamp, {is_nan} FROM metrics "  # noqa: S608 - our own
            "WHERE run_uuid = ? ORDER BY rowid"
        )
        assert self._opened is not None, "it is listed first"
        for some in self._opened.rows_by(_AT_ONCE, text, run_id):
            some.sort(key=_key)  # it keeps the order of the points of a key
            keys, start = [*map(_key, some)], 0
            while start < len(some):
                end = bisect_right(keys, keys[start], start)
                _, values, steps, moments, odd = zip(*some[start:end], strict=True)
                name = bytes(keys[start]).decode("utf-8", "backslashreplace")
                yield from _history(name, values, steps, moments, odd)
                start = end

    def _artifacts(self, run_id: str) -> Iterator[Record | ImportNote]:
        for (uri,) in self._rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id):
            folder = self._artifact_folder(uri)
            if folder is not None:
                yield from files_below(folder)
            elif uri and not self._has_none(uri):
                yield ImportNote(f"artifacts in {uri}: they are not below the database's folder")

    def _artifact_folder(self, uri: str | None) -> Path | None:
        """Give a run's artifacts where they are below the database's folder, also after a move."""
        place, home = local_folder(uri), self.path.parent.resolve()
        if place is None:
            return None
        if place.is_dir() and place.resolve().is_relative_to(home):
            return place
        ends = (Path(*place.parts[-n:]) for n in range(min(4, len(place.parts) - 1), 1, -1))
        found = (inside(home, end) for end in ends)
        return next((folder for folder in found if folder and folder.is_dir()), None)

    def _has_none(self, uri: str) -> bool:
        """Tell whether a run has no artifacts: MLflow makes their folder for the first of them."""
        place, home = local_folder(uri), self.path.parent.resolve()
        if place is None:
            return False
        experiment = inside(home, Path(*place.parts[-4:-2]))  # also after a move
        is_here = place.resolve().is_relative_to(home)
        return is_here or (experiment is not None and experiment.is_dir())

    def _inputs(self, run_id: str, scratch: Path) -> Iterator[Record | ImportNote]:
        if not self._columns("inputs") or not self._columns("datasets"):
            return
        names = ("name", "digest", "source", "schema", "profile")
        text = (
            "SELECT i.input_uuid, d.name, d.digest, d.dataset_source, d.dataset_schema, "
            "d.dataset_profile FROM inputs i, datasets d WHERE i.destination_id = ? "
            "AND i.source_type = 'DATASET' AND i.source_id = d.dataset_uuid"
        )
        for input_id, *values in self._rows(text, run_id):
            tags = "SELECT value FROM input_tags WHERE input_uuid = ? AND name = ?"
            found = [*self._rows(tags, input_id, "mlflow.data.context")]
            context = found[0][0] if found else None
            yield dataset_of(dict(zip(names, values, strict=True)), context, scratch)

    def _left(self, run_id: str) -> Iterator[ImportNote]:
        versions: list[tuple[Any, ...]] = []
        if "run_id" in self._columns("model_versions"):
            of_run = "SELECT name, version FROM model_versions WHERE run_id = ?"
            versions = [*self._rows(f"{of_run} ORDER BY name, version", run_id)]
        traces = 0
        if self._columns("trace_request_metadata"):
            count = "SELECT COUNT(*) FROM trace_request_metadata WHERE key = ? AND value = ?"
            ((traces,),) = self._rows(count, SOURCE_RUN, run_id)
        yield from left_of(((name, version) for name, version in versions), traces)

    def _pairs(self, table: str, run_id: str) -> dict[str, Any]:
        return dict(self._rows(f"SELECT key, value FROM {table} WHERE run_uuid = ?", run_id))  # noqa: S608 - our own words

    def _columns(self, table: str) -> set[str]:
        assert self._opened is not None, "it is listed first"
        return self._opened.columns(table)

    def _rows(self, text: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        assert self._opened is not None, "it is listed first"
        return self._opened.rows(text, *values)


def _history(
    key: str,
    values: tuple[Any, ...],
    steps: tuple[Any, ...],
    moments: tuple[Any, ...],
    odd: tuple[Any, ...],
) -> Iterator[Record | ImportNote | MetricPoints]:
    """Give points of a metric: together, unless a value has to be looked at."""
    if any(odd) or None in values or not -_LARGEST < min(values) <= max(values) < _LARGEST:
        for value, step, moment, is_odd in zip(values, steps, moments, odd, strict=True):
            yield from _point(key, value, step, moment, is_odd)
        return
    yield MetricPoints(
        key,
        [step or 0 for step in steps] if None in steps else steps,
        [*map(float, values)],
        [(moment or 0) * _MILLISECOND for moment in moments],
    )


def _point(
    key: str, value: Any, step: Any, moment: Any, is_odd: Any
) -> Iterator[Record | ImportNote]:
    if value is None and not is_odd:
        yield ImportNote(f"metric {key}: a point without a value")
        return
    number = math.nan if is_odd else float(value)
    if not is_odd and not -_LARGEST < number < _LARGEST:
        number = whole_value(number)
        yield CAPPED
    yield Metric(key, number, step or 0, (moment or 0) * _MILLISECOND)


def _files_of(values: dict[str, Any]) -> list[tuple[str, int]]:
    folder = local_folder(values.get("artifact_uri"))
    if folder is None or not folder.is_dir():
        return []
    files = [piece for piece in files_below(folder) if not isinstance(piece, ImportNote)]
    return [(file.name, file.path.stat().st_size) for file in files]
