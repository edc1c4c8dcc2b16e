"""What does the store know of a pipeline run, a step run and an output?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

# Items of a mapped step have its position, whichever began first: `add[2]`, `add[10]`.
STEP_ORDER = "position, LENGTH(name), name, attempt"


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
class ListedRow:
    """A run of any kind in a list. Times are nanoseconds since the epoch.

    Attributes:
        kind: `pipeline`, `step`, or `run` for that of a block.
        experiment: The pipeline's name, or the experiment's without one.
        started_at: None of a step that was not run.
        paused: How long it was not open between its start and its end, where it was resumed.
    """

    id: str
    kind: str
    name: str
    experiment: str
    stack: str
    status: str
    started_at: int | None
    ended_at: int | None
    paused: int = 0


@attrs.frozen
class StepRunRow:
    """One attempt of a step as stored. Times are nanoseconds since the epoch.

    Attributes:
        position: Place in the pipeline, from 0.
        error: The exception's class and message, where the step failed.
        outputs: By output name what `StoredOutput` holds.
        metadata: Such as `experiment_tracker_url`.
        metrics: The last value of each metric that was logged portably.
        cache_key: Equal for equal code, inputs and params, where the step may be cached.
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
    cache_key: str | None = None


@attrs.frozen
class OutputRow:
    """A version of a named output as stored.

    Attributes:
        name: `<pipeline>.<step>.<output>`.
        version: From 1, counted for each name.
        uri, materializer, size, sha256: As `StoredOutput` holds them.
        step_run_id: The step run that made it.
        created_at: Nanoseconds since the epoch.
        metadata: What its step has said of it; of a row that was read, nothing.
    """

    id: str
    name: str
    version: int
    uri: str
    materializer: str
    size: int
    sha256: str
    step_run_id: str
    created_at: int
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
