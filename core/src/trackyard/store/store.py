"""How does a program write and read pipeline runs, their steps and outputs in the store?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import get_ident
from typing import Any

import attrs

from trackyard.contract.errors import OutputNotFoundError, RunNotFoundError
from trackyard.contract.records import encodable
from trackyard.project.configuration import Project
from trackyard.store.databases import PATIENCE, Database, Session, SqliteDatabase
from trackyard.store.details import (
    RunDetails,
    behind,
    last_values,
    read_artifacts,
    read_context,
    read_curves,
    read_metrics,
    read_params,
    read_tags,
    write_params,
)
from trackyard.store.new_outputs import OUTPUT, add_output
from trackyard.store.opening import database_of
from trackyard.store.rows import STEP_ORDER, OutputRow, PipelineRunRow, StepRunRow
from trackyard.store.saving import (
    JSON_COLUMNS,
    UPSERT,
    add_step,
    number_of,
    save_run,
    to_columns,
    update_run,
)
from trackyard.store.schema import bring_up_to_date
from trackyard.system.suggestions import did_you_mean, listed

_STEP = (
    "no, id, group_id AS pipeline_run_id, name, attempt, position, status, started_at, ended_at, "
    "error, outputs, metadata, cache_key"
)
_PIPELINE = "no, id, name, experiment AS pipeline, stack, status, started_at, ended_at"


class Store:
    """The run store: sqlite in WAL mode, or PostgreSQL by URL.

    It is opened, made and brought up to date when it is first used.

    Args:
        database: Where it lies.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._is_current = False
        self._joined: tuple[int, Session] | None = None  # of the thread in `together`

    def opened(self) -> Store:
        """Open it now, and give it.

        Raises:
            TrackyardError: It cannot be, or another version of Trackyard wrote it.
        """
        if not self._is_current:
            bring_up_to_date(self.database)
            self._is_current = True
        return self

    @classmethod
    def of(cls, project: Project, patience: float = PATIENCE) -> Store:
        """Open a project's store: the database that `store` names, else sqlite in its home.

        `store` is a database URL, or a reference to one such as `env:TRACKYARD_STORE_URL`.

        Args:
            project: The project.
            patience: Seconds that a writer waits for others, where it is sqlite.

        Raises:
            ConfigError: The URL is wrong, or its driver is not installed.
            TrackyardError: The database cannot be opened.
        """
        return cls(database_of(project, patience)).opened()

    @classmethod
    def in_folder(cls, home: Path) -> Store:
        """Open `store.db` in a folder, which is made if need be."""
        return cls(SqliteDatabase(home / "store.db")).opened()

    def add_pipeline_run(self, row: PipelineRunRow) -> None:
        """Record a pipeline run; a second time changes what has changed."""
        values = attrs.asdict(row, recurse=False)
        values |= {"kind": "pipeline", "experiment": row.pipeline, "group_id": row.id}
        with self.writing() as session:
            session.execute(UPSERT["pipeline"], to_columns(values))
            if row.params:
                write_params(session, number_of(session, row.id) or 0, row.params)

    def update_pipeline_run(self, id: str, **values: Any) -> None:
        """Change columns of a pipeline run.

        Args:
            id: The pipeline run's.
            values: New values by column.
        """
        with self.writing() as session:
            update_run(session, id, values)

    def add_step_run(self, row: StepRunRow) -> None:
        """Record an attempt of a step; a second time changes what has changed."""
        with self.writing() as session:
            add_step(session, row)

    def update_step_run(self, id: str, **values: Any) -> None:
        """Change columns of a step run.

        Args:
            id: The step run's.
            values: New values by column.
        """
        with self.writing() as session:
            update_run(session, id, values)

    def save_run(self, values: Mapping[str, Any], summary: Mapping[str, Any] | None = None) -> None:
        """Record a run that no pipeline drives; a second time changes what has changed.

        Args:
            values: Its columns.
            summary: What its journal comes to, where that is known, see `details.write_summary`.
        """
        with self.writing() as session:
            save_run(session, values, summary)

    def end_step_run(
        self,
        id: str,
        values: Mapping[str, Any],
        outputs: Iterable[OutputRow] = (),
        read: Iterable[str] = (),
    ) -> None:
        """Record how a step run ended, in one transaction; a second time changes nothing.

        Args:
            id: The step run's.
            values: Columns to change, or all of them; and `summary`, see `details.write_summary`.
            outputs: What it made; each becomes the next version of its name.
            read: Ids of the outputs that it has read.
        """
        reads = [{"output_id": of, "step_run_id": id} for of in dict.fromkeys(read)]
        with self.writing() as session:
            if "pipeline_run_id" in values:  # the whole row, which may have been deleted
                beside = {key: values[key] for key in ("summary", "journal") if key in values}
                row = {key: value for key, value in values.items() if key not in beside}
                add_step(session, StepRunRow(**{**row, "id": id}))
                if beside:
                    update_run(session, id, beside)
            else:
                update_run(session, id, values)
            session.execute_many(
                "INSERT INTO output_reads (output_id, step_run_id) "
                "VALUES (:output_id, :step_run_id) ON CONFLICT DO NOTHING",
                reads,
            )
            for made in outputs:
                add_output(session, made, self.database)

    def find_output(self, name: str, version: int | None = None) -> OutputRow:
        """Find a version of an output, the latest by default.

        Args:
            name: `<pipeline>.<step>.<output>`, or its last parts where they fit one name alone.
            version: From 1.

        Raises:
            OutputNotFoundError: There is no such output or version, or several names fit.
        """
        full = self._output_name(name)
        of_version = "" if version is None else "AND version = :version"
        found = self.execute(
            f"SELECT {OUTPUT} FROM outputs WHERE name = :name {of_version} "
            "ORDER BY version DESC LIMIT 1",
            {"name": full, "version": version} if of_version else {"name": full},
        )
        if not found:
            latest = self.find_output(full).version
            raise OutputNotFoundError(
                f"output {full!r} has no version {version}; the latest is {latest}"
            )
        return OutputRow(**found[0])

    def list_outputs(self, name: str | None = None) -> list[OutputRow]:
        """List all versions of an output, the latest first; or the latest version of each."""
        if name is not None:
            where, values = "name = :name", {"name": self._output_name(name)}
        else:
            where = "version = (SELECT MAX(version) FROM outputs l WHERE l.name = o.name)"
            values = {}
        query = f"SELECT {OUTPUT} FROM outputs o WHERE {where} ORDER BY name, version DESC"
        return [OutputRow(**row) for row in self.execute(query, values)]

    def list_output_readers(self, output_id: str) -> list[StepRunRow]:
        """List the step runs that have read an output, the first reader first."""
        query = (
            f"SELECT {_STEP} FROM runs WHERE id IN "
            "(SELECT step_run_id FROM output_reads WHERE output_id = :id) ORDER BY started_at"
        )
        return self._steps(query, {"id": output_id})

    def find_step_run(self, id: str) -> tuple[StepRunRow, PipelineRunRow]:
        """Find a step run by its id, and its pipeline run.

        Raises:
            RunNotFoundError: There is none.
        """
        query = f"SELECT {_STEP} FROM runs WHERE id = :id AND kind = 'step'"
        found = self._steps(query, {"id": id})
        if not found:
            raise RunNotFoundError(f"no step run has the id {id!r}")
        return found[0], self.find_pipeline_run(found[0].pipeline_run_id)

    def find_runs_as_steps(self, ids: Iterable[str]) -> list[StepRunRow]:
        """Give runs of any kind in the form of steps; those that are not there are left out."""
        query = f"SELECT {_STEP} FROM runs WHERE id = :id"
        return [row for known in ids for row in self._steps(query, {"id": known})]

    def find_cached(self, key: str) -> StepRunRow | None:
        """Find the latest step run of a cache key that finished, if there is one."""
        query = (
            f"SELECT {_STEP} FROM runs WHERE cache_key = :key AND status = 'finished' "
            "ORDER BY ended_at DESC LIMIT 1"
        )
        return next(iter(self._steps(query, {"key": key})), None)

    def list_outputs_of(self, step_run_id: str) -> list[OutputRow]:
        """List what a step run made."""
        query = f"SELECT {OUTPUT} FROM outputs WHERE step_run_id = :id"
        return [OutputRow(**row) for row in self.execute(query, {"id": step_run_id})]

    def _output_name(self, name: str) -> str:
        if self.execute(
            "SELECT 1 AS found FROM outputs WHERE name = :name LIMIT 1", {"name": name}
        ):
            return name
        ends = "SELECT DISTINCT name FROM outputs WHERE name LIKE :end ESCAPE '!' LIMIT 50"
        rows = self.execute(ends, {"end": f"%{_escaped('.' + name)}"})
        found = [row["name"] for row in rows if row["name"].endswith(f".{name}")][:5]
        if len(found) == 1:
            return str(found[0])
        if found:
            raise OutputNotFoundError(
                f"several outputs are called {name!r}: {listed(sorted(found))}"
            )
        rows = self.execute("SELECT DISTINCT name FROM outputs LIMIT 1000", {})
        known = [row["name"] for row in rows]
        hint = did_you_mean(name, known) or f"; there are {listed(sorted(known)[:10])}"
        raise OutputNotFoundError(f"no output is called {name!r}{hint}")

    def find_pipeline_run(self, name_or_id: str) -> PipelineRunRow:
        """Find a run by its name or id, or by a prefix of either that fits one run alone.

        Of several runs of one name the latest is meant.

        Raises:
            RunNotFoundError: None fits, or several do.
        """
        asked = encodable(name_or_id)
        select = f"SELECT {_PIPELINE} FROM runs WHERE kind = 'pipeline' AND"
        found = self._pipeline_runs(
            f"{select} (id = :asked OR name = :asked) ORDER BY started_at DESC LIMIT 1",
            {"asked": asked},
        )
        if not found and asked:
            found = self._pipeline_runs(
                f"{select} ((id >= :asked AND id < :end) OR (name >= :asked AND name < :end)) "
                "ORDER BY started_at DESC LIMIT 5",
                {"asked": asked, "end": behind(asked)},
            )
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(row.name for row in found)
            raise RunNotFoundError(f"several pipeline runs begin with {name_or_id!r}: {names}")
        latest = ", ".join(run.name for run in self.list_pipeline_runs(most=3)) or "none"
        raise RunNotFoundError(
            f"no pipeline run has the name, id or prefix {name_or_id!r}; the latest are: {latest}"
        )

    def metadata_of(self, run_id: str) -> dict[str, Any]:
        """Give what else is kept of a pipeline run; nothing where there is no such run.

        Args:
            run_id: The run's id.
        """
        with self.reading() as session:
            rows = session.execute("SELECT metadata FROM runs WHERE id = :id", {"id": run_id})
        return dict(_from_columns(rows[0])["metadata"]) if rows else {}

    def list_pipeline_runs(
        self, pipeline: str | None = None, most: int = 100
    ) -> list[PipelineRunRow]:
        """List pipeline runs, the latest first.

        Args:
            pipeline: Only runs of the pipeline of this name.
            most: How many at most.
        """
        of_pipeline = "" if pipeline is None else "AND experiment = :pipeline"
        query = (
            f"SELECT {_PIPELINE} FROM runs WHERE parent_id IS NULL AND kind = 'pipeline' "
            f"{of_pipeline} ORDER BY started_at DESC LIMIT :most"
        )
        values: dict[str, Any] = {"most": most}
        return self._pipeline_runs(query, values | ({"pipeline": pipeline} if pipeline else {}))

    def ids_of_steps(self, pipeline_run_id: str) -> set[str]:
        """Give the ids of all attempts of a pipeline run's steps."""
        query = "SELECT id FROM runs WHERE group_id = :id AND kind = 'step'"
        return {row["id"] for row in self.execute(query, {"id": pipeline_run_id})}

    def list_step_runs(self, pipeline_run_id: str, name: str | None = None) -> list[StepRunRow]:
        """List all attempts of a pipeline run's steps, or of one, in the order of the pipeline.

        Args:
            pipeline_run_id: The pipeline run's.
            name: Only attempts of the step of this name.
        """
        of_step = "" if name is None else "AND name = :name"
        query = (
            f"SELECT {_STEP} FROM runs WHERE group_id = :run AND kind = 'step' {of_step} "
            f"ORDER BY {STEP_ORDER}"
        )
        return self._steps(query, {"run": pipeline_run_id} | ({"name": name} if name else {}))

    def details_of(self, ids: Iterable[str]) -> dict[str, RunDetails]:
        """Give what belongs to runs of any kind.

        Args:
            ids: The runs' ids.
        """
        found: dict[str, RunDetails] = {}
        with self.reading() as session:
            numbers = {of: no for of in ids if (no := number_of(session, of)) is not None}
            every = [*numbers.values()]
            params, tags = read_params(session, every), read_tags(session, every)
            metrics, curves = read_metrics(session, every), read_curves(session, every)
            artifacts = read_artifacts(session, every)
            contexts = {number: read_context(session, number) for number in every}
        for of, number in numbers.items():
            points = curves.get(number, {})
            rows = [
                attrs.evolve(row, curve=points.get(key))
                for key, row in metrics.get(number, {}).items()
            ]
            found[of] = RunDetails(
                params.get(number, {}),
                tags.get(number, {}),
                tuple(rows),
                tuple(artifacts.get(number, ())),
                contexts[number],
            )
        return found

    def execute(self, query: str, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Read rows with a query of SQL that both databases know.

        Args:
            query: SQL, with `:name` where a value goes.
            values: The values by name.
        """
        with self.reading() as session:
            return session.execute(query, values)

    def delete_run(self, id: str) -> None:
        """Delete a run of any kind, with its steps and the versions of their outputs."""
        of_run = "SELECT id FROM runs WHERE group_id = :id OR id = :id"
        with self.writing() as session:
            of_outputs = f"SELECT id FROM outputs WHERE step_run_id IN ({of_run})"
            for statement in (
                f"DELETE FROM output_reads WHERE output_id IN ({of_outputs})",
                f"DELETE FROM output_reads WHERE step_run_id IN ({of_run})",
                f"DELETE FROM outputs WHERE step_run_id IN ({of_run})",
                "DELETE FROM runs WHERE group_id = :id OR id = :id",
            ):
                session.execute(statement, {"id": id})

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have all that this thread writes in the block in one transaction."""
        with self.opened().database.writing() as session:
            self._joined = get_ident(), session
            try:
                yield
            finally:
                self._joined = None

    def writing(self) -> AbstractContextManager[Session]:
        """Give a session in a transaction that may write."""
        if self._joined is not None and self._joined[0] == get_ident():
            return nullcontext(self._joined[1])
        session: AbstractContextManager[Session] = self.opened().database.writing()
        return session

    def reading(self) -> AbstractContextManager[Session]:
        """Give a session that reads."""
        session: AbstractContextManager[Session] = self.opened().database.reading()
        return session

    def _pipeline_runs(self, query: str, values: Mapping[str, Any]) -> list[PipelineRunRow]:
        with self.reading() as session:
            rows = [dict(row) for row in session.execute(query, values)]
            params = read_params(session, [row["no"] for row in rows])
        return [PipelineRunRow(params=params.get(row.pop("no"), {}), **row) for row in rows]

    def _steps(self, query: str, values: Mapping[str, Any]) -> list[StepRunRow]:
        with self.reading() as session:
            rows = [_from_columns(row) for row in session.execute(query, values)]
            metrics = read_metrics(session, [row["no"] for row in rows])
        return [
            StepRunRow(metrics=last_values(metrics.get(row.pop("no"), {})), **row) for row in rows
        ]


def _from_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: json.loads(value) if key in JSON_COLUMNS else value for key, value in row.items()}


def _escaped(text: str) -> str:
    for character in "!%_":
        text = text.replace(character, f"!{character}")
    return text
