"""How is a run written into its `.wandb` file, by both kinds of calls, and continued there?

The file is W&B's own format of a run that is offline. It is whole at any moment: what a call
returned from has reached the operating system, and an upload may follow it while it grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import Artifact, Batch, Context, Failure, Metric, Run, write_whole
from trackyard_wandb.artifacts import artifact_record
from trackyard_wandb.logfile import LogWriter, read_log
from trackyard_wandb.machine import stats_record
from trackyard_wandb.media import HISTOGRAM, place_file, shown_value
from trackyard_wandb.native_calls import NativeCalls
from trackyard_wandb.places import Place
from trackyard_wandb.records import (
    REQUIREMENTS,
    STEP,
    ConfigPaths,
    Row,
    column_of,
    config_record,
    environment_record,
    exit_record,
    files_record,
    history_record,
    items_of,
    metric_record,
    new_record,
    parse,
    summary_record,
)
from trackyard_wandb.state import load_state

# Where the config says how a run has ended.
_STATUS: tuple[str, ...] = ("trackyard", "status")
_FAILURE: tuple[str, ...] = ("trackyard", "failure")
_EXIT_CODES = {"failed": 1, "killed": 130, "crashed": 137}


@attrs.frozen
class End:
    """How a run ended; the failure is empty where it finished."""

    status: str
    exit_code: int = 0
    failure: str = ""

    @classmethod
    def of(cls, failure: Failure) -> End:
        """Give the end of a run that did not finish: its exit code is that of its process."""
        code = 128 + failure.signal if failure.signal else _EXIT_CODES[failure.status]
        return cls(failure.status, code, f"{failure.kind}: {failure.message}"[:5000])


def log_path(folder: Path, id: str) -> Path:
    """Give the place of a run's file, in a folder that `wandb sync` takes.

    Args:
        folder: The folder.
        id: W&B's id of the run.
    """
    return folder / f"offline-run-{id}" / f"run-{id}.wandb"


def kept_log(folder: Path, id: str) -> Path | None:
    """Give a run's file; None where it was collected, and a server has the run.

    Args:
        folder: The tracker's folder of the run.
        id: W&B's id of the run.
    """
    path = log_path(folder, id)
    return path if path.is_file() or not load_state(folder).get("entity") else None


def marker_of(path: Path) -> Path:
    """Give the file by which W&B notes that the server has all of a run's file."""
    return path.with_name(f"{path.name}.synced")


