"""Which values cross the contract between core and a tracker?

All are frozen: a plugin cannot change what its neighbour gets. Times are integers, nanoseconds
since the epoch (UTC), as in OpenTelemetry: a float would lose what makes a re-delivery equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs

from trackyard.contract.context import Context

Status = Literal["running", "finished", "failed", "killed", "crashed"]
FinalStatus = Literal["finished", "failed", "killed"]  # what a run's own code may say of its end
StepStatus = Literal["running", "finished", "failed", "killed", "crashed", "skipped", "cached"]
ArtifactKind = Literal[
    "file",
    "image",
    "figure",
    "table",
    "text",
    "html",
    "histogram",
    "audio",
    "video",
    "model",
    "dataset",
]
ParamValue = str | int | float | bool | None

# Tags by which a note and another name, which somebody gives a run later, reach its trackers.
NOTE, NAME = "trackyard.note", "trackyard.name"

# From best to worst: a pipeline run ends with the worst of its steps' statuses.
SEVERITY: tuple[Status, ...] = ("running", "finished", "killed", "failed", "crashed")


def encodable(text: str) -> str:
    """Write what no backend can hold as backslash escapes: lone surrogates, and NUL.

    UTF-8 has no place for lone surrogates, and databases have none for NUL.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _encodable_or_none(text: str | None) -> str | None:
    return None if text is None else encodable(text)


def _immutable(mapping: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({encodable(key): encodable(value) for key, value in mapping.items()})


@attrs.frozen
class Run:
    """One attempt of one step (or one `start_run` block, or a pipeline run) as a tracker sees it.

    Attributes:
        id: 32 hexadecimal digits (UUID version 7), chosen by core. `tracker_start_run` with the
            same id continues the same remote run.
        name: What people call the run.
        experiment: The experiment that it belongs to.
        pipeline: Name of the pipeline, or None in a `start_run` block.
        step: Name of the step, or None for a pipeline run's own tracker run.
        attempt: 1 for the first try of a step, 2 for its first retry.
        group: Id shared by all runs of one pipeline run, and by the child runs of one run.
        parent_id: Id of the run that this one stands below, where this tracker has that: of a step
            the pipeline run's own tracker run, of a child run any run.
        tags: Tags given at the start.
        started_at: When the run started, in nanoseconds since the epoch.
        ended_at: When it ended, likewise; set for the end and fail hooks only.
        deadline: Seconds left for this hook.
        folder: Private to this tracker and run, kept across processes: SDK directories, temporary
            files and remote ids go there, so that recovery finds them.
        parent_folder: The same of the parent run on this tracker.
        attached: True when another process continues the run (sync, recovery, replay): leave the
            SDK's global state alone then.
        resumed: How often the run was resumed: where it is not 0, its start opens a run again that
            may have ended in the backend, as whatever, and that is running now.
        context: Where the run comes from, as far as it was known at its start; what becomes known
            later is in `Batch.context`. None where the tracker is to get none.
    """

    id: str
    name: str = attrs.field(converter=encodable)
    experiment: str = attrs.field(converter=encodable)
    started_at: int
    folder: Path
    pipeline: str | None = attrs.field(default=None, converter=_encodable_or_none)
    step: str | None = attrs.field(default=None, converter=_encodable_or_none)
    attempt: int = 1
    group: str | None = None
    parent_id: str | None = None
    parent_folder: Path | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict, converter=_immutable)
    ended_at: int | None = None
    deadline: float = 10.0
    attached: bool = False
    resumed: int = 0
    context: Context | None = None

    @property
    def is_child(self) -> bool:
        """A run that was started inside another one, which is no pipeline run."""
        return self.parent_id is not None and self.step is None and self.pipeline is None

    @property
    def identity_tags(self) -> dict[str, str]:
        """What every flavor mirrors as tags or config at the start, so that a run can be found.

        Of a run that was resumed it says that it is running: what says otherwise there is of its
        end before.
        """
        tags = {
            "trackyard.run_id": self.id,
            "trackyard.pipeline": self.pipeline,
            "trackyard.step": self.step,
            "trackyard.attempt": str(self.attempt),
            "trackyard.group": self.group,
            "trackyard.parent": self.parent_id if self.is_child else None,
            "trackyard.status": "running" if self.resumed else None,
        }
        return {key: value for key, value in tags.items() if value is not None}


