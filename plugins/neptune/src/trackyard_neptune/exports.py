"""Which runs do the Parquet files of neptune-exporter hold, of Neptune 2 and 3?

A row is a value or a point: 14 columns, of which one has the value. A run's rows are in files that
are named by a digest, so that ids are taken from the columns alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    Histogram,
    ImportNote,
    Metric,
    Param,
    Record,
    RemoteRun,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)

Piece = Record | RemoteRun | ImportNote
Row = Mapping[str, Any]
_PART = re.compile(r"(.*)_part_(\d+)\.parquet")
_COLUMNS = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
}
_ERRORS = "neptune_exporter_errors.jsonl"
_AT_ONCE = 10_000  # rows
_HEAD = 5  # batches of a run in which its own description is looked for


class DamagedPart(TrackyardError):
    """Raised where a file is no Parquet, or was cut."""


@attrs.frozen
class _Run:
    """A run of an export: its parts in order, and the folder to which its files' paths lead."""

    parts: tuple[Path, ...]
    files: Path
    known: Mapping[str, Any]


@attrs.define
class Exports:
    """The folder into which neptune-exporter has written, or its folder `data`.

    Attributes:
        root: The folder.
    """

    root: Path
    _runs: dict[str, _Run] = attrs.field(factory=dict)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs, and the entries of the registry of models.

        Args:
            query: Which runs.
        """
        _parquet()
        root = self.root.parent if self.root.name == "data" else self.root
        places = [(root / "data", root / "files"), (root / "model_data", root / "model_files")]
        for data, files in places:
            for parts in _runs_below(data):
                project = parts[0].relative_to(data).parts[0]
                run, remote = _listed(parts, files / project)
                self._runs[remote.remote_id] = run
                if query.fits(remote):
                    yield remote

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id.
            scratch: Where files are written.
        """
        run = self._runs[remote_id]
        yield from self._inherited(run)
        reading = _Reading(run.files, scratch)
        if _number(run.parts[0]) != 0:
            yield ImportNote("the export of this run was not finished: its first part is missing")
        for part in run.parts:
            try:
                for row in _rows(part):
                    yield from reading.of_row(row)
            except DamagedPart as error:
                if not run.known:
                    raise  # not even its id is known
                yield ImportNote(str(error))
        yield from reading.texts()
        yield from self._errors(run)

    def _inherited(self, run: _Run) -> Iterator[Piece]:
        """Give the points that a fork has from its parent, up to where it was forked."""
        parent_id, at = run.known.get("sys/forking/parent"), run.known.get("sys/forking/step")
        if not parent_id:
            return
        yield Tag("neptune.forked_from", f"{parent_id} at step {at}")
        parent = next((one for one in self._runs.values() if _is_called(one, parent_id, run)), None)
        if parent is None:
            yield ImportNote(f"points before the fork: its parent {parent_id} is not in the export")
            return
        for piece in self._inherited(parent):
            if isinstance(piece, Metric) and (at is None or (piece.step or 0) <= at):
                yield piece
        for part in parent.parts:
            for row in _rows(part):
                if row["attribute_type"] == "float_series" and (at is None or row["step"] <= at):
                    yield from _point(row)

    def _errors(self, run: _Run) -> Iterator[ImportNote]:
        """Name what the exporter itself could not read."""
        for folder in (self.root, self.root.parent):
            try:
                lines = (folder / _ERRORS).read_text(encoding="utf-8").splitlines()
            except OSError:
                continue
            for line in lines:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                is_of_run = found.get("run_id") == run.known.get("run_id")
                if is_of_run and found.get("project_id") in (None, run.known.get("project_id")):
                    what = found.get("attribute_path") or "the run"
                    yield ImportNote(f"{what}: the exporter failed: {found.get('exception')}")
            return


def _runs_below(data: Path) -> Iterator[tuple[Path, ...]]:
    found: dict[Path, list[Path]] = {}
    for path in sorted(data.rglob("*.parquet")):
        match = _PART.fullmatch(path.name)
        if match and not path.is_symlink():
            found.setdefault(path.parent / match[1], []).append(path)
    for parts in found.values():
        yield tuple(sorted(parts, key=_number))


def _number(part: Path) -> int:
    match = _PART.fullmatch(part.name)
    return int(match[2]) if match else 0


def _listed(parts: tuple[Path, ...], files: Path) -> tuple[_Run, RemoteRun]:
    known: dict[str, Any] = {}
    with suppress(DamagedPart):  # said where it is read
        known = _own_description(parts[0])
    sizes = [part.stat().st_size for part in parts]
    run_id = str(known.get("run_id") or parts[0].stem)
    name = known.get("sys/experiment/name") or known.get("sys/name")
    return _Run(parts, files, known), RemoteRun(
        remote_id=f"{known.get('project_id')}/{run_id}",
        name=str(name or known.get("sys/custom_run_id") or run_id),
        experiment=str(known.get("project_id") or files.name),
        status="failed" if known.get("sys/failed") is True else "finished",
        started_at=_nanoseconds(known.get("sys/creation_time")),
        ended_at=_nanoseconds(known.get("sys/ping_time") or known.get("sys/modification_time")),
        user=known.get("sys/owner"),
        version=" ".join(map(str, sizes)),
        size=sum(sizes),
    )


