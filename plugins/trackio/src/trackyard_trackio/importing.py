"""Which runs do Trackio's databases hold? Trackio itself would change the tables of old ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    ImportNote,
    Metric,
    ReadOnlyDatabase,
    Record,
    RemoteRun,
    RunQuery,
    TrackyardError,
    inside,
)
from trackyard_trackio.inline import inline_records
from trackyard_trackio.rows import TAGS, config_records, nanoseconds_of, records_of

Piece = Record | RemoteRun | ImportNote


@attrs.frozen
class _Run:
    """A run of a database; old ones know it by its name alone."""

    folder: Path
    database: ReadOnlyDatabase
    column: str
    value: str


@attrs.define
class Databases:
    """The databases of a folder of Trackio's, or one of them.

    Attributes:
        place: The folder, a file, or the name of a project.
        home: Trackio's own folder, where a project of this name is looked for.
    """

    place: str
    home: Path
    _runs: dict[str, _Run] = attrs.field(factory=dict)
    _damaged: dict[str, str] = attrs.field(factory=dict)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: There is no database.
        """
        files = self._files()
        for path in files:
            try:
                yield from (run for run in self._of_file(path) if query.fits(run))
            except (OSError, sqlite3.DatabaseError) as error:
                problem = f"{path}: no database of Trackio's: {error}"
                if len(files) == 1:
                    raise TrackyardError(problem) from error
                self._damaged[path.name] = problem  # said where it is read
                yield RemoteRun(path.name, experiment=path.stem)

    def _files(self) -> list[Path]:
        path = Path(self.place).expanduser()
        if path.is_file():
            return [path]
        if not path.is_dir():
            path = self.home / f"{self.place}.db"
            if not path.is_file():
                raise TrackyardError(f"{self.place}: no folder, file or project of Trackio's")
            return [path]
        return sorted(path.glob("*.db"))

    def _of_file(self, path: Path) -> Iterator[RemoteRun]:
        database = ReadOnlyDatabase(path)
        column = "run_id" if "run_id" in database.columns("metrics") else "run_name"
        query = (
            f"SELECT {column}, run_name, MIN(timestamp), MAX(timestamp), COUNT(*), "  # noqa: S608
            f"MAX(id) FROM metrics GROUP BY {column} ORDER BY MIN(id)"
        )
        for value, name, first, last, count, number in [*database.rows(query)]:
            known = str(value or name)
            # A name alone is no id: two projects may have it.
            remote_id = known if column == "run_id" and value else f"{path.stem}/{known}"
            where = column if value else "run_name"
            run = _Run(path.parent, database, where, known)
            self._runs[remote_id] = run
            config = _config_of(run)
            yield RemoteRun(
                remote_id=remote_id,
                name=str(name),
                experiment=path.stem,
                started_at=nanoseconds_of(first),
                ended_at=nanoseconds_of(last),
                user=config.get("_Username"),
                version=f"{count} {number} {len(json.dumps(config))}",
                size=100 * count,
            )

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id.
            scratch: Where files are written.
        """
        if remote_id in self._damaged:
            raise TrackyardError(self._damaged[remote_id])
        run = self._runs[remote_id]
        config = _config_of(run)
        tags = config.get(TAGS)
        is_ours = isinstance(tags, dict) and "trackyard.run_id" in tags
        yield from config_records(config)
        log_id = "log_id" if "log_id" in run.database.columns("metrics") else "NULL"
        query = (
            f"SELECT {log_id}, step, timestamp, metrics FROM metrics "  # noqa: S608 - our own words
            f"WHERE {run.column} = ? ORDER BY id"
        )
        for row in run.database.rows(query, run.value):
            for record in records_of(run.value, [row]):
                yield _in_folder(record, run.folder) if isinstance(record, Artifact) else record
            yield from inline_records(row, scratch)
        if not is_ours:  # whose rows have these, too
            yield from _of_machine(run)


def _config_of(run: _Run) -> dict[str, Any]:
    columns = run.database.columns("configs")
    if run.column not in columns:
        return {}
    query = f"SELECT config FROM configs WHERE {run.column} = ?"  # noqa: S608 - our own words
    texts = [text for (text,) in run.database.rows(query, run.value)]
    try:
        found = json.loads(texts[-1]) if texts else {}
    except ValueError:  # it is said where the run is read
        return {}
    return found if isinstance(found, dict) else {}


def _in_folder(artifact: Artifact, folder: Path) -> Artifact | ImportNote:
    found = inside(folder / "media", artifact.path)
    if found is None:
        return ImportNote(f"artifact {artifact.name}: its file is not in Trackio's folder")
    return attrs.evolve(artifact, path=found)


def _of_machine(run: _Run) -> Iterator[Metric]:
    columns = run.database.columns("system_metrics")
    if run.column not in columns:
        return
    query = f"SELECT timestamp, metrics FROM system_metrics WHERE {run.column} = ? ORDER BY id"  # noqa: S608
    for time, text in run.database.rows(query, run.value):
        for key, value in json.loads(text).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield Metric(f"system/{key}", float(value), None, nanoseconds_of(time) or 0)
