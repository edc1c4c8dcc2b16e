"""Which runs does a plain table hold: a CSV file that a person, a notebook or a service wrote?

It is long, with a row for each point (`run`, `step`, `time`, `key`, `value`), or wide, with a
column for each metric. It is read row by row: once to list the runs, and where each of them stands,
and then a run's rows alone.
"""

from __future__ import annotations

import csv
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.importing import ImportNote, RemoteRun, RunQuery, inside
from trackyard.contract.records import Metric, Param, ParamValue, Record, Run

_OF_A_ROW = ("run", "step", "time")
_SEPARATORS = ",;\t"
_HEAD = 65_536  # bytes
_MOST = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Nanoseconds of what a time may be counted in.
_UNITS = (10**9, 10**6, 10**3, 1)


@attrs.frozen
class _Table:
    """A file, what its first row says, and where the second one begins."""

    file: Path
    columns: list[str]
    separator: str
    begin: int


@attrs.define
class _Rows:
    """The rows of a run in a file, between which those of others may stand.

    Attributes:
        table, run: The file, and the run's name.
        parts: For rows that follow each other: offset and number of the first, and how many.
    """

    table: _Table
    run: str
    parts: array[int] = attrs.field(factory=lambda: array("Q"))

    def add(self, offset: int, number: int) -> None:
        """Note a row."""
        if self.parts and self.parts[-2] + self.parts[-1] == number:
            self.parts[-1] += 1
        else:
            self.parts.extend((offset, number, 1))


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
        file = rows.table.file
        written_at = file.stat().st_mtime_ns
        for number, row in _rows_at(rows):
            for piece in _pieces(row, written_at, f"{file.name}, row {number}"):
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
        table = _table_of(file)
        for offset, number, row in _rows_of(table):
            name = _run_of(row, file)
            if name not in found:
                found[name] = _Rows(table, name)
            found[name].add(offset, number)
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


def _table_of(file: Path) -> _Table:
    """Read the first row of a table.

    Raises:
        TrackyardError: It is no table, or cannot be read.
    """
    with _errors(file), file.open("rb") as stream:
        begin = len(BOM_UTF8) if stream.read(len(BOM_UTF8)) == BOM_UTF8 else 0
        lines = _Lines(stream, begin)
        separator = max(_SEPARATORS, key=next(lines, "").count)
        lines = _Lines(stream, begin)
        columns = next(csv.reader(lines, delimiter=separator), [])
        if "training_step" in columns:
            raise TrackyardError(
                f"{file}: it was made by: trackyard runs export; runs move to another project "
                "by: trackyard archive RUN, and there: trackyard import archive:FILE"
            )
        if not {*columns} - {*_OF_A_ROW} or len({*columns}) < len(columns):
            raise TrackyardError(f"{file}: the first row is to name the columns, each once")
        return _Table(file, columns, separator, lines.offset)


def _rows_of(table: _Table) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Give all rows with their offsets and numbers, each with what stands in it.

    Raises:
        TrackyardError: It cannot be read.
    """
    with _errors(table.file), table.file.open("rb") as stream:
        yield from _rows_from(table, _Lines(stream, table.begin), 2)


def _rows_at(rows: _Rows) -> Iterator[tuple[int, dict[str, str]]]:
    """Give the rows of a run, by number.

    Raises:
        TrackyardError: They cannot be read.
    """
    table, parts = rows.table, iter(rows.parts)
    with _errors(table.file), table.file.open("rb") as stream:
        lines = _Lines(stream, table.begin)
        for offset, first, count in zip(parts, parts, parts, strict=True):
            lines.go_to(offset)
            for _, number, row in islice(_rows_from(table, lines, first), count):
                yield number, row


def _rows_from(
    table: _Table, lines: _Lines, number: int
) -> Iterator[tuple[int, int, dict[str, str]]]:
    empty, offset = [""] * len(table.columns), lines.offset
    for cells in csv.reader(lines, delimiter=table.separator):
        if cells:
            row = dict(zip(table.columns, [*cells, *empty[len(cells) :]], strict=False))
            row.pop("", None)
            yield offset, number, row
            number += 1
        offset = lines.offset


class _Lines:
    """The lines of a file from an offset on, whatever ends them: it knows where it stands.

    Args:
        stream: The file.
        offset: Where to begin.
    """

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        stream.seek(0)
        head = stream.read(_HEAD)
        self._is_old = b"\r" in head and b"\n" not in head  # of a Macintosh of old
        self._stream = stream
        self.go_to(offset)

    def go_to(self, offset: int) -> None:
        """Go on at another offset."""
        self._stream.seek(offset)
        self.offset, self._rest = offset, b""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._old_line() if self._is_old else self._stream.readline()
        if not line:
            raise StopIteration
        self.offset += len(line)
        return line.decode("utf-8")

    def _old_line(self) -> bytes:
        while b"\r" not in self._rest and (more := self._stream.read(_HEAD)):
            self._rest += more
        line, end, self._rest = self._rest.partition(b"\r")
        return line + end


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        text = "cannot be read: it is no text in UTF-8; where another program wrote it, save it so"
        raise TrackyardError(f"{file} {text}") from error
    except (OSError, csv.Error) as error:
        raise TrackyardError(f"{file} cannot be read: {error}") from error


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
