"""Where are pipeline runs and step runs recorded, and how are they read again?"""

from __future__ import annotations

import json
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from trackyard.errors import RunNotFoundError, TrackyardError

SCHEMA_VERSION = 1

_metadata = MetaData()

_schema = Table("schema_version", _metadata, Column("version", Integer, nullable=False))

_pipeline_runs = Table(
    "pipeline_runs",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("pipeline", String(255), nullable=False),
    Column("stack", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("params", Text, nullable=False),
    Index("pipeline_runs_by_time", "started_at"),
)

_step_runs = Table(
    "step_runs",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("pipeline_run_id", ForeignKey("pipeline_runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("error", Text),
    Column("outputs", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Index("step_runs_by_run", "pipeline_run_id", "name", "attempt", unique=True),
)

# Columns that hold JSON.
_JSON = {"params", "outputs", "metadata", "metrics"}


@attrs.frozen
class PipelineRunRow:
    """A pipeline run as stored. Times are nanoseconds since the epoch."""

    id: str
    name: str
    pipeline: str
    stack: str
    status: str
    started_at: int
    ended_at: int | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class StepRunRow:
    """One attempt of a step as stored. Times are nanoseconds since the epoch.

    Attributes:
        position: Place in the pipeline, from 0.
        error: The exception's class and message, where the step failed.
        outputs: By output name what `StoredOutput` holds.
        metadata: Such as `experiment_tracker_url`.
        metrics: The last value of each metric that was logged portably.
    """

    id: str
    pipeline_run_id: str
    name: str
    attempt: int
    position: int
    status: str
    started_at: int | None = None
    ended_at: int | None = None
    error: str | None = None
    outputs: Mapping[str, Any] = attrs.field(factory=dict)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    metrics: Mapping[str, float] = attrs.field(factory=dict)


class Store:
    """The run store: sqlite in WAL mode, or any database by URL.

    Args:
        url: A SQLAlchemy URL.
    """

    def __init__(self, url: str | URL) -> None:
        self._engine = create_engine(url)
        # Views of runs share a store and have no end: its connections are closed with the last.
        weakref.finalize(self, self._engine.dispose)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
        self._create_schema()

    @classmethod
    def in_folder(cls, home: Path) -> Store:
        """Open `store.db` in a folder, which is made if need be."""
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TrackyardError(f"{home}: cannot be made: {error.strerror}") from error
        return cls(URL.create("sqlite", database=str(home / "store.db")))

    def add_pipeline_run(self, row: PipelineRunRow) -> None:
        """Record a new pipeline run."""
        with self._writing() as connection:
            connection.execute(insert(_pipeline_runs).values(**_to_columns(attrs.asdict(row))))

    def update_pipeline_run(self, id: str, **values: Any) -> None:
        """Change columns of a pipeline run."""
        statement = update(_pipeline_runs).where(_pipeline_runs.c.id == id)
        with self._writing() as connection:
            connection.execute(statement.values(**_to_columns(values)))

    def add_step_run(self, row: StepRunRow) -> None:
        """Record a new attempt of a step."""
        with self._writing() as connection:
            connection.execute(insert(_step_runs).values(**_to_columns(attrs.asdict(row))))

    def update_step_run(self, id: str, **values: Any) -> None:
        """Change columns of a step run."""
        statement = update(_step_runs).where(_step_runs.c.id == id)
        with self._writing() as connection:
            connection.execute(statement.values(**_to_columns(values)))

    def mark_as_dead(
        self, step_run_id: str, pipeline_run_id: str, status: str, ended_at: int
    ) -> None:
        """Record the death of a step's process, and of its pipeline run, unless they had ended."""
        for table, run_id in ((_step_runs, step_run_id), (_pipeline_runs, pipeline_run_id)):
            is_open = (table.c.id == run_id) & (table.c.status == "running")
            with self._writing() as connection:
                statement = update(table).where(is_open)
                connection.execute(statement.values(status=status, ended_at=ended_at))

    def find_pipeline_run(self, name_or_id: str) -> PipelineRunRow:
        """Find a run by its name or id, or by a prefix of either that fits one run alone.

        Raises:
            RunNotFoundError: None fits, or several do.
        """
        runs = _pipeline_runs.c
        with self._engine.connect() as connection:
            exact = (runs.id == name_or_id) | (runs.name == name_or_id)
            found = connection.execute(select(_pipeline_runs).where(exact)).all()
            if not found and name_or_id:
                begins = runs.id.startswith(name_or_id, autoescape=True)
                begins |= runs.name.startswith(name_or_id, autoescape=True)
                query = select(_pipeline_runs).where(begins).order_by(runs.started_at.desc())
                found = connection.execute(query.limit(5)).all()
        if len(found) == 1:
            return _pipeline_run(found[0])
        if found:
            names = ", ".join(row.name for row in found)
            raise RunNotFoundError(f"several pipeline runs begin with {name_or_id!r}: {names}")
        latest = ", ".join(run.name for run in self.list_pipeline_runs(most=3)) or "none"
        raise RunNotFoundError(
            f"no pipeline run has the name, id or prefix {name_or_id!r}; the latest are: {latest}"
        )

    def list_pipeline_runs(
        self, pipeline: str | None = None, most: int = 100
    ) -> list[PipelineRunRow]:
        """List pipeline runs, the latest first."""
        query = select(_pipeline_runs).order_by(_pipeline_runs.c.started_at.desc()).limit(most)
        if pipeline is not None:
            query = query.where(_pipeline_runs.c.pipeline == pipeline)
        with self._engine.connect() as connection:
            return [_pipeline_run(row) for row in connection.execute(query)]

    def list_step_runs(self, pipeline_run_id: str) -> list[StepRunRow]:
        """List all attempts of a pipeline run's steps, in the order of the pipeline."""
        query = (
            select(_step_runs)
            .where(_step_runs.c.pipeline_run_id == pipeline_run_id)
            .order_by(_step_runs.c.position, _step_runs.c.attempt)
        )
        with self._engine.connect() as connection:
            return [StepRunRow(**_from_columns(row)) for row in connection.execute(query)]

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def _create_schema(self) -> None:
        try:
            version = self._read_version()
            if version is None:
                self._create_tables()
                version = self._read_version() or SCHEMA_VERSION
        except SQLAlchemyError as error:
            raise TrackyardError(f"{self._place}: cannot be opened: {error}") from error
        if version > SCHEMA_VERSION:
            raise TrackyardError(
                f"{self._place}: was written by a newer Trackyard (schema {version}, known is "
                f"{SCHEMA_VERSION}); type: pip install --upgrade trackyard"
            )

    def _read_version(self) -> int | None:
        """Give the schema's version; None where it has not been made whole."""
        if not inspect(self._engine).has_table(_schema.name):
            return None
        with self._engine.connect() as connection:
            version: int | None = connection.execute(select(func.max(_schema.c.version))).scalar()
        return version

    def _create_tables(self) -> None:
        """Create what is missing; the version comes last, and several processes may do it."""
        for _ in range(10):
            try:
                with self._writing() as connection:
                    _metadata.create_all(connection)
                    connection.execute(insert(_schema).values(version=SCHEMA_VERSION))
                return
            except (OperationalError, ProgrammingError):  # another process made a table just now
                time.sleep(0.05)
        raise TrackyardError(f"{self._place}: the tables cannot be made")

    @property
    def _place(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Let readers and one writer work side by side; wait for another writer up to 30 s."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    _use_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_write_ahead_log(cursor: Any) -> None:
    """Switch to WAL mode; sqlite does not wait where others are about to do the same."""
    give_up_at = time.monotonic() + 30.0
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def _to_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _to_column(key, value) for key, value in values.items()}


def _to_column(key: str, value: Any) -> Any:
    if key in _JSON:
        return json.dumps(value)
    # No database takes a lone surrogate, and the text of a user's error may hold one.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _from_columns(row: Row[Any]) -> dict[str, Any]:
    values = row._asdict()
    return {key: json.loads(value) if key in _JSON else value for key, value in values.items()}


def _pipeline_run(row: Row[Any]) -> PipelineRunRow:
    return PipelineRunRow(**_from_columns(row))
