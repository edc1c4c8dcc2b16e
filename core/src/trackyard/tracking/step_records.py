"""How does a step of another runner get into the store, beside the steps of the same run?

A step must not suffer from a store that is away: what could not be written is left to recovery,
which finds the step's mark in `.trackyard/drivers/`, as it does after the process has died.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.contract.records import Failure
from trackyard.journal.pending import mark_as_to_be_indexed
from trackyard.project.configuration import Project
from trackyard.recovery.drivers import DriverMark
from trackyard.recovery.guarding import watch_over
from trackyard.redaction.redactor import Redactor
from trackyard.system.environment import is_disabled
from trackyard.system.files import is_recent
from trackyard.system.identifiers import new_id
from trackyard.tracking.pulse import pulse
from trackyard.tracking.tracked_runs import TrackedRun

if TYPE_CHECKING:
    from trackyard.store import Store
    from trackyard.store.other_runners import RunnerStep

logger = logging.getLogger("trackyard")

# Other runners' names of runs become ids in this space.
_GROUPS = uuid.UUID("6f6a1f0e-6a3c-5a0e-9a51-0d8b3c1f7a44")
# For so many seconds nobody asks a store again that could not be reached.
_REST = 60.0
# Seconds that a step waits for others who write to an sqlite store.
_PATIENCE = 2.0


def group_id(pipeline: str, run: str) -> str:
    """Give the id of another runner's run, the same in each of its processes.

    Args:
        pipeline: The pipeline's name.
        run: What the other runner calls its run.
    """
    return uuid.uuid5(_GROUPS, f"{pipeline}\0{run}").hex


class StepRecord:
    """The store's row of one step; nothing is written where the runner names no run.

    Args:
        project: Where the store is.
        redactor: Keeps secrets out of it.
        pipeline, run, step, attempt: As in `tracked_step`.

    Attributes:
        id: Of the step's run.
        group: Of the pipeline run, or None.
        name, attempt, retry_of: The step's place in its run, once `begin` has found it.
    """

    def __init__(
        self,
        project: Project,
        redactor: Redactor,
        *,
        pipeline: str,
        run: str | None,
        step: str,
        attempt: int | None,
    ) -> None:
        self.id = new_id()
        self.group = None if run is None else group_id(pipeline, run)
        self.name = step
        self.attempt = attempt or 1
        self.retry_of: str | None = None
        self._project = project
        self._given = (pipeline, redactor.redact(run or ""), step, attempt)
        self._mark = DriverMark(project, self.id)
        self._step: RunnerStep | None = None
        self._metadata: dict[str, str] | None = None
        self._is_whole = True

    def begin(self) -> None:
        """Write that the step runs.

        Raises:
            ConfigError: The project's `store` is configured wrongly.
        """
        if self.group is None or is_disabled():
            return
        from trackyard.store.other_runners import RunnerStep, begin_step

        self._step = step = RunnerStep(self.id, self.group, *self._given, started_at=time.time_ns())
        watch_over(self._project)
        self._mark.make((), attrs.asdict(step))

        def begin(store: Store) -> None:
            placed = begin_step(store, step)
            self.name, self.attempt = placed.name, placed.attempt
            self.retry_of = placed.retry_of

        try:
            self._write(begin, is_first=True)
        except Exception:
            self._mark.remove()
            raise

    def keep_urls(self, tracked: TrackedRun) -> None:
        """Write where the step can be watched, if that is news."""
        metadata = tracked.run_metadata
        if self._step is None or metadata == self._metadata:
            return
        self._metadata = metadata
        pulse().begin(self._project, self.id, lambda: tracked.last_metrics)
        self._write(lambda store: store.update_step_run(self.id, metadata=metadata))

    def note_signal(self, number: int) -> None:
        """Note that the process is told to stop: it may be killed before it has."""
        if self._step is not None:
            self._mark.note_signal(number)

    def end(self, tracked: TrackedRun | None, failure: Failure | None) -> None:
        """Write how the step ended.

        Args:
            tracked: The step's run, or None where it did not get so far.
            failure: Why it did not finish, or None.
        """
        if (step := self._step) is None:
            return
        from trackyard.store.other_runners import end_step

        pulse().end(self.id)
        self._metadata = tracked.run_metadata if tracked else {}
        values: dict[str, Any] = {
            "status": failure.status if failure else "finished",
            "ended_at": time.time_ns(),
            "error": str(failure) if failure else None,
            "metadata": self._metadata,
            "metrics": tracked.with_metrics_of_children(tracked.last_metrics) if tracked else {},
        }
        if tracked and tracked.summary and tracked.summary.is_whole:
            values |= {"metrics": {}, "summary": tracked.summary.plain(values["metrics"])}
        elif tracked and tracked.summary:
            mark_as_to_be_indexed(tracked.folder)
        self._write(lambda store: end_step(store, step, values))
        if self._is_whole:
            self._mark.remove()
        else:
            self._mark.release()

    def _write(self, write: Callable[[Store], None], *, is_first: bool = False) -> None:
        """Write to the store, unless it was away a moment ago; what fails is said and left."""
        from trackyard.store import Store

        stamp = self._project.home / "store.away"
        if stamp.exists() and is_recent(stamp, _REST):
            self._is_whole = False
            return
        try:
            store = Store.of(self._project, _PATIENCE)
            try:
                write(store)
            finally:
                store.close()
        except (TrackyardError, OSError) as error:
            if is_first and isinstance(error, ConfigError):
                raise
            self._is_whole = False
            logger.warning(
                "the store cannot be written, and gets step %r later: %s",
                self.name,
                " ".join(str(error).split())[:300],
            )
            try:
                stamp.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                stamp.touch(mode=0o600)
            except OSError as problem:
                logger.debug("%s cannot be touched: %s", stamp, problem)
