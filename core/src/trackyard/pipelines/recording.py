"""What is written down of a pipeline run, in the store and on the terminal?

The driver's process alone does so, one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

import attrs

from trackyard.artifacts import StoredOutput
from trackyard.config.project import Project
from trackyard.delivery.reports import TrackerReport
from trackyard.identifiers import new_id
from trackyard.pipelines.attempts import Outcome
from trackyard.pipelines.graph import Node
from trackyard.pipelines.progress import Progress
from trackyard.records import Failure, Run
from trackyard.recovery.drivers import DriverMark
from trackyard.store import ArtifactRow, PipelineRunRow, StepRunRow, Store
from trackyard.tracking.tracked_runs import TrackedRun


class Recording:
    """Writes a pipeline run and its steps' attempts to the store, and shows them.

    Args:
        project: Where the store is.
        run: The pipeline run.
    """

    def __init__(self, project: Project, run: PipelineRunRow) -> None:
        self.store = Store.of(project)
        self.progress = Progress()
        self.mark = DriverMark(project.home, run.id)
        self._run = run
        # For a step that is called for each of several items, the names of its parts.
        self.parts: dict[str, list[str]] = {}
        self._artifact_ids: dict[str, dict[str, str]] = {}
        self._metadata: dict[str, dict[str, str]] = {}
        self._ended: dict[str, TrackedRun | None] = {}

    def begin(self, nodes: Iterable[Node]) -> None:
        """Write that the pipeline run runs, and what has to be told of it if this process dies."""
        self.mark.make((node.name, node.position) for node in nodes)
        self.store.add_pipeline_run(self._run)
        self.progress.run_started(self._run.name)

    def begin_attempt(self, node: Node, run: Run) -> None:
        """Write that an attempt begins; its trackers may not know it yet."""
        self.progress.step_starting(node.name, run.attempt)
        self.mark.touch()
        self.store.add_step_run(
            StepRunRow(
                run.id,
                self._run.id,
                node.name,
                run.attempt,
                node.position,
                "running",
                run.started_at,
            )
        )

    def keep_urls(self, tracked: TrackedRun) -> None:
        """Write where an attempt can be watched."""
        if tracked.deliveries:
            self.store.update_step_run(tracked.run.id, metadata=tracked.run_metadata)
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
        cache_key: str | None,
    ) -> None:
        """Write how an attempt ended, its outputs, and what it has read."""
        metadata = self._metadata[run.id] = tracked.run_metadata if tracked else {}
        status = failure.status if failure else "finished"
        ended_at = time.time_ns()
        note = str(failure) if failure else None
        values = {
            "status": status,
            "ended_at": ended_at,
            "error": note,
            "outputs": {name: attrs.asdict(output) for name, output in outcome.outputs.items()},
            "metadata": metadata,
            "metrics": outcome.metrics,
            "cache_key": cache_key,
        }
        rows = self._artifact_rows(node, run.id, outcome.outputs)
        self.mark.touch()
        self.store.end_step_run(run.id, values, rows, self._read_by(node))
        ids = dict(zip(outcome.outputs, (row.id for row in rows), strict=True))
        self._artifact_ids[node.name] = ids
        self._ended[node.name] = tracked
        seconds = (ended_at - run.started_at) / 1e9 if tracked else None
        self.progress.step_ended(node.name, status, seconds, outcome.metrics, note or "")

    def find_cached(self, key: str) -> StepRunRow | None:
        """Find an earlier result of the same code, inputs and params."""
        return self.store.find_cached(key)

    def keep_cached(self, node: Node, found: StepRunRow) -> None:
        """Write that a step was not run, since an earlier run has its result, and which."""
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
        self.store.add_step_run(row)
        made = {row.uri: row.id for row in self.store.list_outputs(found.id)}
        self._artifact_ids[node.name] = {
            name: made[stored["uri"]]
            for name, stored in found.outputs.items()
            if stored["uri"] in made
        }
        self._ended[node.name] = None
        url = found.metadata.get("experiment_tracker_url", "")
        self.progress.step_ended(node.name, "cached", None, {}, url)

    def end(self, nodes: Iterable[Node], status: str) -> int:
        """Mark what was not run as skipped, and the pipeline run as ended; give the time."""
        for node in nodes:
            if node.name not in self._ended and node.name not in self.parts:
                self.store.add_step_run(
                    StepRunRow(new_id(), self._run.id, node.name, 1, node.position, "skipped")
                )
                self.progress.step_ended(node.name, "skipped", None, {}, "")
        ended_at = time.time_ns()
        self.store.update_pipeline_run(self._run.id, status=status, ended_at=ended_at)
        self.mark.remove()
        return ended_at

    def show_end(self, status: str, ended_at: int, reports: tuple[TrackerReport, ...]) -> None:
        """Store the URLs of trackers that started late, and show how it all ended."""
        for tracked in self._ended.values():
            if tracked is not None and tracked.run_metadata != self._metadata[tracked.run.id]:
                self.store.update_step_run(tracked.run.id, metadata=tracked.run_metadata)
        self.progress.run_ended(self._run.name, status, (ended_at - self._run.started_at) / 1e9)
        self.progress.trackers_ended(reports)

    def _read_by(self, node: Node) -> Iterator[str]:
        """Give the ids of the outputs that a step reads."""
        for output in node.inputs():
            for step in self.parts.get(output.node.name, [output.node.name]):
                for name, artifact in self._artifact_ids.get(step, {}).items():
                    if output.name in (None, name):
                        yield artifact

    def _artifact_rows(
        self, node: Node, id: str, stored: Mapping[str, StoredOutput]
    ) -> list[ArtifactRow]:
        return [
            ArtifactRow(
                id=new_id(),
                name=f"{self._run.pipeline}.{node.name}.{name}",
                version=0,
                step_run_id=id,
                created_at=time.time_ns(),
                **attrs.asdict(output),
            )
            for name, output in stored.items()
        ]
