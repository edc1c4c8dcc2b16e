"""Which of W&B's records does a batch become, and which of ours does one of W&B's hold?

Metrics are rows of the history. W&B numbers rows upwards and drops what goes backwards, so that
a training step is a column of its own, `trackyard_step`, which charts take as their axis.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from pathlib import Path
from typing import Any

from trackyard.contract import Artifact, Context, Git, Metric, Param, Record, Tag
from trackyard_wandb.artifacts import read_artifact
from trackyard_wandb.logfile import read_log
from trackyard_wandb.media import HISTOGRAM, KINDS, histogram_file

STEP = "trackyard_step"
# Columns of W&B's own; the history has no room for a metric of such a name.
_OWN = ("_step", "_timestamp", "_runtime", "_wandb", STEP)
# Files that the SDK adds of its own accord.
REQUIREMENTS = "requirements.txt"
OWN_FILES = {REQUIREMENTS, "config.yaml", "wandb-metadata.json", "wandb-summary.json"}
# What the config has below these is no param.
_OF_CONFIG = ("trackyard", "tags", "_wandb")
Row = dict[str, str]  # JSON by column


def column_of(key: str) -> str:
    """Give the column of a metric or artifact."""
    return f"{key}_" if key.rstrip("_") in {own.rstrip("_") for own in _OWN} else key


def key_of(column: str) -> str:
    """Give the metric or artifact whose column this is, where the tracker has named it."""
    return column[:-1] if column and column_of(column[:-1]) == column else column


def new_record() -> Any:
    """Give an empty record of W&B's."""
    from wandb.proto import wandb_internal_pb2

    return wandb_internal_pb2.Record()


def is_row(data: bytes) -> bool:
    """Tell whether what `parse` takes is a row of the history, which most records are.

    Args:
        data: A record.
    """
    place = 0
    if data[:1] == b"\x08":  # its number, which stands before what it is
        place = next((n for n in range(1, len(data)) if data[n] < 0x80), 0) + 1
    return data[place : place + 1] == b"\x12"


def config_record(values: Mapping[tuple[str, ...], Any]) -> Any:
    """Give the record of entries of the config, by their path."""
    record = new_record()
    for path, value in values.items():
        _fill(record.config.update.add(), path, json.dumps(value))
    return record


class ConfigPaths:
    """Where params stand in the config: `optimizer.lr` below `optimizer`, as W&B nests it."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._above: set[str] = set()

    def note(self, key: str) -> None:
        """Note a param that has a place, which no other one may take."""
        self._keys.add(key)
        self._above |= _above(key)

    def of(self, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Give the places of params that are written at once."""
        keys = list(keys)
        above = self._above.union(*map(_above, keys))
        return {key: self._path(key, above) for key in keys}

    def _path(self, key: str, above: AbstractSet[str]) -> tuple[str, ...]:
        if key in above:  # others stand below it
            return (key, "")
        parts = tuple(key.split("."))
        is_nested = all(part.isidentifier() for part in parts) and parts[0] not in _OF_CONFIG
        return parts if is_nested and not _above(key) & self._keys else (key,)


def _above(key: str) -> set[str]:
    parts = key.split(".")
    return {".".join(parts[:number]) for number in range(1, len(parts))}


def history_record(row: Row, number: int) -> Any:
    """Give the record of a row of the history.

    Args:
        row: Texts in JSON, by column.
        number: The row's number, which is W&B's own step.
    """
    record = new_record()
    for column, text in row.items():
        _fill(record.history.item.add(), (column,), text)
    record.history.step.num = number
    return record


def summary_record(row: Row) -> Any:
    """Give the record of last values, which W&B shows beside a run's name."""
    record = new_record()
    for column, text in row.items():
        _fill(record.summary.update.add(), (column,), text)
    return record