class RunFile:
    """One run's file, made or continued.

    Args:
        run: The run.
        place: Where it belongs in W&B.
    """

    def __init__(self, run: Run, place: Place) -> None:
        self.path = log_path(run.folder, place.id)
        self.has_ended = False
        self._run = run
        self._place = place
        self._files = self.path.parent / "files"
        self._number = 0
        self._last_row = -1
        self._with_axis: set[str] = set()
        self._axis_globs: set[str] = set()
        self._known: dict[str, int] = {}  # how many of the native records are here
        self._params = ConfigPaths()
        self._points: set[tuple[Any, ...]] | None = None
        self._last_sequence = -1
        self._before_exit = 0
        end = self._note_all()
        self._is_continued = end > 0
        self._writer = LogWriter(self.path, end)
        self._native = NativeCalls(run.folder, self._known)
        if not self._is_continued:
            self._begin(place)

    def send(self, batch: Batch) -> None:
        """Write a batch, whole or not at all; points that are here already are left out."""
        with_axis = set(self._with_axis)
        try:
            self._send(batch)
        except Exception:
            # What was made of it is not here: else its other records would be taken for known.
            self._points, self._with_axis = None, with_axis
            raise

    def _send(self, batch: Batch) -> None:
        if self.has_ended:  # records that could not be written before the end was
            self._cut_end()
        if self._is_continued or batch.first_sequence <= self._last_sequence:
            self._note_points()  # it may be here, in part
        else:
            self._points = None
        self._last_sequence = max(self._last_sequence, batch.last_sequence)
        paths = self._params.of(param.key for param in batch.params)
        labels: dict[tuple[str, ...], Any] = {paths[p.key]: p.value for p in batch.params}
        labels |= {("tags", tag.key): tag.value for tag in batch.tags}
        records = [config_record(labels)] if labels else []
        if batch.context is not None:
            records += self._context(batch.context)
        last: Row = {}
        for row, step, timestamp in self._new_rows(batch):
            records += self._placed(row, step, timestamp)
            stats = stats_record(row, timestamp)
            records += [stats] if stats is not None else []
            last |= row
        if last:
            records.append(summary_record(last))
        self._append(records)

    def forward_native(self, *, is_all: bool = False) -> None:
        """Write what is new of W&B's own calls."""
        if is_all and not self._run.attached:
            self._native.wait_for_end(5.0)
        records = []
        try:
            for name, record in self._native.new(is_all=is_all):
                made = [record]
                if record.WhichOneof("record_type") == "history":
                    made = self._native_row(items_of(record.history.item))
                if record.WhichOneof("record_type") == "run":
                    made = self._run_and_config(record.run)
                self._note_axis(record.metric)
                made[-1].uuid = name
                records += made
            self._copy_native_files()
            self._append(records)
        except Exception:
            self._native = NativeCalls(self._run.folder, self._known)  # read them again
            raise

    def finish(self, end: End, ended_at: int | None) -> None:
        """Write the end, once.

        Args:
            end: How the run ended.
            ended_at: When, in nanoseconds since the epoch, or None where that is not known.
        """
        if self.has_ended:
            return
        self.forward_native(is_all=True)
        said: dict[tuple[str, ...], Any] = {_STATUS: end.status}
        if end.failure:
            said[_FAILURE] = end.failure
        seconds = self._seconds(ended_at or self._run.started_at)
        self._append([config_record(said)])
        self._before_exit = self._writer.end
        is_said = end.status == "failed" and self._native.exit_code  # by `wandb.finish`
        code = self._native.exit_code if is_said else end.exit_code
        self._append([exit_record(code, int(seconds))])

    def reopen(self) -> None:
        """Let a run that has ended be running again: nothing says any more how it had ended."""
        if self.has_ended:
            self._cut_end()
        self._append([config_record({_STATUS: "running", _FAILURE: ""})])

    def _cut_end(self) -> None:
        self._writer.cut(self._before_exit)
        self.has_ended = False
        marker_of(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _begin(self, place: Place) -> None:
        run = self._run
        said: dict[tuple[str, ...], Any] = {("tags", key): text for key, text in run.tags.items()}
        said |= {tuple(key.split(".")): text for key, text in run.identity_tags.items()}
        self._append([*first_records(run, place), config_record(said)])

    def _context(self, context: Context) -> Iterator[Any]:
        """Give the records of where the run comes from, and write the file of its packages."""
        yield environment_record(context, self._run.id)
        yield config_record({tuple(key.split(".", 1)): t for key, t in context.tags.items()})
        services = self._native.services()
        has_own = any((service / "files" / REQUIREMENTS).exists() for service in services)
        if context.packages and not has_own:  # the SDK has names as the packages write them
            self._files.mkdir(parents=True, exist_ok=True)
            write_whole(self._files / REQUIREMENTS, context.requirements)
            yield files_record(REQUIREMENTS)

    def _new_rows(self, batch: Batch) -> Iterator[tuple[Row, float | None, int]]:
        """Give rows of points that are not here yet; one row for what one call logged."""
        row: Row = {}
        place: tuple[float | None, int] = (None, 0)
        for metric in batch.metrics:
            column = column_of(metric.key)
            if not self._is_new(column, metric):
                continue
            if row and (place != (metric.step, metric.timestamp) or column in row):
                yield row, *place
                row = {}
            place = (metric.step, metric.timestamp)
            row[column] = json.dumps(metric.value)
        if row:
            yield row, *place
        for artifact in batch.artifacts:
            yield from self._row_of_file(artifact)

    def _is_new(self, column: str, metric: Metric) -> bool:
        if self._points is None:
            return True
        point = (column, metric.step, metric.timestamp / 1e9, json.dumps(metric.value))
        is_new = point not in self._points
        self._points.add(point)
        return is_new

    def _row_of_file(self, artifact: Artifact) -> Iterator[tuple[Row, float | None, int]]:
        if artifact.kind in ("model", "dataset"):
            record = artifact_record(artifact, self._run.id, self.path.parent / "artifacts")
            self._append([record] if record is not None else [])
            return
        value = shown_value(artifact, self._files)
        if value is None:
            place_file(artifact.path, self._files / artifact.name)
            self._append([files_record(artifact.name)])
            return
        is_histogram = value["_type"] == HISTOGRAM
        name = artifact.name.removesuffix(".json") if is_histogram else artifact.name
        column, text = column_of(name), json.dumps(value)
        point = (column, artifact.step, artifact.timestamp / 1e9, text)
        if self._points is None or point not in self._points:
            if not is_histogram:
                self._append([files_record(value["path"])])
            yield {column: text}, artifact.step, artifact.timestamp

    def _placed(self, row: Row, step: float | None, timestamp: int) -> list[Any]:
        """Give the records of a row of our own."""
        self._last_row += 1
        times = {"_timestamp": timestamp / 1e9, "_runtime": self._seconds(timestamp)}
        own = {column: json.dumps(value) for column, value in times.items()}
        own["_step"] = json.dumps(self._last_row)
        if step is None:
            return [history_record({**row, **own}, self._last_row)]
        own[STEP] = json.dumps(step)
        return [*self._axes(row), history_record({**row, **own}, self._last_row)]

    def _native_row(self, values: dict[str, Any]) -> list[Any]:
        """Give the records of a row of W&B's own calls, which keeps its number if it can."""
        step = int(values.get("_step", 0))
        if "_timestamp" in values:
            values.setdefault("_runtime", self._seconds(round(values["_timestamp"] * 1e9)))
        self._last_row = max(step, self._last_row + 1)
        values = {STEP: step, **values, "_step": self._last_row}
        row = {column: json.dumps(value) for column, value in values.items()}
        return [*self._axes(row), history_record(row, self._last_row)]

    def _run_and_config(self, run: Any) -> list[Any]:
        """Give the records of a run that calls have begun or renamed, under the names of this one.

        `wandb sync` takes the config of the first record of a run alone.
        """
        config, record, place = new_record(), new_record(), self._place
        config.config.CopyFrom(run.config)
        run.ClearField("config")
        record.run.CopyFrom(run)
        record.run.run_id, record.run.project = place.id, place.project
        record.run.entity = place.entity or ""
        return [config, record]

    def _axes(self, row: Row) -> Iterator[Any]:
        """Give the records that make the training step the axis of a row's metrics."""
        columns = [column for column in row if not column.startswith("_")]
        for column in dict.fromkeys((STEP, *columns)):
            is_known = column in self._with_axis or column.startswith(tuple(self._axis_globs))
            if not is_known:
                self._with_axis.add(column)
                yield metric_record(column)

    def _seconds(self, timestamp: int) -> float:
        return max(0.0, (timestamp - self._run.started_at) / 1e9)

    def _append(self, records: list[Any]) -> None:
        for record in records:
            self._number += 1
            record.num = self._number
        try:
            self._writer.append([record.SerializeToString() for record in records])
        except OSError:
            self._points = None  # it has those that were not written
            raise
        for record in records:
            self._note(record)

    def _copy_native_files(self) -> None:
        for service in self._native.services():
            source = service / "files"
            for file in source.rglob("*"):
                target = self._files / file.relative_to(source)
                if file.is_file() and not _is_copy(file, target):
                    place_file(file, target)

    def _note_all(self) -> int:
        """Take account of all records that are in the file; give where they end."""
        last = 0
        for data, end in read_log(self.path):
            self._note(parse(data))
            if not self.has_ended:
                self._before_exit = end
            last = end
        return last

    def _note(self, record: Any) -> None:
        """Take account of a record that is in the file."""
        self._number = max(self._number, record.num)
        source, _, number = record.uuid.rpartition(":")
        if source:
            self._known[source] = int(number) + 1
        match record.WhichOneof("record_type"):
            case "history":
                self._last_row = max(self._last_row, record.history.step.num)
            case "metric":
                self._note_axis(record.metric)
            case "config":
                paths = (item.nested_key or [item.key] for item in record.config.update)
                for path in paths:
                    self._params.note(".".join(path).rstrip("."))
            case "exit":
                self.has_ended = True

    def _note_axis(self, metric: Any) -> None:
        """Take account of an axis that is chosen, be it by the step itself."""
        if metric.name:
            self._with_axis.add(metric.name)
        if metric.glob_name:
            self._axis_globs.add(metric.glob_name.rstrip("*"))

    def _note_points(self) -> None:
        """Learn which points are here."""
        if self._points is not None:
            return
        self._points = set()
        for data, _ in read_log(self.path):
            record = parse(data)
            if record.WhichOneof("record_type") == "history":
                row = items_of(record.history.item)
                place = (row.get(STEP), row.get("_timestamp"))
                self._points |= {(key, *place, json.dumps(value)) for key, value in row.items()}


def first_records(run: Run, place: Place) -> list[Any]:
    """Give the records that a file begins with.

    Args:
        run: The run.
        place: Its names in W&B.
    """
    import wandb

    header, first = new_record(), new_record()
    header.header.version_info.producer = wandb.__version__
    header.header.version_info.min_consumer = "0.24.0"
    first.run.run_id, first.run.project = place.id, place.project
    first.run.display_name = place.name
    first.run.entity, first.run.run_group = place.entity or "", place.group or ""
    first.run.job_type, first.run.sweep_id = place.job_type or "", place.sweep or ""
    first.run.tags.extend(place.tags)
    first.run.start_time.FromNanoseconds(run.started_at)
    context = run.context or Context()
    first.run.host = context.host or ""
    if context.git is not None:
        first.run.git.commit = context.git.commit or ""
        first.run.git.remote_url = context.git.remote or ""
    return [header, first]


def _is_copy(file: Path, target: Path) -> bool:
    try:
        there, here = file.stat(), target.stat()
    except OSError:
        return False
    return there.st_size == here.st_size and there.st_mtime <= here.st_mtime
