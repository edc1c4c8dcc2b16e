"""What is written down of a pipeline run, in the store and on the terminal?

The driver's process alone does so, one thread at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from trackyard.contract.orchestrators import Outcome
from trackyard.contract.records import Failure, Run
from trackyard.delivery.reports import TrackerReport
from trackyard.journal.pending import mark_as_to_be_indexed
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.pipelines.graph import Node
from trackyard.pipelines.progress import Progress
from trackyard.project.configuration import Project
from trackyard.recovery.drivers import DriverMark
from trackyard.recovery.indexing import for_others
from trackyard.runs.pipeline_views import GRAPH, StepRun
from trackyard.store import OutputRow, PipelineRunRow, StepRunRow, Store
from trackyard.store.databases import StoreError
from trackyard.store.opening import database_of
from trackyard.store.outbox import Outbox
from trackyard.system.identifiers import new_id
from trackyard.tracking.pulse import pulse
from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")

# Seconds that a step, or the end of a pipeline run, waits for a store that is away.
_PATIENCE = 2.0


class Recording:
    """Writes a pipeline run and its steps' attempts to the store, and shows them.

    Args:
        project: Where the store is.
        run: The pipeline run.
        metadata: What else is kept of it, as JSON.
    """

    def __init__(
        self, project: Project, run: PipelineRunRow, metadata: Mapping[str, Any] | None = None
    ) -> None:
        self.store = Store(database_of(project, _PATIENCE))
        self.progress = Progress()
        self.mark = DriverMark(project, run.id)
        self._outbox = Outbox(self.store, self.mark.owe)
        self._run = run
        self._run_metadata = metadata
        self._project = project
        # For a step that is called for each of several items, the names of its parts.
        self.parts: dict[str, list[str]] = {}
        self._output_ids: dict[str, dict[str, str]] = {}
        self._metadata: dict[str, dict[str, str]] = {}
        self._ended: dict[str, TrackedRun | None] = {}
        self._rows: dict[str, list[StepRunRow]] = {}
        self._written: dict[str, tuple[Any, ...]] = {}
        # Steps follow one another at once: how one ended is written with how the next one begins.
        self.joins_steps = False

    def begin(self, nodes: Iterable[Node]) -> None:
        """Write that the pipeline run runs, and what has to be told of it if this process dies.

        Raises:
            NewerFormatError: A newer Trackyard wrote the store.
        """
        nodes = list(nodes)
        self.mark.make((node.name, node.position) for node in nodes)
        waits = {
            node.name: list(dict.fromkeys(o.node.name for o in node.inputs())) for node in nodes
        }
        try:
            self._outbox.hold("add_pipeline_run", self._run)
            values = {**(self._run_metadata or {}), GRAPH: waits}
            self._outbox.write("update_pipeline_run", self._run.id, metadata=values)
        except BaseException:
            self.mark.remove()
            raise
        pulse().begin(self._project, self._run.id)
        self.progress.run_started(self._run.name, self._project.root)

    def begin_attempt(self, node: Node, run: Run) -> None:
        """Write that an attempt begins; its trackers may not know it yet.

        Args:
            node: The step.
            run: The attempt.
        """
        self.progress.step_starting(node.name, run.attempt)
        self.mark.touch()
        place = (node.name, run.attempt, node.position)
        row = StepRunRow(run.id, self._run.id, *place, "running", run.started_at)
        self._rows.setdefault(node.name, []).append(row)
        self._outbox.write("add_step_run", row)
        pulse().begin(self._project, run.id)

    def keep_urls(self, tracked: TrackedRun) -> None:
        """Write where an attempt can be watched."""
        pulse().begin(self._project, tracked.run.id, lambda: tracked.last_metrics)
        if tracked.deliveries:
            self._outbox.write(
                *("update_step_run", tracked.run.id),
                metadata=tracked.run_metadata,
                **for_others(self._project, tracked.folder),
            )
        run = tracked.run
        self.progress.step_started(run.name, run.attempt, tracked.urls, tracked.last_metrics)

    def end_attempt(
        self,
        node: Node,
        run: Run,
        tracked: TrackedRun | None,
        outcome: Outcome,
        failure: Failure | None,
        *,
        times: tuple[int, int],
        cache_key: str | None,
    ) -> None:
        """Write how an attempt ended, its outputs, and what it has read.

        Args:
            node: The step.
            run: The attempt.
            tracked: Its run with the trackers, or None where it was not started.
            outcome: What came of it.
            failure: Why it did not finish, or None.
            times: When it began and ended, in nanoseconds since the epoch.
            cache_key: What its result can be found by again, or None.
        """
        pulse().end(run.id)
        metadata = self._metadata[run.id] = tracked.run_metadata if tracked else {}
        status = failure.status if failure else "finished"
        note = str(failure) if failure else None
        values: dict[str, Any] = {
            "status": status,
            "started_at": times[0],
            "ended_at": times[1],
            "error": note,
            "outputs": {name: attrs.asdict(output) for name, output in outcome.outputs.items()},
            "metadata": metadata,
            "metrics": outcome.metrics,
            "cache_key": cache_key,
        }
        rows = self._output_rows(node, run.id, outcome)
        attempts = self._rows[node.name]
        attempts[-1] = attrs.evolve(attempts[-1], **values)
        whole = attrs.asdict(attempts[-1], recurse=False)
        if tracked and tracked.summary:
            if tracked.summary.is_whole:
                whole |= {"metrics": {}, "summary": tracked.summary.plain(outcome.metrics)}
            else:
                mark_as_to_be_indexed(tracked.folder)
            whole |= for_others(self._project, tracked.folder)
        self._written[run.id] = (run.id, whole, rows, list(self._read_by(node)))
        write = self._outbox.hold if self.joins_steps else self._outbox.write
        write("end_step_run", *self._written[run.id])
        ids = dict(zip(outcome.outputs, (row.id for row in rows), strict=True))
        self._output_ids[node.name] = ids
        self._ended[node.name] = tracked
        seconds = (times[1] - times[0]) / 1e9 if tracked else None
        self.progress.step_ended(node.name, status, seconds, outcome.metrics, note or "")

    def release(self) -> None:
        """Write how the latest step ended: what comes next may take a while, or read it."""
        self._outbox.release()

    def step_run(self, name: str, artifact_store: ArtifactStore, project: Project) -> StepRun:
        """Give a step as it ended, with its attempts, whether or not the store has them.

        Args:
            name: The step's name.
            artifact_store: Where its outputs lie.
            project: Its project.
        """
        attempts: tuple[StepRun, ...] = ()
        for row in self._rows[name]:
            attempts = StepRun(row, artifact_store, attempts, project).attempts
        return attempts[-1]

    def rows_of_steps(self) -> list[StepRunRow]:
        """Give the attempts of all steps as they ended, whether or not the store has them."""
        rows = [row for attempts in self._rows.values() for row in attempts]
        return sorted(rows, key=lambda row: (row.position, row.attempt))

    def find_cached(self, key: str) -> StepRunRow | None:
        """Find an earlier result of the same code, inputs and params; none while it is away."""
        try:
            return self.store.find_cached(key)
        except StoreError as error:
            logger.debug("the store cannot be read: %s", error)
            return None

    def keep_cached(self, node: Node, found: StepRunRow) -> None:
        """Write that a step was not run, since an earlier run has its result, and which.

        Args:
            node: The step.
            found: The earlier step run that has the result.
        """
        now = time.time_ns()
        metadata = {**found.metadata, "cached_from": found.id}
        row = StepRunRow(
            new_id(),
            self._run.id,
            node.name,
            1,
            node.position,
            "cached",
            now,
            now,
            outputs=found.outputs,
            metadata=metadata,
            metrics=found.metrics,
        )
        self._rows[node.name] = [row]
        self._outbox.write("add_step_run", row)
        made = {row.uri: row.id for row in self._outputs_of(found)}
        self._output_ids[node.name] = {
            name: made[stored["uri"]]
            for name, stored in found.outputs.items()
            if stored["uri"] in made
        }
        self._ended[node.name] = None
        url = found.metadata.get("experiment_tracker_url", "")
        self.progress.step_ended(node.name, "cached", None, {}, url)

    def _outputs_of(self, found: StepRunRow) -> list[OutputRow]:
        try:
            return self.store.list_outputs_of(found.id)
        except StoreError as error:
            logger.debug("the store cannot be read: %s", error)
            return []

    def end(self, nodes: Iterable[Node], status: str) -> int:
        """Mark what was not run as skipped, and the pipeline run as ended; give the time.

        Args:
            nodes: All steps.
            status: How the pipeline run ended.
        """
        for node in nodes:
            if node.name not in self._ended and node.name not in self.parts:
                row = StepRunRow(new_id(), self._run.id, node.name, 1, node.position, "skipped")
                self._rows[node.name] = [row]
                self._outbox.hold("add_step_run", row)
                self.progress.step_ended(node.name, "skipped", None, {}, "")
        pulse().end(self._run.id)
        ended_at = time.time_ns()
        ended = attrs.evolve(self._run, status=status, ended_at=ended_at)
        self._outbox.write("add_pipeline_run", ended)
        own = self._project.home / "runs" / self._run.id
        if own.is_dir() and (left := for_others(self._project, own)):
            self._outbox.write("update_pipeline_run", self._run.id, **left)
        self._write_what_was_deleted()
        if self._outbox.settle(_PATIENCE):
            self.mark.remove()
        else:
            logger.warning("the store is still away; once it is back, type: trackyard sync")
            self.mark.release()
        return ended_at

    def _write_what_was_deleted(self) -> None:
        """Write the steps again that somebody deleted meanwhile: the run is there, so are they."""
        if not self._outbox.is_empty:
            return
        try:
            known = self.store.ids_of_steps(self._run.id)
        except StoreError as error:
            logger.debug("the store cannot be read: %s", error)
            return
        for run_id, call in self._written.items():
            if run_id not in known:
                self._outbox.write("end_step_run", *call)

    def show_end(self, status: str, ended_at: int, reports: tuple[TrackerReport, ...]) -> None:
        """Store the URLs of trackers that started late, and show how it all ended.

        Args:
            status: How the pipeline run ended.
            ended_at: When, in nanoseconds since the epoch.
            reports: How each run stands on each tracker.
        """
        for tracked in self._ended.values():
            if tracked is not None and tracked.run_metadata != self._metadata[tracked.run.id]:
                try:
                    self.store.update_step_run(
                        tracked.run.id,
                        metadata=tracked.run_metadata,
                        **for_others(self._project, tracked.folder),
                    )
                except StoreError as error:
                    logger.debug("the store has no late URL of %s: %s", tracked.run.id, error)
        self.progress.run_ended(self._run.name, status, (ended_at - self._run.started_at) / 1e9)
        self.progress.trackers_ended(reports)

    def _read_by(self, node: Node) -> Iterator[str]:
        """Give the ids of the outputs that a step reads."""
        for output in node.inputs():
            for step in self.parts.get(output.node.name, [output.node.name]):
                for name, made in self._output_ids.get(step, {}).items():
                    if output.name in (None, name):
                        yield made

    def _output_rows(self, node: Node, id: str, outcome: Outcome) -> list[OutputRow]:
        return [
            OutputRow(
                id=new_id(),
                name=f"{self._run.pipeline}.{node.name}.{name}",
                version=0,
                step_run_id=id,
                created_at=time.time_ns(),
                metadata=outcome.output_metadata.get(name, {}),
                **attrs.asdict(output),
            )
            for name, output in outcome.outputs.items()
        ]


class AttemptRow:
    """What is written down of one attempt of a step: its `RunRow`.

    Args:
        recording: Writes it.
        node: The step.
        run: The attempt.
        cache_key: What its result can be found by again, or None.
    """

    def __init__(
        self, recording: Recording, node: Node, run: Run, *, cache_key: str | None
    ) -> None:
        self.outcome = Outcome()
        self.failure: Failure | None = None
        self._recording = recording
        self._node = node
        self._run = run
        self._cache_key = cache_key
        self._times: tuple[int, int] | None = None

    def begin(self) -> None:
        """Write that it begins; its trackers may not know it yet."""
        self._recording.begin_attempt(self._node, self._run)

    def note_outcome(self, outcome: Outcome, handed_over: int) -> None:
        """Note what came of it, and when.

        Args:
            outcome: What came of it.
            handed_over: When it was given to the orchestrator, its trackers having started; in
                nanoseconds since the epoch.
        """
        self.outcome = outcome
        ended_at = time.time_ns()
        took = outcome.seconds
        self._times = (handed_over if took is None else ended_at - int(took * 1e9), ended_at)

    def keep_urls(self, tracked: TrackedRun) -> None:
        """Write where it can be watched."""
        self._recording.keep_urls(tracked)

    def note_signal(self, number: int) -> None:
        """Note that the driver is told to stop."""
        self._recording.mark.note_signal(number)

    def end(self, tracked: TrackedRun | None, failure: Failure | None) -> None:
        """Write how it ended, what came of it, and what it has read.

        Args:
            tracked: Its run with the trackers, or None where it was not started.
            failure: Why it did not finish, or None.
        """
        self.failure = failure
        times = self._times or (self._run.started_at, time.time_ns())
        self._recording.end_attempt(
            self._node,
            self._run,
            tracked,
            self.outcome,
            failure,
            times=times,
            cache_key=self._cache_key,
        )
