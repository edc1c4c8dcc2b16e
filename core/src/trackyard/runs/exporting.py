"""How is a run written for other programs: as JSON, CSV or Parquet?

CSV and Parquet hold one row for each thing that was logged, whatever it is, so that runs of all
kinds fit one table.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from trackyard.contract.errors import TrackyardError
from trackyard.runs.curves import Curve
from trackyard.runs.views import RunView, StepView

ExportFormat = Literal["json", "csv", "parquet"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

COLUMNS = (
    *("run", "run_id", "pipeline", "status", "step", "kind", "key", "value", "number"),
    *("training_step", "timestamp"),
)

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
    """Give everything that was logged in a run, one row each, with the keys in `COLUMNS`.

    `kind` is param, tag, context, metric, artifact or console, whose key is the stream; `value` is
    a text, `number` the same as a float where it is one; `timestamp` is in nanoseconds since the
    epoch, of metrics and printed lines alone.
    """
    run = {"run": view.name, "run_id": view.id, "pipeline": view.pipeline, "status": view.status}
    for key, value in view.params.items():
        yield {**run, **_row(None, "param", key, value)}
    if view.context is not None:
        of_context = {key.removeprefix("trackyard."): t for key, t in view.context.tags.items()}
        of_context |= {f"package {name}": v for name, v in view.context.packages.items()}
        for key, text in of_context.items():
            yield {**run, **_row(None, "context", key, text)}
    for step in view.steps:
        for row in _rows_of_step(step):
            yield {**run, **row}


def export_text(views: Iterable[RunView], format: Literal["json", "csv"]) -> str:
    """Write runs as a text.

    JSON is a list of runs as `runs show --json` has them, with all points of each curve and all
    lines that each step printed.

    Args:
        views: The runs.
        format: `json` or `csv`.
    """
    if format == "csv":
        rows = (row for view in views for row in rows_of(view))
        cells = ([_defused(row.get(key)) for key in COLUMNS] for row in rows)
        return "".join(map(_line, (COLUMNS, *cells)))
    from trackyard.system.showing import plain

    runs = [
        {**plain(view), "points": _points_of(view), "console": _console_of(view)} for view in views
    ]
    return json.dumps(runs, indent=2, allow_nan=False) + "\n"


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
        file.write_text(export_text(views, format), encoding="utf-8")
        return
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise TrackyardError(
            "Parquet needs pyarrow; type: pip install 'trackyard[parquet]'"
        ) from error
    numbers = {"number": pyarrow.float64(), "training_step": pyarrow.float64()}
    numbers["timestamp"] = pyarrow.timestamp("ns", tz="UTC")
    schema = pyarrow.schema([(name, numbers.get(name, pyarrow.string())) for name in COLUMNS])
    rows = [row for view in views for row in rows_of(view)]
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file)


def format_of(file: Path) -> ExportFormat | None:
    """Tell a format by a file's name."""
    suffix = file.suffix.lower().removeprefix(".")
    return next((known for known in EXPORT_FORMATS if known == suffix), None)


def _rows_of_step(step: StepView) -> Iterator[dict[str, Any]]:
    for key, value in step.params.items():
        yield _row(step.name, "param", key, value)
    for key, value in step.tags.items():
        yield _row(step.name, "tag", key, value)
    for curve in step.curves.values():
        for at, value, timestamp in zip(curve.steps, curve.values, curve.timestamps, strict=True):
            yield _row(step.name, "metric", curve.key, value, at=at, time=timestamp)
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


def _points_of(view: RunView) -> dict[str, list[dict[str, Any]]]:
    return {key: list(_points(curve)) for key, curve in view.curves.items()}


def _points(curve: Curve) -> Iterator[dict[str, Any]]:
    for step, value, timestamp in zip(curve.steps, curve.values, curve.timestamps, strict=True):
        moment = datetime.fromtimestamp(timestamp / 1e9, UTC).isoformat()
        # JSON has no names for NaN and infinities.
        shown = value if math.isfinite(value) else str(value)
        yield {"step": step, "value": shown, "timestamp": moment}
