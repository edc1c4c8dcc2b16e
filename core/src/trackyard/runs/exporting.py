"""How is a run written for other programs: as JSON, CSV or Parquet?

CSV and Parquet hold one row for each thing that was logged, whatever it is, so that runs of all
kinds fit one table.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from trackyard.journal.columns import Column
from trackyard.runs.streaming import Spool, columns_in_order
from trackyard.runs.views import RunView, StepView

ExportFormat = Literal["json", "csv", "parquet"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

COLUMNS = (
    *("run", "run_id", "pipeline", "status", "step", "kind", "key", "value", "number"),
    *("training_step", "timestamp"),
)

_KINDS = {"number": "number", "training_step": "number", "timestamp": "time"}
# Rows of a part of a Parquet file, and characters of texts in it, at which it is full.
_ROWS, _CHARACTERS = 8_000, 8 * 1024 * 1024
_RUN_BY_SPREADSHEETS = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)


def rows_of(view: RunView) -> Iterator[dict[str, Any]]:
    """Give what was logged in a run, but for its points, one row each, with the keys in `COLUMNS`.

    `kind` is param, tag, context, metric, artifact or console, whose key is the stream; `value` is
    a text, `number` the same as a float where it is one; `timestamp` is in nanoseconds since the
    epoch, of metrics and printed lines alone.
    """
    run = _of_run(view)
    for key, value in view.params.items() if view.kind == "pipeline" else ():
        yield {**run, **_row(None, "param", key, value)}
    if view.context is not None:
        of_context = {key.removeprefix("trackyard."): t for key, t in view.context.tags.items()}
        of_context |= {f"package {name}": v for name, v in view.context.packages.items()}
        for key, text in of_context.items():
            yield {**run, **_row(None, "context", key, text)}
    for step in view.steps:
        for row in _rows_of_step(step):
            yield {**run, **row}


def export_text(views: Iterable[RunView], format: Literal["json", "csv"]) -> Iterator[str]:
    """Give runs as a text, part by part: a run may have more points than fit in memory.

    JSON is a list of runs as `runs show --json` has them, with all points of each curve and all
    lines that each step printed.

    Args:
        views: The runs.
        format: `json` or `csv`.
    """
    if format == "csv":
        yield _line(COLUMNS)
        for view in views:
            yield from _csv_of(view)
        return
    before = "[\n"
    for view in views:
        yield before
        yield from _json_of(view)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _csv_of(view: RunView) -> Iterator[str]:
    for row in rows_of(view):
        yield _line([_defused(row.get(key)) for key in COLUMNS])
    for step in view.steps:
        for column in columns_in_order(step.curves):
            named = {**_of_run(view), "step": step.name, "kind": "metric", "key": column.key}
            start = _line([_defused(named[key]) for key in COLUMNS[:7]]).rstrip("\n")
            points = zip(column.values, column.steps, column.timestamps, strict=True)
            yield "".join(
                [f"{start},{v},{v},{'' if at is None else at},{t}\n" for v, at, t in points]
            )


def _json_of(view: RunView) -> Iterator[str]:
    from trackyard.system.showing import plain

    yield json.dumps(plain(view), indent=2, allow_nan=False).removesuffix("\n}")
    yield ',\n  "points": {'
    counts = Counter(key for step in view.steps for key in step.curves)
    separator = "\n    "
    for step in view.steps:
        with Spool() as spool:
            names: dict[str, None] = {}
            for column in columns_in_order(step.curves):
                spool.add(column.key, _points(column))
                names[column.key] = None
            for key in names:
                name = f"{step.name}.{key}" if step.name and counts[key] > 1 else key
                yield f"{separator}{json.dumps(name)}: [\n"
                yield from _without_end(spool.texts(key), ",\n")
                yield "\n    ]"
                separator = ",\n    "
    yield '\n  },\n  "console": '
    yield json.dumps(_console_of(view)) + "\n}"


def _without_end(texts: Iterable[str], end: str) -> Iterator[str]:
    """Give texts, but for what the last one ends with."""
    before = ""
    for text in texts:
        yield before
        before = text
    yield before.removesuffix(end)


def _of_run(view: RunView) -> dict[str, Any]:
    return {
        "run": view.name,
        "run_id": view.id,
        "pipeline": view.pipeline,
        "status": view.status,
    }


def _line(cells: Iterable[Any]) -> str:
    """Write a line of CSV; a cell with any kind of a line's end in it is quoted."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\r\n").writerow(cells)
    return stream.getvalue().removesuffix("\r\n") + "\n"


