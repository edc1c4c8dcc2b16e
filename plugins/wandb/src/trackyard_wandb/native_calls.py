"""What have W&B's own calls left in a run's folder, and how is it read from where one stopped?"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trackyard_wandb.logfile import read_log
from trackyard_wandb.records import Row, history_record, is_row, parse

# Kinds of records that the step's calls make. The SDK's service makes the others.
OF_CALLS = {"config", "metric", "alert", "run", "files", "summary"}
_OF_SERVICE = {"environment", "stats", "output", "output_raw", "artifact", "use_artifact",
               "link_artifact", "files", "summary", "telemetry"}  # fmt: skip
# The record of the end is among so many that are the last.
_LAST = 8
_OF_ITS_OWN = {"header", "footer", "final", "exit", "request"}


# Where what the step calls is written down, and the name of that source.
CALLS = "calls"
_FINISHED = "finished"


def native_folder(folder: Path) -> Path:
    """Give the folder where the SDK writes."""
    return folder / "native"


def calls_path(native: Path, child: int | None = None) -> Path:
    """Give the file where what the step calls is written down, in the folder of the SDK's run.

    Args:
        native: The folder.
        child: A process that was forked from the step's, or None.
    """
    return native / (f"{CALLS}.wandb" if child is None else f"{CALLS}-{child}.wandb")


def note_finished(native: Path, exit_code: int | None) -> None:
    """Note whether the SDK's run has finished: no more will come then.

    Args:
        native: The folder of the SDK's run.
        exit_code: With which exit code it has; None if it goes on.
    """
    if exit_code is None:
        (native / _FINISHED).unlink(missing_ok=True)
    else:
        with suppress(OSError):  # what is left is read as that of a process that died
            (native / _FINISHED).write_text(str(exit_code), encoding="utf-8")


class NativeCalls:
    """Reads what W&B's own calls have left in a run's folder, from where it stopped before.

    Args:
        folder: The run's folder.
        known: For each of the files how many of its records are in the run already.
    """

    def __init__(self, folder: Path, known: Mapping[str, int]) -> None:
        self._folder = native_folder(folder)
        self._known = dict(known)
        self._ends: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._rows: dict[str, _Rows] = {}

    @property
    def has_calls(self) -> bool:
        """Tell whether what the step calls is written down beside the SDK's own file."""
        return calls_path(self._folder).exists()

    @property
    def has_finished(self) -> bool:
        """Tell whether the SDK's run has finished."""
        return (self._folder / _FINISHED).exists()

    @property
    def exit_code(self) -> int:
        """Give the exit code with which the SDK's run has finished, or 0."""
        try:
            return int((self._folder / _FINISHED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    def services(self) -> list[Path]:
        """Give the folders of the SDK's own files."""
        return sorted(self._folder.glob("wandb/offline-run-*"))

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the SDK's files are whole: its `finish` returns a little before that."""
        end = time.monotonic() + seconds
        for file in [file for folder in self.services() for file in folder.glob("*.wandb")]:
            position = 0
            while time.monotonic() < end:
                last = deque(read_log(file, position), maxlen=_LAST)
                if any(parse(data).HasField("exit") for data, _ in last):
                    break
                position = last[-1][1] if last else position
                time.sleep(0.02)

    def new(self, *, is_all: bool) -> Iterator[tuple[str, Any]]:
        """Give the new records, each with a name that is the same whenever it is read.

        Args:
            is_all: No more will come: the row that was not committed is one, too.
        """
        has_calls = self.has_calls
        for path in sorted(self._folder.glob(f"{CALLS}*.wandb")):
            yield from self._of_calls(path, is_all=is_all)
        for folder in self.services():
            for file in folder.glob("*.wandb"):
                for record in self._read(file, with_rows=not has_calls):
                    kind = record.WhichOneof("record_type")
                    if kind in _OF_SERVICE if has_calls else kind not in _OF_ITS_OWN:
                        yield from self._named(folder.name, record)

    def _of_calls(self, path: Path, *, is_all: bool) -> Iterator[tuple[str, Any]]:
        rows = self._rows.setdefault(path.stem, _Rows())
        for record in self._read(path):
            if record.WhichOneof("record_type") != "request":
                yield from self._named(path.stem, record)
                continue
            for row in rows.add(record.request.partial_history):
                yield from self._named(path.stem, row)
        if is_all and (last := rows.take()) is not None:
            yield from self._named(path.stem, last)

    def _read(self, path: Path, *, with_rows: bool = True) -> Iterator[Any]:
        name = str(path)
        for data, end in read_log(path, self._ends.get(name, 0)):
            self._ends[name] = end
            if with_rows or not is_row(data):
                yield parse(data)

    def _named(self, source: str, record: Any) -> Iterator[tuple[str, Any]]:
        number = self._counts.get(source, 0)
        self._counts[source] = number + 1
        if number >= self._known.get(source, 0):
            yield f"{source}:{number}", record


class _Rows:
    """Puts together the rows that `wandb.log` makes of several calls, as the SDK's service does.

    A call whose step goes backwards, which the service drops, is a row of its own here.
    """

    def __init__(self) -> None:
        self._row: Row = {}
        self._step = 0

    def add(self, request: Any) -> Iterator[Any]:
        new = {item.key or ".".join(item.nested_key): item.value_json for item in request.item}
        if request.HasField("step"):
            if request.step.num < self._step:
                yield _numbered(new, request.step.num)
                return
            if request.step.num > self._step:
                yield from self._commit()
                self._step = request.step.num
        self._row |= new
        is_flushed = request.action.flush if request.HasField("action") else None
        if is_flushed or (is_flushed is None and not request.HasField("step")):
            yield from self._commit()
            self._step += 1

    def take(self) -> Any | None:
        """Give the row that was not committed."""
        return next(self._commit(), None)

    def _commit(self) -> Iterator[Any]:
        if self._row:
            row, self._row = self._row, {}
            yield _numbered(row, self._step)


def _numbered(row: Row, step: int) -> Any:
    return history_record({**row, "_step": json.dumps(step)}, step)