@attrs.frozen
class Failure:
    """Why a run did not finish.

    Attributes:
        status: `failed` (it raised), `killed` (signalled or cancelled), `crashed` (found dead).
        kind: Name of the exception's class, or of the signal.
        message: The exception's message, redacted.
        traceback: The traceback as text, redacted, without local values.
        signal: Number of the signal that ended the run, if one did.
    """

    status: Literal["failed", "killed", "crashed"]
    kind: str = attrs.field(converter=encodable)
    message: str = attrs.field(default="", converter=encodable)
    traceback: str = attrs.field(default="", converter=encodable)
    signal: int | None = None

    def __str__(self) -> str:
        """Give kind and message as one text."""
        return f"{self.kind}: {self.message}" if self.message else self.kind


@attrs.frozen
class Metric:
    """One number at one moment. `step` is the training step, `timestamp` nanoseconds."""

    key: str
    value: float
    step: int | float | None
    timestamp: int


@attrs.frozen
class Param:
    """One input of the run, such as a learning rate."""

    key: str
    value: ParamValue


@attrs.frozen
class Tag:
    """One label of the run; the last value of a key counts."""

    key: str
    value: str


@attrs.frozen
class Artifact:
    """One file of the run.

    Attributes:
        name: Where it belongs in the run, such as `plots/loss.png`.
        path: The local copy, made when it was logged; its file name is the last part of `name`.
        kind: What it shows: file, image, figure, table, text, html, histogram, audio, video, model
            or dataset; `trackyard.contract` has `Histogram`, `Model` and `Dataset`, which read
            the files of such.
        media_type: MIME type, or None where unknown.
        step: Training step, or None.
        timestamp: When it was logged, in nanoseconds since the epoch.
        is_final: Nobody changes the content any more, the user says: a tracker that keeps its
            files on the same disk may link it, as `put_file` does.
    """

    name: str
    path: Path
    kind: ArtifactKind
    media_type: str | None = None
    step: int | float | None = None
    timestamp: int = 0
    is_final: bool = False


Record = Metric | Param | Tag | Artifact | Context