def metric_record(name: str) -> Any:
    """Give the record that makes the training step a metric's axis."""
    record = new_record()
    record.metric.name = name
    record.metric.options.defined = True
    if name == STEP:
        record.metric.options.hidden = True
    else:
        record.metric.step_metric = STEP
    return record


def files_record(path: str) -> Any:
    """Give the record of a file of the run's folder `files`."""
    record = new_record()
    record.files.files.add().path = path
    return record


def environment_record(context: Context, writer: str) -> Any:
    """Give the record of which W&B makes `wandb-metadata.json`.

    Args:
        context: Where the run comes from.
        writer: Which process's environment it is; a later record of it counts.
    """
    record, git = new_record(), context.git or Git()
    known = {
        "os": (context.system or "").replace(" ", "-"),
        "python": f"CPython {context.python}" if context.python else None,
        "program": context.script,
        "root": context.folder,
        "host": context.host,
        "username": context.user,
        "executable": context.command[0] if context.command else None,
        "cpu_count": context.cpus,
        "cpu_count_logical": context.cpus,
        "gpu_type": context.gpus[0] if context.gpus else None,
        "gpu_count": len(context.gpus),
        "writer_id": writer,
    }
    for name, value in known.items():
        if value:
            setattr(record.environment, name, value)
    record.environment.args.extend(context.command[1:])
    record.environment.git.commit = git.commit or ""
    record.environment.git.remote_url = git.remote or ""
    record.environment.memory.total = context.memory or 0
    for key, text in context.job.items():
        if key.startswith("slurm."):
            record.environment.slurm[key.removeprefix("slurm.")] = text
    return record


def exit_record(code: int, seconds: int) -> Any:
    """Give the record of a run's end.

    Args:
        code: 0 where the run finished.
        seconds: How long it took.
    """
    record = new_record()
    record.exit.exit_code = code
    record.exit.runtime = seconds
    return record


def _fill(item: Any, path: tuple[str, ...], text: str) -> None:
    if len(path) == 1:
        item.key = path[0]
    else:
        item.nested_key.extend(path)
    item.value_json = text


def parse(data: bytes) -> Any:
    """Give the record that bytes of a log are."""
    record = new_record()
    record.ParseFromString(data)
    return record


def items_of(items: Iterable[Any]) -> dict[str, Any]:
    """Give the values of a record's items by column; what is nested is a dict again."""
    items, values = list(items), dict[str, Any]()
    for item, value in zip(items, _loaded([item.value_json for item in items]), strict=True):
        path = item.nested_key
        if len(path) < 2:
            values[path[0] if path else item.key] = value
            continue
        place = values
        for part in path[:-1]:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {}
            place = inner
        place[path[-1]] = value
    return values


def _loaded(texts: list[str]) -> list[Any]:
    """Decode several texts of JSON: one call for all is three times as quick."""
    try:
        values = json.loads(f"[{','.join(texts)}]")
    except ValueError:
        values = []
    return values if len(values) == len(texts) else [json.loads(text) for text in texts]


def read_run(path: Path) -> Iterator[Record]:
    """Give the records that a run's `.wandb` file holds."""
    files, axes = path.parent / "files", Axes()
    for data, _ in read_log(path):
        record = parse(data)
        match record.WhichOneof("record_type"):
            case "metric":
                axes.note(record.metric.name, record.metric.glob_name, record.metric.step_metric)
            case "run":
                yield from labels_of(items_of(record.run.config.update))
            case "config":
                yield from labels_of(items_of(record.config.update))
            case "history":
                yield from _points(items_of(record.history.item), files, axes)
            case "artifact":
                yield from read_artifact(record.artifact)
            case "files":
                names = [file.path for file in record.files.files]
                yield from (_file(n, files) for n in names if _is_plain(n, files))


def read_downloads(summary: dict[str, Any], files: Path) -> Iterator[Record]:
    """Give what a server has of a run, but for its history.

    Args:
        summary: The last values.
        files: The folder of its files.
    """
    yield from _points({"_timestamp": 0, **summary}, files, Axes())  # it may say no time
    names = [path.relative_to(files).as_posix() for path in sorted(files.rglob("*"))]
    yield from (_file(name, files) for name in names if _is_plain(name, files))


