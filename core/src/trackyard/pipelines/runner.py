"""How is a pipeline run: what happens around each step, and in which order?

An orchestrator decides when and where an attempt runs; this file says what an attempt is. The
driver's process alone writes the store.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import attrs

from trackyard.artifacts import StoredOutput
from trackyard.config import Project
from trackyard.delivery.reports import TrackerReport
from trackyard.errors import ConfigError, OutputError, RequiredTrackerError
from trackyard.identifiers import new_id, new_name
from trackyard.interruption import termination_as_exit
from trackyard.lifecycle import RunGroup
from trackyard.pipelines.graph import Graph, Node, Output, fill_in
from trackyard.pipelines.progress import Progress
from trackyard.pipelines.types import output_names
from trackyard.records import SEVERITY, Failure, Status
from trackyard.store import ArtifactRow, PipelineRunRow, StepRunRow, Store
from trackyard.tracked_runs import TrackedRun, failure_of, is_disabled, new_run
from trackyard.trackers import Tracker, Trackers
from trackyard.tracking import activated, redactor_of
from trackyard.values import to_param
from trackyard.views import PipelineRun, open_artifact_store


class Orchestrator(Protocol):
    """Runs the steps of a pipeline in an order that their dependencies allow."""

    def run(self, dependencies: Mapping[str, set[str]], run_step: Callable[[str], bool]) -> None:
        """Run every step once all that it waits for has finished; leave out the others.

        Args:
            dependencies: For each step the names of those that it waits for.
            run_step: Runs a step by name, all its attempts; True where it finished.
        """


class PipelineRunner:
    """Runs one graph once. Everything is checked when it is made, before anything runs.

    Args:
        graph: The steps.
        params: The pipeline's arguments.
        project: Where it runs.

    Raises:
        ConfigError, PluginError, PipelineError: Something does not fit.
    """

    def __init__(self, graph: Graph, params: Mapping[str, Any], project: Project) -> None:
        self._graph = graph
        self._dependencies = graph.dependencies()
        trackers = Trackers(project)
        self._trackers = {
            node.name: _select(trackers, graph.pipeline, node) for node in graph.nodes.values()
        }
        self._orchestrator: Orchestrator = trackers.orchestrator()
        self._artifacts = open_artifact_store(project, trackers.stack)
        self._store = Store.of(project)
        self._progress = Progress()
        redactor = redactor_of([t for chosen in self._trackers.values() for t in chosen])
        redact = redactor.redact_pair
        self._run = PipelineRunRow(
            id=new_id(),
            name=new_name(graph.pipeline),
            pipeline=graph.pipeline,
            stack=trackers.stack.name,
            status="running",
            started_at=time.time_ns(),
            params=dict(redact(key, to_param(value)) for key, value in params.items()),
        )
        parent = new_run(
            self._run.name,
            graph.pipeline,
            id=self._run.id,
            pipeline=graph.pipeline,
            group=self._run.id,
        )
        self._group = RunGroup(project, redactor, parent)
        self._stored: dict[str, dict[str, StoredOutput]] = {}
        self._artifact_ids: dict[str, dict[str, str]] = {}
        self._metadata: dict[str, dict[str, str]] = {}
        self._ended: dict[str, TrackedRun | None] = {}
        self._error: BaseException | None = None
        self._failure: Failure | None = None

    def run(self) -> PipelineRun:
        """Run the steps; then raise what the first failing step raised, if one failed."""
        self._store.add_pipeline_run(self._run)
        self._progress.run_started(self._run.name)
        self._group.prepare(tracker for chosen in self._trackers.values() for tracker in chosen)
        self._group.log_params(self._run.params)
        try:
            with termination_as_exit(self._group.note_signal):
                self._orchestrator.run(self._dependencies, self._run_step)
        except BaseException as error:  # Ctrl-C and sys.exit() end the whole run
            self._note(error, failure_of(error, self._group.redactor))
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        return self.stored()

    def stored(self) -> PipelineRun:
        """Give the pipeline run as it is stored."""
        row = self._store.find_pipeline_run(self._run.id)
        return PipelineRun(row, self._store, self._artifacts)

    def _run_step(self, name: str) -> bool:
        """Run a step, once more after each failure as often as it wants; True if it finished."""
        node = self._graph.nodes[name]
        error: Exception | None = None
        for attempt in range(1, node.step.retries + 2):
            error = self._run_attempt(node, attempt)
            if error is None:
                return True
        assert error is not None
        self._note(error, failure_of(error, self._group.redactor))
        return False

    def _run_attempt(self, node: Node, attempt: int) -> Exception | None:
        """Run a step once, as a tracker run of its own.

        The tracker run is started before the inputs are loaded and ended after the outputs are
        stored: whatever goes wrong between, it is marked as failed.
        """
        pipeline, group = self._graph.pipeline, self._run.id
        run = new_run(
            node.name, pipeline, pipeline=pipeline, step=node.name, attempt=attempt, group=group
        )
        self._store.add_step_run(
            StepRunRow(run.id, group, node.name, attempt, node.position, "running", run.started_at)
        )
        tracked: TrackedRun | None = None
        error: BaseException | None = None
        self._progress.step_starting(node.name, attempt)
        try:
            tracked = self._group.start(run, self._trackers[node.name])
            if tracked.urls:
                self._store.update_step_run(run.id, metadata=_metadata(tracked))
            metrics = tracked.last_metrics
            self._progress.step_started(node.name, attempt, tracked.urls, metrics)
            self._call(node, tracked)
        except BaseException as raised:
            error = raised
        return self._end_attempt(node, run.id, tracked, error)

    def _call(self, node: Node, tracked: TrackedRun) -> None:
        """Load the inputs, call the function with the run as the current one, store the outputs."""
        arguments = fill_in(dict(node.arguments), self._load)
        with activated(tracked):
            result = call_with(node.step.function, arguments)
        self._stored[node.name] = self._save(node, tracked.run.id, result)

    def _end_attempt(
        self, node: Node, id: str, tracked: TrackedRun | None, error: BaseException | None
    ) -> Exception | None:
        failure = failure_of(error, self._group.redactor) if error else None
        if tracked is not None:
            self._group.finish(tracked, failure)
            if error is None:
                try:
                    self._group.wait_for_required(tracked, self._trackers[node.name])
                except RequiredTrackerError as raised:
                    error, failure = raised, failure_of(raised, self._group.redactor)
        metadata = self._metadata[id] = _metadata(tracked) if tracked else {}
        status = failure.status if failure else "finished"
        stored = self._stored.get(node.name, {})
        ended_at = time.time_ns()
        values = {
            "status": status,
            "ended_at": ended_at,
            "error": f"{failure.kind}: {failure.message}" if failure else None,
            "outputs": {name: attrs.asdict(output) for name, output in stored.items()},
            "metadata": metadata,
            "metrics": tracked.last_metrics if tracked else {},
        }
        rows = self._artifact_rows(node, id, stored)
        self._store.end_step_run(id, values, rows, self._read_by(node))
        self._artifact_ids[node.name] = dict(zip(stored, (row.id for row in rows), strict=True))
        self._ended[node.name] = tracked
        self._progress.step_ended(
            node.name,
            status,
            (ended_at - tracked.run.started_at) / 1e9 if tracked else None,
            tracked.last_metrics if tracked else {},
            f"{failure.kind}: {failure.message}" if failure else "",
        )
        if error is not None and not isinstance(error, Exception):
            raise error
        return error

    def _read_by(self, node: Node) -> Iterator[str]:
        """Give the ids of the outputs that a step reads."""
        for output in node.inputs():
            for name, artifact in self._artifact_ids.get(output.node.name, {}).items():
                if output.name in (None, name):
                    yield artifact

    def _artifact_rows(
        self, node: Node, id: str, stored: Mapping[str, StoredOutput]
    ) -> list[ArtifactRow]:
        return [
            ArtifactRow(
                id=new_id(),
                name=f"{self._graph.pipeline}.{node.name}.{name}",
                version=0,
                step_run_id=id,
                created_at=time.time_ns(),
                **attrs.asdict(output),
            )
            for name, output in stored.items()
        ]

    def _load(self, output: Output) -> Any:
        stored = self._stored[output.node.name]
        if output.name is not None:
            return self._artifacts.load(stored[output.name])
        return tuple(self._artifacts.load(part) for part in stored.values())

    def _save(self, node: Node, run_id: str, result: Any) -> dict[str, StoredOutput]:
        names = output_names(node.step.function)
        if len(names) == 1:
            results = [result]
        elif isinstance(result, tuple | list) and len(result) == len(names):
            results = list(result)
        else:
            raise OutputError(
                f"step {node.name!r} is annotated to return {len(names)} outputs and returned "
                f"{type(result).__name__}"
                + (f" of {len(result)}" if isinstance(result, tuple | list) else "")
            )
        return {
            name: self._artifacts.save(f"{run_id}/{_file_name(name, index)}", value)
            for index, (name, value) in enumerate(zip(names, results, strict=True))
        }

    def _note(self, error: BaseException, failure: Failure | None) -> None:
        """Keep the first error, which is raised at the end, and the worst failure."""
        if self._error is None:
            self._error = error
        worst = SEVERITY.index(self._failure.status) if self._failure else 0
        if failure is not None and SEVERITY.index(failure.status) > worst:
            self._failure = failure

    def _end(self) -> None:
        """Mark what was not run as skipped, end the parent run, wait within the budgets."""
        for node in self._graph.nodes.values():
            if node.name not in self._ended:
                self._store.add_step_run(
                    StepRunRow(new_id(), self._run.id, node.name, 1, node.position, "skipped")
                )
                self._progress.step_ended(node.name, "skipped", None, {}, "")
        status: Status = self._failure.status if self._failure else "finished"
        ended_at = time.time_ns()
        # Before the trackers are waited for, which may take long or be interrupted.
        self._store.update_pipeline_run(self._run.id, status=status, ended_at=ended_at)
        reports: tuple[TrackerReport, ...] = ()
        try:
            reports = self._group.close(self._failure)
        finally:
            self._keep_late_urls()
            seconds = (ended_at - self._run.started_at) / 1e9
            self._progress.run_ended(self._run.name, status, seconds)
            self._progress.trackers_ended(reports)

    def _keep_late_urls(self) -> None:
        """Store the URLs of trackers that started late."""
        for tracked in self._ended.values():
            if tracked is not None and _metadata(tracked) != self._metadata[tracked.run.id]:
                self._store.update_step_run(tracked.run.id, metadata=_metadata(tracked))


def call_with(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function with arguments by parameter name, whatever kinds of parameter it has."""
    signature = inspect.signature(function)
    bound = signature.bind_partial()
    bound.arguments.update(arguments)
    return function(*bound.args, **bound.kwargs)


def _file_name(output: str, index: int) -> str:
    """Give an output's name where it is one for a file as well, else a number."""
    return output if output.isidentifier() and len(output) < 60 else f"output_{index}"


def _select(trackers: Trackers, pipeline: str, node: Node) -> list[Tracker]:
    if is_disabled():
        return []
    try:
        return trackers.select(node.step.experiment_tracker, node.step.settings)
    except ConfigError as error:
        raise ConfigError(f"pipeline {pipeline!r}, step {node.step.name!r}: {error}") from error


def _metadata(tracked: TrackedRun) -> dict[str, str]:
    """Give what `run_metadata` shows: the first tracker's URL, and every tracker's by name."""
    urls = tracked.urls
    metadata = {f"experiment_tracker_url.{name}": url for name, url in urls.items()}
    if urls:
        metadata["experiment_tracker_url"] = next(iter(urls.values()))
    return metadata
