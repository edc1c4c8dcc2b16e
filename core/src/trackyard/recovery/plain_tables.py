"""Which runs does a plain table hold: a CSV file that a person, a notebook or a service wrote?

It is long, with a row for each point (`run`, `step`, `time`, `key`, `value`), or wide, with a
column for each metric. It is read row by row, and a run's rows alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TextIO

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.importing import ImportNote, RemoteRun, RunQuery, inside
from trackyard.contract.records import Metric, Param, ParamValue, Record, Run

_OF_A_ROW = ("run", "step", "time")
_SEPARATORS = ",;\t"
_MOST = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Nanoseconds of what a time may be counted in.
_UNITS = (10**9, 10**6, 10**3, 1)


@attrs.define
class _Rows:
    """The rows of a run in a file; those of others may stand between them."""

    file: Path
    run: str
    first: int
    last: int
    count: int = 0


class Tables:
    """A CSV file, or a folder of them: a source of `trackyard import`.

    Args:
        place: The file or folder.
    """

    def __init__(self, place: str) -> None:
        self._place = Path(place).expanduser()
        self._rows: dict[str, _Rows] = {}

    def list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs: what stands in the column `run`, or the file's name.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: There is no file, or one that is no such table.
        """
        for file in self._files():
            yield from (run for run in self._of_file(file) if query.fits(run))

    def read_remote_run(
        self,
        run: Run,  # noqa: ARG002 - as other sources have it; nothing is unpacked
        remote_id: str,
    ) -> Iterator[Record | RemoteRun | ImportNote]:
        """Read a run that was listed.

        Args:
            run: Not needed: nothing is unpacked.
            remote_id: Its id.

        Raises:
            TrackyardError: The file cannot be read any more.
        """
        rows = self._rows[remote_id]
        params: dict[str, ParamValue] = {}
        written_at = rows.file.stat().st_mtime_ns
        for number, row in _rows_of(rows.file):
            if number > rows.last:
                break
            if number < rows.first or _run_of(row, rows.file) != rows.run:
                continue
            for piece in _pieces(row, written_at, f"{rows.file.name}, row {number}"):
                if not isinstance(piece, Param):
                    yield piece
                elif piece.key not in params:
                    params[piece.key] = piece.value
                    yield piece
                elif piece.value != params[piece.key]:
                    yield ImportNote(f"{piece.key}: a text that differs from the first one")

    def _files(self) -> list[Path]:
        if self._place.is_file():
            return [self._place]
        paths = sorted(self._place.glob("*.[ct]sv"))
        found = [path for path in paths if inside(self._place, path) and path.is_file()]
        if not found:
            raise TrackyardError(f"{self._place}: no CSV file, and no folder of them")
        return found

    def _of_file(self, file: Path) -> Iterator[RemoteRun]:
        found: dict[str, _Rows] = {}
        for number, row in _rows_of(file):
            name = _run_of(row, file)
            rows = found.setdefault(name, _Rows(file, name, number, number))
            rows.last, rows.count = number, rows.count + 1
        size = file.stat().st_size
        for name, rows in found.items():
            remote_id = f"{file.name}/{name}"
            self._rows[remote_id] = rows
            yield RemoteRun(
                remote_id,
                name=name,
                experiment=file.stem,
                version=f"{file.stat().st_mtime_ns} {size}",
                size=size // len(found),
            )


def _rows_of(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Give the rows of a table, by number, each with what stands in it.

    Raises:
        TrackyardError: It is no table, or cannot be read.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream, delimiter=_separator(stream), restkey="", restval="")
            columns = table.fieldnames or []
            if "training_step" in columns:
                raise TrackyardError(
                    f"{file}: it was made by: trackyard runs export; runs move to another project "
                    "by: trackyard archive RUN, and there: trackyard import archive:FILE"
                )
            if not {*columns} - {*_OF_A_ROW} or len({*columns}) < len(columns):
                raise TrackyardError(f"{file}: the first row is to name the columns, each once")
            for number, row in zip(count(2), table, strict=False):
                row.pop("", None)
                yield number, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrackyardError(f"{file} cannot be read: {error}") from error


def _separator(stream: TextIO) -> str:
    head = stream.readline()
    stream.seek(0)
    return max(_SEPARATORS, key=head.count)


def _run_of(row: dict[str, str], file: Path) -> str:
    return row.get("run") or file.stem


def _pieces(row: dict[str, str], written_at: int, where: str) -> Iterator[Record | ImportNote]:
    """Give what a row holds: a number is a point of a metric, a text a param."""
    step, moment = _step_of(row.get("step", "")), _moment_of(row.get("time", ""))
    for name, found in (("step", step), ("time", moment)):
        if row.get(name) and found is None:
            yield ImportNote(f"{name} {row[name]!r} of {where}")
    at = written_at if moment is None else moment
    is_long = "key" in row and "value" in row
    cells = {row["key"]: row["value"]} if is_long else row
    for key, text in cells.items():
        if not key or not text or (not is_long and key in _OF_A_ROW):
            continue
        value = _number_of(text)
        yield Param(key, text) if value is None else Metric(key, value, step, at)


def _number_of(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _step_of(text: str) -> int | float | None:
    number = _number_of(text)
    if number is None or not abs(number) < _MOST:
        return None
    return int(number) if number.is_integer() else number


def _moment_of(text: str) -> int | None:
    """Give a time in nanoseconds: ISO 8601, of UTC where no zone is, or since the epoch.

    Such is in seconds, or in what 64 bits of nanoseconds hold else: milli-, micro-, nanoseconds.
    """
    try:
        if _number_of(text) is not None:
            number = Decimal(text.strip())
            return next((int(number * by) for by in _UNITS if abs(number * by) < _MOST), None)
        parsed = datetime.fromisoformat(text.strip())
    except (ValueError, ArithmeticError):
        return None
    since = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