@attrs.frozen
class Batch:
    """Records of one run, in the order of logging, already fitted to the flavor's capabilities.

    Attributes:
        metrics, params, tags, artifacts: The records by kind.
        context: Where the run comes from, where that has become known, or more of it: all that is
            known by now.
        first_sequence, last_sequence: The numbers of the first and the last record, counted from
            1 in the order in which the run's records are sent. A record that is sent again has
            the same number.
    """

    metrics: tuple[Metric, ...] = ()
    params: tuple[Param, ...] = ()
    tags: tuple[Tag, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    first_sequence: int = 0
    last_sequence: int = 0
    context: Context | None = None

    @classmethod
    def of(cls, records: tuple[Record, ...], first_sequence: int, last_sequence: int) -> Batch:
        """Sort records by kind; within a kind they keep their order.

        Args:
            records: Records of any kinds.
            first_sequence: The number of the first, counted from 1 over the whole run.
            last_sequence: The number of the last.
        """
        metrics = tuple([record for record in records if isinstance(record, Metric)])
        # Often there is nothing else.
        others = records if len(metrics) < len(records) else ()
        return cls(
            metrics=metrics,
            params=tuple(record for record in others if isinstance(record, Param)),
            tags=tuple(record for record in others if isinstance(record, Tag)),
            artifacts=tuple(record for record in others if isinstance(record, Artifact)),
            first_sequence=first_sequence,
            last_sequence=last_sequence,
            context=next((r for r in reversed(others) if isinstance(r, Context)), None),
        )

    def __len__(self) -> int:
        records = (self.metrics, self.params, self.tags, self.artifacts)
        return sum(map(len, records)) + (self.context is not None)

    def rows(self) -> tuple[tuple[int | float | None, int, dict[str, float]], ...]:
        """Group metrics into rows `(step, timestamp, {key: value})` for SDKs that log rows.

        Metrics of one call share step and timestamp, so a row is what one call logged.
        """
        rows: dict[tuple[int | float | None, int], dict[str, float]] = {}
        for metric in self.metrics:
            rows.setdefault((metric.step, metric.timestamp), {})[metric.key] = metric.value
        return tuple((step, timestamp, values) for (step, timestamp), values in rows.items())


@attrs.frozen
class Capabilities:
    """What a backend can hold; core maps records down to it and reports what it changed.

    Attributes:
        kinds: Kinds of artifact that it shows as such; others arrive as plain files. Histograms,
            audio, video, models and datasets have to be named.
        key_pattern: Regular expression that a whole metric, param or tag key must match;
            characters that it forbids are escaped, reversibly.
        artifact_pattern: Regular expression that a whole name of an artifact must match to arrive
            as it is, each character by itself: where names go through a URL, `#` and `?` end them,
            and a tab or `%2F` becomes something else. What it forbids is escaped like in keys.
        key_length, param_length, tag_length: Most characters of a key and of the values.
        step_rule: `any`, `increasing`, `integer` (64 bits, signed) or `float` (64 bits).
        points_per_step: `one` where a key has one point at a step, and a second one would take its
            place or be thrown away: it is sent at the next step that is free.
        least_step: The least step that it takes, such as 0; lower ones are raised to it.
        needs_step: A point without a step is not taken: those of a key are numbered.
        number_bits: Bits of the floats that it keeps of metrics' values. Checks and
            `runs verify` compare exactly, and in 32 bits where they are declared.
        time_resolution: Nanoseconds to which it keeps the time of a point; None where it gives
            points the time of their arrival, which is counted as a change of each.
        not_a_number: `keep`, or `drop` where the backend cannot hold NaN and infinities.
        largest_batch: Most records that one `tracker_log` call may get.
        largest_request: Most bytes that one `tracker_log` call may get, with its files: of a record
            its key and text as JSON, and 100 for the rest of it. A text that is longer alone is
            shortened, and kept whole as an artifact; a file that is longer comes alone. None where
            nothing is refused for its size.
        nests: A pipeline run gets a tracker run of its own, the parent of its steps' runs.
        child_runs: How a child run stands below the run that it was started in: `nested` where the
            backend has runs below runs, `grouped` where both have a group's name in common, else
            `tagged`: `trackyard.parent` says it.
        concurrent_runs: Several runs may be open in one process.
        shared_runs: Several processes may write one run.
        acknowledges: `batch` where what `tracker_log` returned from is durable; `end` where only
            the end hook makes it so.
        idempotence: `natural` where sending a batch twice changes nothing; `cursor` where the
            flavor writes `trackyard.cursor` with each batch and returns it from its start;
            `rebuild` where the run has to be sent again from its first record.
        forwards_native: Native calls are kept in files in `run.folder`, and `tracker_sync_run`,
            which core calls every few seconds while the run lives, sends what is new of them.
        shows_failure_as: `status` where the backend has a failed state, else `tag`.
        needs_folder: A run is continued only where the files are that its start has left in
            `run.folder`: from another machine it takes neither tags nor an end.
        is_public: Anybody can open its page: it gets neither context nor console unless its
            configuration asks for them.
    """

    kinds: frozenset[str] = frozenset({"file", "image", "figure", "table", "text", "html"})
    key_pattern: str = r"(?s).+"
    artifact_pattern: str = r"(?s).+"
    key_length: int | None = None
    param_length: int | None = None
    tag_length: int | None = None
    step_rule: Literal["any", "increasing", "integer", "float"] = "any"
    points_per_step: Literal["many", "one"] = "many"
    least_step: int | None = None
    needs_step: bool = False
    number_bits: Literal[32, 64] = 64
    time_resolution: int | None = 1_000_000
    not_a_number: Literal["keep", "drop"] = "keep"
    largest_batch: int = 1000
    largest_request: int | None = None
    nests: bool = False
    child_runs: Literal["nested", "grouped", "tagged"] = "tagged"
    concurrent_runs: bool = True
    shared_runs: bool = False
    acknowledges: Literal["batch", "end"] = "batch"
    idempotence: Literal["natural", "cursor", "rebuild"] = "natural"
    forwards_native: bool = False
    shows_failure_as: Literal["status", "tag"] = "status"
    needs_folder: bool = False
    is_public: bool = False
