"""What does one see of a pipeline run, its steps and their outputs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from trackyard.contract.materializers import StoredOutput
from trackyard.hooks.discovery import load_materializers
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.formats import Materializers
from trackyard.outputs.keeping import KeptOutputs
from trackyard.project.stacks import artifact_store_url
from trackyard.system.showing import Link, escaped, html_table, line, plain
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.project.configuration import Project
    from trackyard.project.stacks import Stack
    from trackyard.runs.artifacts import Artifacts
    from trackyard.runs.curves import Curve
    from trackyard.runs.health import TrackerHealth
    from trackyard.runs.histories import History
    from trackyard.store import OutputRow, PipelineRunRow, StepRunRow, Store

_T = TypeVar("_T")

# What a pipeline run's metadata call its graph.
GRAPH = "graph"


def open_artifact_store(project: Project, stack: Stack) -> ArtifactStore:
    """Open a stack's artifact store, with the formats of installed packages.

    Args:
        project: The project, from which a relative path counts.
        stack: The stack.
    """
    return ArtifactStore(
        artifact_store_url(project, stack),
        is_trusted=stack.trusts_pickles,
        materializers=Materializers(load_materializers),
        home=project.home,
        stack=stack.name,
        kept=KeptOutputs(project.home),
    )


class Named(dict[str, _T]):
    """Things by name; asking for one that is not there says what is."""

    def __init__(self, kind: str, items: Mapping[str, _T]) -> None:
        super().__init__(items)
        self._kind = kind

    def __missing__(self, name: str) -> _T:
        hint = did_you_mean(str(name), self) or f"; there are {listed(self)}"
        raise KeyError(f"no {self._kind} {name!r}{hint}")


class MetadataValue(str):
    """A value of `run_metadata`: a text that also has `.value`, as in older ZenML."""

    __slots__ = ()

    @property
    def value(self) -> str:
        """The text itself."""
        return str(self)


class OutputView:
    """An output of a step run, which is loaded when it is asked for."""

    def __init__(self, name: str, stored: StoredOutput, artifact_store: ArtifactStore) -> None:
        self.name = name
        self.uri = stored.uri
        self.materializer = stored.materializer
        self.size = stored.size
        self._stored = stored
        self._artifact_store = artifact_store

    def load(self, *, trust: bool = False) -> Any:
        """Load the value.

        Args:
            trust: Load also a pickle that somebody else has stored: that runs code of theirs.

        Raises:
            OutputError: It is gone, damaged, or a pickle that somebody else has stored.
        """
        return self._artifact_store.load(self._stored, trust=trust)

    def __repr__(self) -> str:
        return f"<Output {self.name} ({self.materializer}) {self.uri}>"


class OutputVersion(OutputView):
    """A version of a named output.

    Attributes:
        name: `<pipeline>.<step>.<output>`.
        version: From 1, counted for each name.
        uri, materializer, size, sha256: Where it lies, its format, its bytes.
        created_at: When it was stored.
    """

    def __init__(
        self, row: OutputRow, store: Store, artifact_store: ArtifactStore, project: Project
    ) -> None:
        stored = StoredOutput(row.uri, row.materializer, row.size, row.sha256)
        super().__init__(row.name, stored, artifact_store)
        self.version = row.version
        self.sha256 = row.sha256
        self.created_at = _moment(row.created_at)
        self._row = row
        self._store = store
        self._project = project

    @property
    def made_by(self) -> StepRun:
        """The step run that made it."""
        made_by = self._row.step_run_id
        return find_step_run(self._store, made_by, self._artifact_store, self._project)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is said of it, as the store has it now."""
        from trackyard.store.annotations import read_metadata

        return read_metadata(self._store, self._row.id)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Say something of it: the last value of a key counts.

        Args:
            metadata: Values that JSON has, by key; others are kept as texts, secrets are not kept.
        """
        from trackyard.redaction.redactor import Redactor
        from trackyard.store.annotations import add_metadata

        said = plain(Redactor().redact_nested(metadata))
        add_metadata(self._store, self._row.id, said)

    @property
    def read_by(self) -> list[StepRun]:
        """The step runs that have read it, the first reader first."""
        rows = self._store.list_output_readers(self._row.id)
        return [
            _with_attempts(row, self._store, self._artifact_store, self._project) for row in rows
        ]

    def __repr__(self) -> str:
        return f"<Output {self.name} version {self.version} ({self.materializer}) {self.uri}>"


class StepRun:
    """A step of a pipeline run: its latest attempt.

    Attributes:
        id, name, status, attempt: As recorded.
        error: The exception's class and message, where the step failed.
        attempts: All attempts, this one included.
        run_metadata: Such as `experiment_tracker_url` (of the first tracker),
            `experiment_tracker_url.NAME`, and `experiment_tracker.NAME` for its flavor.
        metrics: The last value of each metric that was logged portably.
        outputs: What the step gave, by name.
    """

    def __init__(
        self,
        row: StepRunRow,
        artifact_store: ArtifactStore,
        attempts: tuple[StepRun, ...] = (),
        project: Project | None = None,
    ) -> None:
        # A cached step has what the run has logged that made its result.
        logged_by = row.metadata.get("cached_from", row.id)
        self._folder = project.home / "runs" / logged_by if project is not None else None
        self._project = project
        self._row = row
        self.id = row.id
        self.name = row.name
        self.status = row.status
        self.attempt = row.attempt
        self.error = row.error
        self.attempts = (*attempts, self)
        self.started_at = _moment(row.started_at)
        self.ended_at = _moment(row.ended_at)
        self.metrics = Named("metric", row.metrics)
        self.run_metadata = Named(
            "metadata", {key: MetadataValue(value) for key, value in row.metadata.items()}
        )
        self.outputs = Named(
            "output",
            {
                name: OutputView(name, StoredOutput(**stored), artifact_store)
                for name, stored in row.outputs.items()
            },
        )

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, or None before that."""
        return _seconds(self.started_at, self.ended_at)

    @property
    def url(self) -> str | None:
        """The address of the run on its first tracker, or None."""
        return self.run_metadata.get("experiment_tracker_url")

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """What was logged as params, where the journal is on this machine."""
        return Named("param", self._history.params if self._history else {})

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        """All points of each metric, where the journal is on this machine."""
        return Named("metric", self._history.curves if self._history else {})

    @cached_property
    def artifacts(self) -> Artifacts:
        """The files that it logged, from its journal or, where that is gone, from a tracker."""
        from trackyard.runs.artifacts import Artifacts, artifacts_of
        from trackyard.runs.held_elsewhere import trackers_of_step

        if self._project is None:
            return Artifacts(self.name, {}, dict)
        history = self._history
        tracker = trackers_of_step(self._project, self._row, is_here=history is not None)
        return artifacts_of(self.name, tracker, history)

    @property
    def health(self) -> tuple[TrackerHealth, ...]:
        """How the run stands on each of its trackers now, by what is on this machine."""
        from trackyard.journal.descriptions import load_description
        from trackyard.runs.health import health_of

        description = load_description(self._folder) if self._folder else None
        return health_of(self._folder, description) if self._folder and description else ()

    @cached_property
    def _history(self) -> History | None:
        from trackyard.journal.descriptions import load_description
        from trackyard.runs.histories import has_journal, look_at

        if self._folder is None or not has_journal(self._folder):
            return None
        return look_at(self._folder, load_description(self._folder))

    def __repr__(self) -> str:
        return line(f"<StepRun {self.name} {self.status}{f' {self.url}' if self.url else ''}>")

    def _repr_html_(self) -> str:
        return html_table(("step", "status", "seconds"), [_row(self)]) + _curves([self])


