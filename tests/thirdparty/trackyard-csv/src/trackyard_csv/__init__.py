# src/trackyard_csv/__init__.py
"""CSV files as a Trackyard experiment tracker."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from trackyard import flavor, hookimpl
from trackyard.contract import Artifact, Batch, Failure, Metric, Param, Record, Run, Tag, option


@flavor
class CsvTracker:
    """Write each run to a CSV file."""

    directory: Path = option("Folder for the files", converter=lambda path: Path(path).absolute())

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write(run, [Tag(*tag) for tag in {**run.tags, **run.identity_tags}.items()])

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        return self._file(run).as_uri()

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        for artifact in batch.artifacts:
            kept = self.directory / run.id / artifact.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path, kept)
        self._write(run, [*batch.metrics, *batch.params, *batch.tags])

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._write(run, [Tag("trackyard.status", "finished")])

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        self._write(run, [Tag("trackyard.status", failure.status)])

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        found: dict[tuple[str, ...], Record] = {}  # a record that came again is there once
        with self._file(run).open(newline="", encoding="utf-8") as file:
            for kind, key, value, *place in csv.reader(file):
                known = json.loads(value)
                if kind == "Metric":
                    found[kind, key, *place] = Metric(key, known, *map(json.loads, place))
                else:
                    found[kind, key] = Param(key, known) if kind == "Param" else Tag(key, known)
        yield from found.values()
        folder = self.directory / run.id
        for path in (path for path in folder.rglob("*") if path.is_file()):
            yield Artifact(path.relative_to(folder).as_posix(), path, "file")

    def _file(self, run: Run) -> Path:
        return self.directory / f"{run.id}.csv"

    def _write(self, run: Run, records: Iterable[Metric | Param | Tag]) -> None:
        path = self._file(run)
        path.touch()
        size = path.stat().st_size
        try:
            with path.open("a", newline="", encoding="utf-8") as file:
                for record in records:
                    values = map(json.dumps, attrs.astuple(record)[1:])
                    csv.writer(file).writerow([type(record).__name__, record.key, *values])
        except OSError:  # half a row, such as on a full disk, could not be read back
            os.truncate(path, size)
            raise
