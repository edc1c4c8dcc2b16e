"""What does a complete flavor look like, with no SDK in the way?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from trackyard.contract import (
    Artifact,
    Batch,
    Capabilities,
    Failure,
    Metric,
    Param,
    Record,
    Run,
    Tag,
    flavor,
    hookimpl,
    option,
)


@attrs.define
class MemoryRun:
    """One run as `MemoryTracker` keeps it."""

    status: str = "running"
    metrics: dict[tuple[object, ...], Metric] = attrs.field(factory=dict)
    params: dict[str, Any] = attrs.field(factory=dict)
    tags: dict[str, str] = attrs.field(factory=dict)
    artifacts: dict[str, Artifact] = attrs.field(factory=dict)


@flavor
class MemoryTracker:
    """Keep runs in this process's memory: the reference of what a flavor does."""

    capabilities: ClassVar[Capabilities] = Capabilities(nests=True)
    # The backend: it outlives the instances, of which each serves one run.
    runs: ClassVar[dict[str, MemoryRun]] = {}

    project: str = option("Part of the runs' URLs", default="default")

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        stored = self.runs.setdefault(run.id, MemoryRun())  # the same run when it is called again
        if run.resumed:  # it may have ended, and is running again
            stored.status = "running"
        stored.tags |= {**run.tags, **run.identity_tags}

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        return f"memory://{self.project}/{run.id}"

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        stored = self.runs[run.id]
        for metric in batch.metrics:  # one that comes again takes its own place
            stored.metrics[metric.key, metric.step, metric.timestamp] = metric
        stored.params |= {param.key: param.value for param in batch.params}
        stored.tags |= {tag.key: tag.value for tag in batch.tags}
        stored.artifacts |= {artifact.name: artifact for artifact in batch.artifacts}

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(run, "finished")

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        self._end(run, failure.status)

    def _end(self, run: Run, status: str) -> None:
        stored = self.runs[run.id]
        stored.status = stored.tags["trackyard.status"] = status

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        stored = self.runs[run.id]
        yield from stored.metrics.values()
        yield from (Param(key, value) for key, value in stored.params.items())
        yield from (Tag(key, value) for key, value in stored.tags.items())
        yield from stored.artifacts.values()
