"""How does a program write and read runs in the store's database?"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from trackyard.contract.errors import (
    ConfigError,
    OutputNotFoundError,
    RunNotFoundError,
    TrackyardError,
    refuse_newer,
    without_statement,
)
from trackyard.contract.flavors import Secret
from trackyard.contract.records import encodable
from trackyard.project.configuration import Project
from trackyard.store.engines import engine_of, sqlite_engine
from trackyard.store.rows import OutputRow, PipelineRunRow, StepRunRow
from trackyard.store.schema import (
    OUTPUT_READS,
    OUTPUTS,
    PIPELINE_RUNS,
    SCHEMA_VERSION,
    STEP_RUNS,
    bring_up_to_date,
    read_version,
)
from trackyard.system.identifiers import new_id
from trackyard.system.suggestions import did_you_mean, listed

# Columns that hold JSON.
_JSON = {"params", "outputs", "metadata", "metrics"}


class Store:
    """The run store: sqlite in WAL mode, or PostgreSQL by URL.

    Args:
        engine: Of its database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Views of runs share a store and have no end: its connections are closed with the last.
        weakref.finalize(self, self._engine.dispose)
        self._writing_engine = engine.execution_options(writes=True)
        self._bring_up_to_date()

    @classmethod
    def of(cls, project: Project) -> Store:
        """Open a project's store: the database that `store` names, else sqlite in its home.

        `store` is a database URL, or a reference to one such as `env:TRACKYARD_STORE_URL`.

        Raises:
            ConfigError: The URL is wrong, or its driver is not installed.
            TrackyardError: The database cannot be opened.
        """
        url = project.table.get("store")
        if url is None:
            return cls.in_folder(project.home)
        place = project.place("store")
        if not isinstance(url, str):
            raise ConfigError(f"{place}: must be a database URL, not {url!r}")
        if url.startswith(("env:", "file:", "keyring:")):
            try:
                url = Secret(url).reveal()
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from error
        return cls(engine_of(url, place))

    @classmethod
    def in_folder(cls, home: Path) -> Store:
        """Open `store.db` in a folder, which is made if need be."""
        return cls(sqlite_engine(home))

    def add_pipeline_run(self, row: PipelineRunRow) -> None:
        """Record a new pipeline run."""
        with self.writing() as connection:
            connection.execute(insert(PIPELINE_RUNS), to_columns(attrs.asdict(row)))

    def update_pipeline_run(self, id: str, **values: Any) -> None:
        """Change columns of a pipeline run.

        Args:
            id: The pipeline run's.
            values: New values by column.
        """
        statement = update(PIPELINE_RUNS).where(PIPELINE_RUNS.c.id == id)
        with self.writing() as connection:
            connection.execute(statement.values(**to_columns(values)))

    def add_step_run(self, row: StepRunRow) -> None:
        """Record a new attempt of a step."""
        with self.writing() as connection:
            connection.execute(insert(STEP_RUNS), to_columns(attrs.asdict(row)))

    def update_step_run(self, id: str, **values: Any) -> None:
        """Change columns of a step run.

        Args:
            id: The step run's.
            values: New values by column.
        """
        statement = update(STEP_RUNS).where(STEP_RUNS.c.id == id)
        with self.writing() as connection:
            connection.execute(statement.values(**to_columns(values)))

    def mark_as_dead(
        self, step_run_id: str, pipeline_run_id: str, status: str, ended_at: int
    ) -> None:
        """Record the death of a step's process, and of its pipeline run, unless they had ended.

        A pipeline run that another runner drives goes on (see `store.other_runners`).

        Args:
            step_run_id: The step run's.
            pipeline_run_id: That of the pipeline run that it belongs to.
            status: What became of them.
            ended_at: When, in nanoseconds since the epoch.
        """
        for table, run_id in ((STEP_RUNS, step_run_id), (PIPELINE_RUNS, pipeline_run_id)):
            is_open = (table.c.id == run_id) & (table.c.status == "running")
            if table is PIPELINE_RUNS:
                is_open &= PIPELINE_RUNS.c.stack != ""
            with self.writing() as connection:
                statement = update(table).where(is_open)
                connection.execute(statement.values(status=status, ended_at=ended_at))

    def end_dead_pipeline_run(
        self, id: str, steps: Iterable[tuple[str, int]], status: str, ended_at: int
    ) -> None:
        """Record that a pipeline run's driver has died, in one transaction.

        Attempts that ran have died with it, and steps that it never reached are skipped.

        Args:
            id: The pipeline run's.
            steps: The names and positions of all its steps.
            status: What became of it.
            ended_at: When, in nanoseconds since the epoch.
        """
        attempts, runs = STEP_RUNS.c, PIPELINE_RUNS.c
        of_run = attempts.pipeline_run_id == id
        with self.writing() as connection:
            if connection.execute(select(runs.id).where(runs.id == id)).first() is None:
                return
            last = connection.execute(select(func.max(attempts.ended_at)).where(of_run)).scalar()
            # A file's time, by which it was seen alive, may lie milliseconds behind.
            values = {"status": status, "ended_at": max(ended_at, last or 0)}
            running = of_run & (attempts.status == "running")
            connection.execute(update(STEP_RUNS).where(running).values(values))
            found = connection.execute(select(attempts.name, attempts.status).where(of_run)).all()
            # A step that is called for each of several items is there under its parts' names.
            names = {name.partition("[")[0] for name, _ in found} | {name for name, _ in found}
            for name, position in steps:
                if name not in names:
                    row = StepRunRow(new_id(), id, name, 1, position, "skipped")
                    connection.execute(insert(STEP_RUNS).values(**to_columns(attrs.asdict(row))))
            is_open = (runs.id == id) & (runs.status == "running")
            connection.execute(update(PIPELINE_RUNS).where(is_open).values(values))

    def end_step_run(
        self,
        id: str,
        values: Mapping[str, Any],
        outputs: Iterable[OutputRow] = (),
        read: Iterable[str] = (),
    ) -> list[OutputRow]:
        """Record how a step run ended, in one transaction.

        Args:
            id: The step run's.
            values: Columns to change.
            outputs: What it made; each becomes the next version of its name.
            read: Ids of the outputs that it has read.

        Returns:
            The outputs with their versions.
        """
        reads = [{"artifact_id": of, "step_run_id": id} for of in dict.fromkeys(read)]
        statement = update(STEP_RUNS).where(STEP_RUNS.c.id == id)
        with self.writing() as connection:
            connection.execute(statement.values(**to_columns(values)))
            if reads:
                connection.execute(insert(OUTPUT_READS), reads)
            return [_add_output(connection, row) for row in outputs]

    def find_output(self, name: str, version: int | None = None) -> OutputRow:
        """Find a version of an output, the latest by default.

        Args:
            name: `<pipeline>.<step>.<output>`, or its last parts where they fit one name alone.
            version: From 1.

        Raises:
            OutputNotFoundError: There is no such output or version, or several names fit.
        """
        full = self._output_name(name)
        query = select(OUTPUTS).where(OUTPUTS.c.name == full)
        query = query.order_by(OUTPUTS.c.version.desc()).limit(1)
        if version is not None:
            query = query.where(OUTPUTS.c.version == version)
        with self._engine.connect() as connection:
            found = connection.execute(query).first()
        if found is None:
            latest = self.find_output(full).version
            raise OutputNotFoundError(
                f"output {full!r} has no version {version}; the latest is {latest}"
            )
        return OutputRow(**_from_columns(found))

    def list_outputs(self, name: str | None = None) -> list[OutputRow]:
        """List all versions of an output, the latest first; or the latest version of each."""
        outputs = OUTPUTS.c
        query = select(OUTPUTS)
        if name is not None:
            query = query.where(outputs.name == self._output_name(name))
        else:
            latest = select(outputs.name, func.max(outputs.version).label("version"))
            newest = latest.group_by(outputs.name).subquery()
            same = (newest.c.name == outputs.name) & (newest.c.version == outputs.version)
            query = query.join(newest, same)
        query = query.order_by(outputs.name, outputs.version.desc())
        with self._engine.connect() as connection:
            return [OutputRow(**_from_columns(row)) for row in connection.execute(query)]

    def list_output_readers(self, output_id: str) -> list[StepRunRow]:
        """List the step runs that have read an output, the first reader first."""
        query = (
            select(STEP_RUNS)
            .join(OUTPUT_READS, OUTPUT_READS.c.step_run_id == STEP_RUNS.c.id)
            .where(OUTPUT_READS.c.artifact_id == output_id)
            .order_by(STEP_RUNS.c.started_at)
        )
        with self._engine.connect() as connection:
            return [StepRunRow(**_from_columns(row)) for row in connection.execute(query)]

    def find_step_run(self, id: str) -> tuple[StepRunRow, PipelineRunRow]:
        """Find a step run by its id, and its pipeline run.

        Raises:
            RunNotFoundError: There is none.
        """
        with self._engine.connect() as connection:
            found = connection.execute(select(STEP_RUNS).where(STEP_RUNS.c.id == id)).first()
        if found is None:
            raise RunNotFoundError(f"no step run has the id {id!r}")
        row = StepRunRow(**_from_columns(found))
        return row, self.find_pipeline_run(row.pipeline_run_id)

    def find_cached(self, key: str) -> StepRunRow | None:
        """Find the latest step run of a cache key that finished, if there is one."""
        step_runs = STEP_RUNS.c
        query = select(STEP_RUNS).where(
            (step_runs.cache_key == key) & (step_runs.status == "finished")
        )
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(step_runs.ended_at.desc())).first()
        return None if found is None else StepRunRow(**_from_columns(found))

    def list_outputs_of(self, step_run_id: str) -> list[OutputRow]:
        """List what a step run made."""
        query = select(OUTPUTS).where(OUTPUTS.c.step_run_id == step_run_id)
        with self._engine.connect() as connection:
            return [OutputRow(**_from_columns(row)) for row in connection.execute(query)]

    def _output_name(self, name: str) -> str:
        query = select(OUTPUTS.c.name).distinct()
        with self._engine.connect() as connection:
            if connection.execute(query.where(OUTPUTS.c.name == name)).first():
                return name
            ends = query.where(OUTPUTS.c.name.endswith(f".{name}", autoescape=True))
            found = [row.name for row in connection.execute(ends.limit(5))]
            known = [row.name for row in connection.execute(query.limit(1000))]
        if len(found) == 1:
            return str(found[0])
        if found:
            raise OutputNotFoundError(
                f"several outputs are called {name!r}: {listed(sorted(found))}"
            )
        hint = did_you_mean(name, known) or f"; there are {listed(sorted(known)[:10])}"
        raise OutputNotFoundError(f"no output is called {name!r}{hint}")

    def find_pipeline_run(self, name_or_id: str) -> PipelineRunRow:
        """Find a run by its name or id, or by a prefix of either that fits one run alone.

        Raises:
            RunNotFoundError: None fits, or several do.
        """
        runs = PIPELINE_RUNS.c
        with self._engine.connect() as connection:
            exact = (runs.id == name_or_id) | (runs.name == name_or_id)
            found = connection.execute(select(PIPELINE_RUNS).where(exact)).all()
            if not found and name_or_id:
                begins = runs.id.startswith(name_or_id, autoescape=True)
                begins |= runs.name.startswith(name_or_id, autoescape=True)
                query = select(PIPELINE_RUNS).where(begins).order_by(runs.started_at.desc())
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
        """List pipeline runs, the latest first.

        Args:
            pipeline: Only runs of the pipeline of this name.
            most: How many at most.
        """
        query = select(PIPELINE_RUNS).order_by(PIPELINE_RUNS.c.started_at.desc()).limit(most)
        if pipeline is not None:
            query = query.where(PIPELINE_RUNS.c.pipeline == pipeline)
        with self._engine.connect() as connection:
            return [_pipeline_run(row) for row in connection.execute(query)]

    def list_step_runs(self, pipeline_run_id: str, name: str | None = None) -> list[StepRunRow]:
        """List all attempts of a pipeline run's steps, or of one, in the order of the pipeline.

        Args:
            pipeline_run_id: The pipeline run's.
            name: Only attempts of the step of this name.
        """
        query = select(STEP_RUNS).where(STEP_RUNS.c.pipeline_run_id == pipeline_run_id)
        if name is not None:
            query = query.where(STEP_RUNS.c.name == name)
        query = query.order_by(STEP_RUNS.c.position, STEP_RUNS.c.attempt)
        with self._engine.connect() as connection:
            return [StepRunRow(**_from_columns(row)) for row in connection.execute(query)]

    def execute(self, query: str, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Read rows with a query of SQL that both databases know.

        Args:
            query: SQL, with `:name` where a value goes.
            values: The values by name.
        """
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), dict(values)).mappings()]

    def delete_pipeline_run(self, id: str) -> None:
        """Delete a pipeline run with its steps and the versions of their outputs."""
        with self.writing() as connection:
            connection.execute(delete(PIPELINE_RUNS).where(PIPELINE_RUNS.c.id == id))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction that may write."""
        with self._writing_engine.begin() as connection:
            yield connection

    def _bring_up_to_date(self) -> None:
        try:
            version = read_version(self._engine)
            if version is None or version < SCHEMA_VERSION:
                with self.writing() as connection:
                    bring_up_to_date(connection)
                version = SCHEMA_VERSION
        except SQLAlchemyError as error:
            cause = without_statement(str(error))
            raise TrackyardError(f"{self._place}: cannot be opened: {cause}") from error
        refuse_newer(self._place, version, SCHEMA_VERSION)

    @property
    def _place(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)


def _add_output(connection: Connection, row: OutputRow) -> OutputRow:
    if connection.dialect.name == "postgresql":  # sqlite has one writer at a time
        key = func.hashtext(row.name)
        connection.execute(select(func.pg_advisory_xact_lock(7236141, key)))
    latest = select(func.max(OUTPUTS.c.version)).where(OUTPUTS.c.name == row.name)
    numbered = attrs.evolve(row, version=(connection.execute(latest).scalar() or 0) + 1)
    connection.execute(insert(OUTPUTS), to_columns(attrs.asdict(numbered)))
    return numbered


def to_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give values as the tables hold them."""
    return {key: _to_column(key, value) for key, value in values.items()}


def _to_column(key: str, value: Any) -> Any:
    if key in _JSON:
        return json.dumps(value)
    return encodable(value) if isinstance(value, str) else value


def _from_columns(row: Row[Any]) -> dict[str, Any]:
    values = row._asdict()
    return {key: json.loads(value) if key in _JSON else value for key, value in values.items()}


def _pipeline_run(row: Row[Any]) -> PipelineRunRow:
    return PipelineRunRow(**_from_columns(row))
