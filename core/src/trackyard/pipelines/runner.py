"""How is a pipeline run: what happens around each step, and in which order?

An orchestrator decides when and where an attempt runs; this file says what an attempt is. The
driver's process alone writes the store.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract.errors import PipelineError, RequiredTrackerError, StepCrashedError
from trackyard.contract.materializers import StoredOutput
from trackyard.contract.orchestrators import Job, Outcome
from trackyard.contract.records import SEVERITY, Failure, Run, Status
from trackyard.delivery.reports import TrackerReport
from trackyard.journal.summaries import kept_summary
from trackyard.outputs.keeping import KeptOutputs
from trackyard.pipelines.attempts import Attempt, perform
from trackyard.pipelines.checks import (
    check_what_others_see,
    checked_orchestrator,
    checked_outcome,
    select_trackers,
)
from trackyard.pipelines.graph import Graph, Node, Output, fill_in
from trackyard.pipelines.recording import AttemptRow, Recording
from trackyard.pipelines.scheduling import Schedule
from trackyard.pipelines.types import output_names
from trackyard.project.configuration import Project
from trackyard.project.trackers import Trackers
from trackyard.recovery.drivers import mark_of
from trackyard.recovery.guarding import watch_over
from trackyard.runs.pipeline_views import PipelineRun, open_artifact_store
from trackyard.store import PipelineRunRow
from trackyard.system.coercing import to_param
from trackyard.system.conditions import Event
from trackyard.system.identifiers import new_id, new_name
from trackyard.system.interruption import Terminated, termination_as_exit
from trackyard.tracking.calls import redactor_of, streams_covered
from trackyard.tracking.failures import EndsRun, failure_of
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.run_life import RunLife
from trackyard.tracking.tracked_runs import TrackedRun

if TYPE_CHECKING:
    from trackyard.pipelines.resuming import Resumed

logger = logging.getLogger("trackyard")

# Seconds that the end of a run waits for an artifact store that was away.
_PATIENCE = 10.0


class PipelineRunner:
    """Runs one graph once. Everything is checked when it is made, before anything runs.

    Args:
        graph: The steps.
        params: The pipeline's arguments.
        project: Where it runs.
        name: The run's name; made from the pipeline's and the time by default.
        resumed: An earlier run, whose finished steps are taken.
        config: What files said of this run; it is kept with it.

    Raises:
        ConfigError, PluginError, PipelineError: Something does not fit.
    """

    def __init__(
        self,
        graph: Graph,
        params: Mapping[str, Any],
        project: Project,
        *,
        name: str | None = None,
        resumed: Resumed | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._graph = graph
        self._dependencies = graph.dependencies()
        trackers = Trackers(project)
        self._trackers = select_trackers(trackers, graph)
        self._orchestrator = checked_orchestrator(trackers, graph)
        self._artifacts = open_artifact_store(project, trackers.stack).checked()
        if self._orchestrator.is_elsewhere:
            check_what_others_see(trackers.stack, self._artifacts.url, self._trackers)
        redactor = redactor_of([t for chosen in self._trackers.values() for t in chosen])
        redact = redactor.redact_pair
        self._run = PipelineRunRow(
            id=new_id(),
            name=redactor.redact(name) if name else new_name(graph.pipeline),
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
        metadata = dict(config) if config else {}
        if resumed is not None:
            metadata["resumed_from"] = resumed.run.id
        self._resumed = resumed
        self._taken: set[str] = set()
        self._recording = Recording(project, self._run, metadata)
        self._mark = mark_of(project.home, self._run.id)
        self._group = RunGroup(project, redactor, parent)
        self._project = project
        self._nodes = dict(graph.nodes)  # with the parts of steps that are mapped
        self._lock = self._group.lock  # threads of several steps share the store and the trackers
        self._stopping = Event()
        self._cache_keys: dict[str, str | None] = {}
        self._stored: dict[str, dict[str, StoredOutput]] = {}
        self._error: BaseException | None = None
        self._failure: Failure | None = None
        self._failures: dict[str, Failure | None] = {}  # of steps, as their last attempt ended

    def run(self) -> PipelineRun:
        """Run the steps; then raise what the first failing step raised, if one failed."""
        watch_over(self._project)
        self._recording.begin(self._graph.nodes.values())
        self._group.prepare(tracker for chosen in self._trackers.values() for tracker in chosen)
        self._group.log_params(self._run.params)
        try:
            with termination_as_exit(self._note_signal):
                self._run_all()
        except BaseException as error:  # Ctrl-C and sys.exit() end the whole run
            self._note(error, self._failure_of(error))
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        return self.ended()

    @property
    def has_ended(self) -> bool:
        """Tell whether it was run, however it ended."""
        return self._run.ended_at is not None

    def ended(self) -> PipelineRun:
        """Give the pipeline run as it has ended."""
        recording = self._recording
        known = recording.rows_of_steps()
        return PipelineRun(self._run, recording.store, self._artifacts, self._project, known)

    def _note_signal(self, number: int) -> None:
        self._recording.mark.note_signal(number)
        self._group.note_signal(number)

    def _run_all(self) -> None:
        schedule = Schedule(self._dependencies, self._run_step, self._expand)
        try:
            if self._orchestrator.places == 1 and not self._orchestrator.is_elsewhere:
                self._recording.joins_steps = True
                with ExitStack() as stack:
                    if self._group.parent is not None:
                        stack.enter_context(streams_covered(self._group.parent))
                    schedule.run_in_order()
            else:
                schedule.run_side_by_side(self._orchestrator.places, self._stop)
        finally:
            self._orchestrator.close()

    def _stop(self) -> None:
        self._stopping.set()
        self._orchestrator.stop()

    def _expand(self, name: str) -> list[str] | None:
        """Make the parts of a step that is called for each item of an output; None for others."""
        node = self._graph.nodes[name]
        if node.mapped is None:
            return None
        self._recording.release()
        try:
            stored = self._stored_arguments(node)[node.mapped]
            items = fill_in(stored, StoredOutput, self._artifacts.load)
            if not isinstance(items, list | tuple):
                kind = type(items).__name__
                raise PipelineError(f"step {name!r}: map needs a list of items, not {kind}")
            parts = [node.part(index, item) for index, item in enumerate(items)]
        except Exception as error:
            parts = [_failing(node, error)]
        names = self._recording.parts[name] = [part.name for part in parts]
        for part in parts:
            self._nodes[part.name] = part
            self._trackers[part.name] = self._trackers[name]
        return names

    def _run_step(self, name: str) -> bool:
        """Run a step, once more after each failure as often as it wants; True if it finished."""
        node = self._nodes[name]
        if self._resumed is not None or node.step.cache:
            self._recording.release()
        if self._take_finished(node) or (node.step.cache and self._take_cached(node)):
            return True
        tries = _Tries(node.step.retries, getattr(self._orchestrator, "max_retries", 0))
        run = self._new_run(node, 1, None)
        while True:
            following = self._new_run(node, run.attempt + 1, run.id) if tries.are_left else run
            error = self._run_attempt(node, run, following, tries)
            if error is None or not tries.is_allowed(error) or self._stopping.is_set():
                break
            tries.count(error)
            self._recording.release()
            self._wait_before_retry(node.step.retry_delay * 2 ** (run.attempt - 1))
            if self._stopping.is_set():
                break
            run = attrs.evolve(following, started_at=time.time_ns())
        failure = self._failures.get(name)
        if error is not None:
            self._note(error, failure or self._failure_of(error))
        else:
            self._note_failure(failure)
        callback = node.step.on_success if error is None else node.step.on_failure
        if callback is not None:
            from trackyard.pipelines.callbacks import call_back

            self._recording.release()
            call_back(callback, self._recording.step_run(name, self._artifacts, self._project))
        return error is None

    def _take_finished(self, node: Node) -> bool:
        """Take a step's result from the run that is resumed, where all before it is from there."""
        found = self._resumed.steps.get(node.name) if self._resumed is not None else None
        if found is None or not all(self._is_taken(output.node.name) for output in node.inputs()):
            return False
        if set(found.outputs) != set(output_names(node.step.function)):
            return False  # the step gives something else by now
        outputs = {name: StoredOutput(**stored) for name, stored in found.outputs.items()}
        if not all(self._artifacts.has(stored) for stored in outputs.values()):
            return False
        with self._lock:
            self._taken.add(node.name)
            self._stored[node.name] = outputs
            self._recording.keep_cached(node, found)
        return True

    def _is_taken(self, name: str) -> bool:
        return all(part in self._taken for part in self._recording.parts.get(name, [name]))

    def _take_cached(self, node: Node) -> bool:
        """Take an earlier result of the same code, inputs and params, if there is one."""
        from trackyard.pipelines.fingerprints import cache_key

        key = self._cache_keys[node.name] = cache_key(
            node.step.function, self._stored_arguments(node)
        )
        if key is None:
            logger.warning("step %r is not cached: its arguments cannot be compared", node.name)
            return False
        with self._lock:
            found = self._recording.find_cached(key)
        if found is None:
            return False
        outputs = {name: StoredOutput(**stored) for name, stored in found.outputs.items()}
        if not all(self._artifacts.has(stored) for stored in outputs.values()):  # may take long
            return False
        with self._lock:
            self._stored[node.name] = outputs
            self._recording.keep_cached(node, found)
        self._group.log_summary(node.name, found.metrics)
        if (summary := kept_summary(self._project.home / "runs" / found.id)) is not None:
            self._group.log_params_of(node.name, summary.params)
        return True

    def _new_run(self, node: Node, attempt: int, retry_of: str | None) -> Run:
        pipeline, group = self._graph.pipeline, self._run.id
        return new_run(
            node.name,
            pipeline,
            pipeline=pipeline,
            step=node.name,
            attempt=attempt,
            group=group,
            tags={"trackyard.retry_of": retry_of} if retry_of else None,
        )

    def _wait_before_retry(self, seconds: float) -> None:
        """Wait at random up to the given seconds, at most a minute, unless the run is stopped."""
        import random

        self._stopping.wait(random.uniform(0.5, 1.0) * min(seconds, 60.0))

    def _run_attempt(self, node: Node, run: Run, following: Run, tries: _Tries) -> Exception | None:
        """Run a step once, as a tracker run of its own.

        The tracker run is started before the inputs are loaded and ended after the outputs are
        stored: whatever goes wrong between, it is marked as failed.
        """
        key = self._cache_keys.get(node.name)
        row = AttemptRow(self._recording, node, run, cache_key=key)
        error: BaseException | None = None
        try:
            life = RunLife(self._group, row)
            with life, life:
                outcome = self._outcome_of(node, run, row, life)
                self._keep_outputs(node, outcome)
                error = outcome.error
                if life.tracked is not None and tries.is_allowed(error):
                    life.tracked.set_tag("trackyard.retried_as", following.id)
                if error is not None or outcome.failure is not None:
                    raise EndsRun(outcome.failure)
        except EndsRun:
            pass  # it has told the run how the step ended
        except RequiredTrackerError as raised:
            error = raised
        self._failures[node.name] = row.failure
        ended = life.tracked.summary if life.tracked is not None else None
        if ended is not None and not tries.is_allowed(error):  # the next attempt may have others
            self._group.log_params_of(node.name, ended.params)
        if error is not None and not isinstance(error, Exception):
            raise error
        return error

    def _outcome_of(self, node: Node, run: Run, row: AttemptRow, life: RunLife) -> Outcome:
        """Start an attempt, have the orchestrator run it, and say what came of it."""
        handed_over = run.started_at
        try:
            with self._lock:
                row.begin()
                tracked = life.start(run, self._trackers[node.name])
            handed_over = time.time_ns()
            outcome = checked_outcome(self._orchestrator.run(self._job(node, tracked)))
        except BaseException as error:
            lost = 0
            if isinstance(error, StepCrashedError):
                lost, error.args = error.lost, (f"step {run.name!r}: {error}",)
            outcome = Outcome(failure=self._failure_of(error), error=error, lost=lost)
        if self._orchestrator.is_elsewhere:
            outcome = self._seen_from_here(outcome)
        if life.tracked is not None:
            life.tracked.journal.dropped += outcome.lost
            metrics = life.tracked.with_metrics_of_children(outcome.metrics)
            if metrics != outcome.metrics:
                outcome = attrs.evolve(outcome, metrics=metrics)
        row.note_outcome(outcome, handed_over)
        self._group.log_summary(node.name, outcome.metrics)
        return outcome

    def _keep_outputs(self, node: Node, outcome: Outcome) -> None:
        with self._lock:
            for stored in outcome.outputs.values():
                self._artifacts.trust(stored)
            self._stored[node.name] = dict(outcome.outputs)
        waiting = {kept.stored.uri for kept in self._artifacts.waiting()}
        if waiting and not waiting & {stored.uri for stored in outcome.outputs.values()}:
            self._artifacts.send_again(_PATIENCE)  # the store may be back

    def _job(self, node: Node, tracked: TrackedRun) -> Job:
        step = node.step
        arguments = self._stored_arguments(node)
        attempt = Attempt(
            tracked.run, step.function, arguments, output_names(step.function), step.timeout
        )

        def pack_attempt() -> bytes:
            from trackyard.pipelines.parcels import Parcel, pack

            active = frozenset(
                name for name, d in tracked.deliveries.items() if d.capabilities.shared_runs
            )
            store = self._artifacts
            store.send_again(_PATIENCE)  # other machines do not see it here
            return pack(
                Parcel(
                    attempt,
                    self._project,
                    tracked.folder,
                    tracked.urls,
                    active,
                    store.url,
                    store.is_trusted,
                    frozenset(kept.stored.uri for kept in store.waiting()),
                )
            )

        return Job(
            run=tracked.run,
            timeout=step.timeout,
            resources=step.resources,
            folder=tracked.folder,
            mark=self._mark,
            run_here=partial(perform, attempt, tracked, self._artifacts),
            pack=pack_attempt,
            unpack=self._unpack,
            keep_printed=tracked.keep_printed,
        )

    def _unpack(self, packed: bytes) -> Outcome:
        from trackyard.pipelines.parcels import unpack_outcome

        return unpack_outcome(packed, KeptOutputs(self._project.home))

    def _stored_arguments(self, node: Node) -> dict[str, Any]:
        """Give the arguments with what is stored in place of outputs, which are loaded later."""
        return {
            name: fill_in(value, Output, self._stored_output)
            for name, value in node.arguments.items()
        }

    def _stored_output(self, output: Output) -> Any:
        name = output.node.name
        if name in self._recording.parts:
            parts = (Output(self._nodes[part], output.name) for part in self._recording.parts[name])
            return [self._stored_output(part) for part in parts]
        return output.pick(self._stored[name])

    def _seen_from_here(self, outcome: Outcome) -> Outcome:
        """Say of an outcome of another process what this one knows of it."""
        failure, error = outcome.failure, outcome.error
        if isinstance(error, Terminated) and not self._stopping.is_set():
            # Who stops one process does not stop the pipeline run.
            error = StepCrashedError("the step's process was told to stop")
        if failure is not None:
            redact = self._group.redactor.redact
            message, text = redact(failure.message), redact(failure.traceback)
            failure = attrs.evolve(failure, message=message, traceback=text)
        return attrs.evolve(outcome, failure=failure, error=error)

    def _failure_of(self, error: BaseException) -> Failure | None:
        if isinstance(error, StepCrashedError):
            if self._stopping.is_set():
                return Failure("killed", "Cancelled", "the pipeline run was stopped")
            return Failure("crashed", "Crashed", str(error))
        if isinstance(error, KeyboardInterrupt):  # before a second one comes
            self._note_signal(signal.SIGINT)
        return failure_of(error, self._group.redactor)

    def _note(self, error: BaseException, failure: Failure | None) -> None:
        """Keep the first error, which is raised at the end, and the worst failure."""
        # What stopped the run counts more than what its steps say of being stopped.
        stops = self._stopping.is_set() and not isinstance(error, Exception)
        if self._error is None or stops:
            self._error = error
        self._note_failure(failure)

    def _note_failure(self, failure: Failure | None) -> None:
        worst = SEVERITY.index(self._failure.status) if self._failure else 0
        if failure is not None and SEVERITY.index(failure.status) > worst:
            self._failure = failure

    def _end(self) -> None:
        """Mark what was not run as skipped, end the parent run, wait within the budgets."""
        status: Status = self._failure.status if self._failure else "finished"
        # Before the trackers are waited for, which may take long or be interrupted.
        ended_at = self._recording.end(self._nodes.values(), status)
        self._run = attrs.evolve(self._run, status=status, ended_at=ended_at)
        reports: tuple[TrackerReport, ...] = ()
        try:
            self._artifacts.send_again(_PATIENCE)
            reports = self._group.close(self._failure)
        finally:
            self._recording.show_end(status, ended_at, reports)
            self._recording.progress.outputs_ended(self._artifacts.url, self._artifacts.waiting())


@attrs.define
class _Tries:
    """How often a step may be tried again: after anything, and after a worker's death besides."""

    retries: int
    crashes: int

    @property
    def are_left(self) -> bool:
        """Tell whether anything could have it tried again."""
        return self.retries > 0 or self.crashes > 0

    def is_allowed(self, error: BaseException | None) -> bool:
        """Tell whether a step that raised this may be tried again."""
        crashed = isinstance(error, StepCrashedError) and self.crashes > 0
        return crashed or (isinstance(error, Exception) and self.retries > 0)

    def count(self, error: BaseException) -> None:
        """Count one more try."""
        if isinstance(error, StepCrashedError) and self.crashes > 0:
            self.crashes -= 1
        else:
            self.retries -= 1


def _failing(node: Node, error: Exception) -> Node:
    """Make the only part of a step whose items cannot be had: a part that says so."""

    def fail(**_: Any) -> None:
        raise error

    step = attrs.evolve(node.step, function=fail, retries=0)
    return Node(f"{node.name}[0]", step, {}, node.position)