def _defused(cell: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run; a number stays one.

    What was logged may come from anywhere: `=HYPERLINK(...)` as a param's value sends others away.
    """
    if not isinstance(cell, str) or not cell.lstrip(" ").startswith(_RUN_BY_SPREADSHEETS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def export_file(views: Iterable[RunView], file: Path, format: ExportFormat) -> None:
    """Write runs to a file.

    Args:
        views: The runs.
        file: The file, which is replaced.
        format: `json`, `csv` or `parquet`.

    Raises:
        TrackyardError: Parquet needs pyarrow, which is not installed.
    """
    if format != "parquet":
        with file.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(export_text(views, format))
        return
    from trackyard.runs.parquet_files import write_parquet

    write_parquet(file, _batches(views), {name: _KINDS.get(name, "text") for name in COLUMNS})


def _batches(views: Iterable[RunView]) -> Iterator[dict[str, list[Any]]]:
    """Give all rows of runs, points as well, some thousands at a time, column by column."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    size = 0
    for view in views:
        points = (
            {**_of_run(view), **_row(step.name, "metric", column.key, value, at=at, time=time)}
            for step in view.steps
            for column in columns_in_order(step.curves)
            for at, value, time in zip(*column[1:], strict=True)
        )
        for row in chain(rows_of(view), points):
            for name, values in columns.items():
                values.append(row.get(name))
            size += len(row["value"] or "")
            if len(columns["run"]) >= _ROWS or size >= _CHARACTERS:
                yield columns
                columns, size = {name: [] for name in COLUMNS}, 0
    yield columns


def format_of(file: Path) -> ExportFormat | None:
    """Tell a format by a file's name."""
    suffix = file.suffix.lower().removeprefix(".")
    return next((known for known in EXPORT_FORMATS if known == suffix), None)


def _rows_of_step(step: StepView) -> Iterator[dict[str, Any]]:
    for key, value in step.params.items():
        yield _row(step.name, "param", key, value)
    for key, value in step.tags.items():
        yield _row(step.name, "tag", key, value)
    if not step.curves:  # its journal is gone
        for metric in step.metrics:
            yield _row(step.name, "metric", metric.key, metric.last)
    for name in step.artifacts.shown():
        yield _row(step.name, "artifact", name, name)
    for line in step.console:
        moment = int(line.time.timestamp() * 1_000_000) * 1000
        yield _row(step.name, "console", line.stream, line.text, time=moment)


def _row(
    step: str | None, kind: str, key: str, value: Any, *, at: float | None = None, time: int = 0
) -> dict[str, Any]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "step": step,
        "kind": kind,
        "key": key,
        "value": None if value is None else str(value),
        "number": float(value) if is_number else None,
        "training_step": at,
        "timestamp": time or None,
    }


def _console_of(view: RunView) -> dict[str, list[dict[str, str]]]:
    """Give the lines that each step printed."""
    return {step.name: [line._asdict() for line in step.console] for step in view.steps}


def _points(column: Column) -> str:
    points = zip(column.steps, column.values, column.timestamps, strict=True)
    return "".join([f"{_point(*point)},\n" for point in points])


def _point(step: float | None, value: float, timestamp: int) -> str:
    moment = datetime.fromtimestamp(timestamp / 1e9, UTC).isoformat()
    # JSON has no names for NaN and infinities.
    shown = value if math.isfinite(value) else f'"{value}"'
    at = "null" if step is None else step
    return f'      {{"step": {at}, "value": {shown}, "timestamp": "{moment}"}}'