def find_step_run(
    store: Store, id: str, artifact_store: ArtifactStore, project: Project
) -> StepRun:
    """Give a step run by its id, with the attempts before it.

    Args:
        store: The project's store.
        id: The step run's id.
        artifact_store: Where its outputs lie.
        project: The project.

    Raises:
        RunNotFoundError: There is none.
    """
    row, _ = store.find_step_run(id)
    return _with_attempts(row, store, artifact_store, project)


def _with_attempts(
    row: StepRunRow, store: Store, artifact_store: ArtifactStore, project: Project
) -> StepRun:
    attempts: tuple[StepRun, ...] = ()
    for attempt in store.list_step_runs(row.pipeline_run_id, row.name):
        if attempt.attempt < row.attempt:
            attempts = StepRun(attempt, artifact_store, attempts, project).attempts
    return StepRun(row, artifact_store, attempts, project)


class PipelineRun:
    """A pipeline run as it was when it was read.

    Attributes:
        id, name, pipeline, stack, status: As recorded.
        params: The arguments of the call.
    """

    def __init__(
        self,
        row: PipelineRunRow,
        store: Store,
        artifact_store: ArtifactStore,
        project: Project | None = None,
        known: Sequence[StepRunRow] = (),
    ) -> None:
        self._project = project
        self._known = known  # by the process that has run it, whose store may be away
        self.id = row.id
        self.name = row.name
        self.pipeline = row.pipeline
        self.stack = row.stack
        self.status = row.status
        self.params = dict(row.params)
        self.started_at = _moment(row.started_at)
        self.ended_at = _moment(row.ended_at)
        self._store = store
        self._artifact_store = artifact_store

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What the files of `trackyard run --config` said, and which run was resumed, if any."""
        kept = self._store.metadata_of(self.id)
        return {key: value for key, value in kept.items() if key != GRAPH}

    @cached_property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """For each step, also of those that are yet to run, the steps whose outputs it needs.

        A step that is called for each of several items stands in it once.
        """
        from trackyard.store.reads import reads_in

        waits = self._store.metadata_of(self.id).get(GRAPH)
        if waits is None:  # an earlier Trackyard ran it: what was read is known
            waits = {_whole(name): [] for name in self.steps}
            for reader, maker in reads_in(self._store, self.id):
                if maker not in waits.setdefault(_whole(reader), []):
                    waits[_whole(reader)].append(_whole(maker))
        return {name: tuple(dict.fromkeys(of)) for name, of in waits.items()}

    def inputs_of(self, step: str) -> list[OutputVersion]:
        """Give the outputs that a step has read.

        Args:
            step: Its name.
        """
        from trackyard.store.reads import inputs_of

        assert self._project is not None
        rows = inputs_of(self._store, self.steps[step].id)
        return [
            OutputVersion(row, self._store, self._artifact_store, self._project) for row in rows
        ]

    @cached_property
    def steps(self) -> Mapping[str, StepRun]:
        """The steps by name, in the order of the pipeline; each is its latest attempt."""
        steps: dict[str, StepRun] = {}
        for row in self._rows():
            earlier = steps[row.name].attempts if row.name in steps else ()
            steps[row.name] = StepRun(row, self._artifact_store, earlier, self._project)
        return Named("step", steps)

    def _rows(self) -> Sequence[StepRunRow]:
        """Give the attempts of the steps as the store has them, or as they are known without it.

        Raises:
            StoreError: Nothing is known, and the store cannot be read.
        """
        from trackyard.store import StoreError

        try:
            rows = self._store.list_step_runs(self.id)
        except StoreError:
            if not self._known:
                raise
            return self._known
        is_whole = len(rows) >= len(self._known) and all(r.status != "running" for r in rows)
        return rows if is_whole or not self._known else self._known

    @property
    def artifacts(self) -> Artifacts:
        """The files of all steps; names that several steps have stand below those of the steps."""
        from trackyard.runs.artifacts import joined

        return joined(self.name, [(name, step.artifacts) for name, step in self.steps.items()])

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, or None before that."""
        return _seconds(self.started_at, self.ended_at)

    def __repr__(self) -> str:
        return line(f"<PipelineRun {self.name} {self.status}>")

    def _repr_html_(self) -> str:
        rows = [_row(step) for step in self.steps.values()]
        title = f"{escaped(self.name)}: {escaped(self.status)}"
        table = html_table(("step", "status", "seconds"), rows)
        return f"<p>{title}</p>{table}{_curves(list(self.steps.values()))}"


def _curves(steps: list[StepRun]) -> str:
    """Draw the metrics of steps for notebooks."""
    from trackyard.runs.charts import chart

    curves = [(step.name, curve) for step in steps for curve in step.curves.values()]
    cells = "".join(
        f"<tr><td>{escaped(name)}</td><td>{escaped(curve.key)}</td>"
        f"<td>{curve.values[-1]:.6g}</td><td>{chart([curve.series()])}</td></tr>"
        for name, curve in curves
    )
    heads = "<tr><th>step</th><th>metric</th><th>last</th><th>curve</th></tr>"
    return f"<table>{heads}{cells}</table>" if curves else ""


def _row(step: StepRun) -> tuple[str, ...]:
    duration = "" if step.duration is None else f"{step.duration:.1f}"
    return Link(step.name, step.url), step.status, duration


def _whole(name: str) -> str:
    """Give the name of the step that a call for one item belongs to."""
    return name.partition("[")[0]


def _moment(nanoseconds: int | None) -> datetime | None:
    return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