def _own_description(part: Path) -> dict[str, Any]:
    """Read ids and what is below `sys/`, which stand before the points."""
    known: dict[str, Any] = {}
    for number, row in enumerate(_rows(part)):
        known.setdefault("project_id", row["project_id"])
        known.setdefault("run_id", row["run_id"])
        if row["attribute_path"].startswith("sys/"):
            known.setdefault(row["attribute_path"], _value_of(row))
        if number > _HEAD * _AT_ONCE or row["attribute_type"].endswith("_series"):
            break
    return known


def _is_called(run: _Run, name: str, of: _Run) -> bool:
    names = {run.known.get(key) for key in ("run_id", "sys/custom_run_id", "sys/id")}
    return name in names and run.known.get("project_id") == of.known.get("project_id")


def _rows(part: Path) -> Iterator[Row]:
    """Give a file's rows, some at a time: it may hold millions."""
    try:
        with _parquet().ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=_AT_ONCE):
                columns = batch.to_pydict()
                for values in zip(*columns.values(), strict=True):
                    yield dict(zip(columns, values, strict=True))
    except (OSError, ValueError) as error:
        raise DamagedPart(f"{part.name}: no Parquet file that can be read: {error}") from error


def _parquet() -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise TrackyardError("reading Parquet: type: pip install 'trackyard[parquet]'") from error
    return pq


def _value_of(row: Row) -> Any:
    return row[_COLUMNS[row["attribute_type"]]] if row["attribute_type"] in _COLUMNS else None


def _nanoseconds(moment: Any) -> int | None:
    return round(moment.timestamp() * 1000) * 1_000_000 if isinstance(moment, datetime) else None


def _step(row: Row) -> int | float | None:
    """Give a step as a whole number where it is one: in the file it has six decimals."""
    if row["step"] is None:
        return None
    step = float(row["step"])
    return int(step) if step.is_integer() else step


def _point(row: Row) -> Iterator[Metric]:
    if row["float_value"] is not None:
        path, moment = row["attribute_path"], _nanoseconds(row["timestamp"]) or 0
        yield Metric(path, row["float_value"], _step(row), moment)


@attrs.define
class _Reading:
    """Makes records of a run's rows."""

    files: Path
    scratch: Path
    _texts: dict[str, Path] = attrs.field(factory=dict)
    _histograms: int = 0

    def of_row(self, row: Row) -> Iterator[Piece]:
        """Give the records of a row.

        Args:
            row: The row.
        """
        path, kind = row["attribute_path"], row["attribute_type"]
        if kind in _COLUMNS:
            yield from _labels(path, _value_of(row))
        elif kind == "float_series":
            yield from _point(row)
        elif kind == "string_series":
            self._note_line(path, row)
        elif kind == "histogram_series":
            yield from self._histogram(path, row)
        elif kind in ("file", "file_series", "file_set", "artifact"):
            yield from self._files(path, kind, row)
        else:
            yield ImportNote(f"attributes of type {kind!r}")

    def texts(self) -> Iterator[Artifact]:
        """Give the series of texts, each as a file."""
        for path, place in self._texts.items():
            yield Artifact(f"{path}.txt", place, "text", "text/plain")

    def _note_line(self, path: str, row: Row) -> None:
        place = self._texts.setdefault(path, self.scratch / f"text-{len(self._texts)}.txt")
        text = row["string_value"] or ""
        with place.open("a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else f"{text}\n")

    def _histogram(self, path: str, row: Row) -> Iterator[Piece]:
        value = row["histogram_value"] or {}
        edges, counts = value.get("edges") or [], value.get("values") or []
        if len(edges) != len(counts) + 1:
            yield ImportNote(f"histogram {path}: its edges and values do not fit")
            return
        self._histograms += 1
        place = self.scratch / f"histogram-{self._histograms}.json"
        place.write_text(Histogram(tuple(counts), tuple(edges)).to_json(), encoding="utf-8")
        moment = _nanoseconds(row["timestamp"]) or 0
        media_type = "application/json"
        yield Artifact(f"{path}.json", place, "histogram", media_type, _step(row), moment)

    def _files(self, path: str, kind: str, row: Row) -> Iterator[Piece]:
        named = (row["file_value"] or {}).get("path")
        found = inside(self.files, Path(named)) if named else None
        if found is None:
            yield ImportNote(f"{kind} {path}: it is not in the export's files")
            return
        step, moment = _step(row), _nanoseconds(row["timestamp"]) or 0
        for place in [found] if found.is_file() else sorted(found.rglob("*")):
            if place.is_file() and inside(found if found.is_dir() else self.files, place):
                below = place.relative_to(found).as_posix() if found.is_dir() else ""
                name = f"{path}/{below}" if below else _with_suffix(path, place)
                yield Artifact(name, place, "file", None, step, moment)
        if kind == "artifact":
            yield ImportNote(f"artifact {path}: the export has its names and digests alone")


def _with_suffix(path: str, place: Path) -> str:
    return path if path.endswith(place.suffix) else f"{path}{place.suffix}"


def _labels(path: str, value: Any) -> Iterator[Record]:
    """Give what an attribute says: Neptune's own are tags, all others params."""
    if value is None:
        return
    if isinstance(value, list):
        value = ", ".join(sorted(value))
    if isinstance(value, datetime):
        value = value.isoformat()
    first, _, rest = path.partition("/")
    if first == "trackyard":
        yield Tag(f"trackyard.{rest}", str(value))
    elif first == "tags":
        yield Tag(rest, str(value))
    elif first in ("sys", "source_code", "monitoring"):
        yield Tag(f"neptune.{path}", str(value))
    else:
        yield Param(rest if first == "params" else path, value)