def labels_of(config: Mapping[str, Any]) -> Iterator[Record]:
    for key, value in config.items():
        if key == "trackyard" and isinstance(value, dict):
            yield from (Tag(f"trackyard.{name}", str(text)) for name, text in value.items())
        elif key == "tags" and isinstance(value, dict):
            yield from (Tag(name, str(text)) for name, text in value.items())
        elif key != "_wandb":
            yield from params_of(key, value)


def params_of(key: str, value: Any) -> Iterator[Param]:
    """Give the params of an entry of the config; what is nested has a path as key.

    Args:
        key: The entry's key.
        value: Its value, as JSON holds it.
    """
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from params_of(f"{key}.{name}" if name else key, inner)
        return
    yield Param(key, json.dumps(value) if isinstance(value, dict | list) else value)


def moment_of(row: Mapping[str, Any]) -> int:
    """Give the time of a row in nanoseconds; W&B's float of seconds holds microseconds of it."""
    seconds: float = row.get("_timestamp", 0)
    return round(seconds * 1e6) * 1000


class Axes:
    """The columns that `define_metric` has made the steps of others."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}
        self._globs: dict[str, str] = {}
        self._found: dict[str, str] = {}

    def note(self, name: str, glob: str, axis: str) -> None:
        """Note that the values of one column are the steps of another.

        Args:
            name: The other column, or an empty text.
            glob: What its name begins with, and a star; or an empty text.
            axis: The column that has the steps, or an empty text.
        """
        self._found.clear()
        if axis and name:
            self._named[name] = axis
        elif axis and glob:
            self._globs[glob.rstrip("*")] = axis

    def step(self, column: str, values: Mapping[str, Any]) -> float | None:
        """Give the step of a column's value: by its axis, else as Trackyard or W&B counts rows.

        Args:
            column: The column.
            values: Those of its row, nested ones by their path.
        """
        for place in (self._found.get(column) or self._of(column), STEP, "_step"):
            found = values.get(place)
            if place != column and isinstance(found, int | float):
                return found
        return None

    def _of(self, column: str) -> str:
        globs = (axis for glob, axis in self._globs.items() if column.startswith(glob))
        found = self._found[column] = self._named.get(column) or next(globs, STEP)
        return found


def _points(row: dict[str, Any], files: Path, axes: Axes) -> Iterator[Record]:
    timestamp = moment_of(row)
    for column, value in row.items():
        if column in _OWN:
            continue
        key, step = key_of(column), axes.step(column, row)
        if isinstance(value, dict):
            yield from _nested(key, value, step, timestamp, files)
        elif isinstance(value, int | float):
            yield Metric(key, float(value), step, timestamp)


def _nested(
    key: str, value: dict[str, Any], step: float | None, timestamp: int, files: Path
) -> Iterator[Record]:
    """Give what a column holds that is no number: a file that is shown, or numbers below it."""
    kind = next((k for k, (type_, _) in KINDS.items() if value.get("_type") == type_), None)
    if kind is not None:
        yield Artifact(key, files / value["path"], kind, None, step, timestamp)
        return
    if value.get("_type") == HISTOGRAM:
        path = histogram_file(value, files.parent / "histograms")
        if path is not None:
            yield Artifact(f"{key}.json", path, "histogram", "application/json", step, timestamp)
        return
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _nested(f"{key}.{name}", inner, step, timestamp, files)
        elif isinstance(inner, int | float):
            yield Metric(f"{key}.{name}", float(inner), step, timestamp)


def _is_plain(name: str, files: Path) -> bool:
    is_shown = name.startswith("media/")
    return not is_shown and name not in OWN_FILES and (files / name).is_file()


def _file(name: str, files: Path) -> Artifact:
    return Artifact(name, files / name, "file")
