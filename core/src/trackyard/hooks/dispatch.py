"""How are the hooks of one tracker called without its mistakes reaching anyone else?

Each tracker of each run has an instance of its own, and `managers` calls that one and the
cross-cutting plugins. Nothing else calls a tracker's hooks; `guards` catches what they raise.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from trackyard.contract.answers import classify_error
from trackyard.contract.errors import (
    RejectedRecords,
    RetryLater,
    RunDeleted,
    TooLarge,
    TrackyardError,
)
from trackyard.contract.records import Batch, Failure, Record, Run
from trackyard.hooks.guards import Tried, reason_of, tried
from trackyard.hooks.managers import NamedPlugins, TrackerManager
from trackyard.hooks.rules import implemented_hooks
from trackyard.redaction.redactor import Redactor, without_credentials
from trackyard.system.coercing import to_text
from trackyard.system.inside_hooks import inside_hook
from trackyard.system.interruption import time_limit
from trackyard.system.waiting import PatientThread, result_within

if TYPE_CHECKING:
    from pathlib import Path

    from trackyard.contract.capturing import Capture
    from trackyard.contract.importing import ImportNote, MetricPoints, RemoteRun, RunQuery
    from trackyard.project.trackers import Tracker

logger = logging.getLogger("trackyard")

_T = TypeVar("_T")

# A hook that takes this many times what it is told that it may take is taken to hang.
_TOLERANCE = 2.0
# Seconds that a hook may take which a command calls, outside a run's life.
_COMMAND_DEADLINE, _READ_DEADLINE = 60.0, 600.0
# Seconds that a start without the SDK may take: others wait behind it.
_EARLY_DEADLINE = 5.0

# No browser opens a longer one, and to search it for secrets would take long.
_LONGEST_URL = 8000

OutcomeKind = Literal["done", "later", "large", "deleted", "rejected", "broken"]


@attrs.frozen
class Outcome:
    """What came of one hook call.

    Attributes:
        kind: `done`; `later` where the backend could not be reached; `large` where less at a time
            may pass; `deleted` where the run is gone there; `rejected` where it named records that
            it will never take; `broken` for any other error.
        value: What the hook returned.
        reason: The error as one line.
        after: Seconds to wait at least before the next try, where the hook said so.
        records: The rejected records.
    """

    kind: OutcomeKind = "done"
    value: Any = None
    reason: str = ""
    after: float | None = None
    records: tuple[Record, ...] = ()


class TrackerHooks:
    """The hooks of one tracker for one run. Calls come one at a time, on the tracker's worker.

    Args:
        tracker: The flavor's instance.
        name: The tracker's name, for messages.
        plugins: Cross-cutting plugins by name.
        redactor: Keeps the tracker's own secrets out of what its errors say.
        hook_timeout: Seconds that a hook may take, where its run does not give it more.
        is_alone: This process serves nothing else, and a hook that hangs ends it.

    Attributes:
        running: The hook that runs now, or an empty text.
        overdue_at: Monotonic time from which on that hook is taken to hang, or None.
    """

    def __init__(
        self,
        tracker: object,
        name: str,
        plugins: NamedPlugins = (),
        *,
        redactor: Redactor | None = None,
        hook_timeout: float = 30.0,
        is_alone: bool = False,
    ) -> None:
        self.name = name
        self.tracker = tracker
        self.configured: Tracker | None = None
        self.running = ""
        self.overdue_at: float | None = None
        self._redactor = redactor or Redactor()
        self.hook_timeout = hook_timeout
        self._is_alone = is_alone
        self._manager = TrackerManager(tracker, plugins)

    @classmethod
    def of(
        cls, tracker: Tracker, plugins: NamedPlugins = (), *, is_alone: bool = False
    ) -> TrackerHooks:
        """Give the hooks of a new instance of a configured tracker.

        Args:
            tracker: The tracker.
            plugins: The plugins that stand across all trackers.
            is_alone: This process serves nothing else, and a hook that hangs ends it.

        Raises:
            ConfigError: A field is unknown, missing or of the wrong type.
        """
        hooks = cls(
            tracker.new_instance(),
            tracker.name,
            plugins,
            redactor=tracker.redactor,
            hook_timeout=tracker.options.hook_timeout,
            is_alone=is_alone,
        )
        hooks.configured = tracker
        return hooks

    def start_run(self, run: Run) -> Outcome:
        """Start or continue the run; the value is the backend's cursor or None."""
        outcome = self._call("tracker_start_run", run=run)
        if outcome.value is not None and type(outcome.value) is not int:
            return attrs.evolve(outcome, value=None)
        return outcome

    @property
    def starts_early(self) -> bool:
        """Tell whether the tracker may start a run without its SDK."""
        return "tracker_start_early" in implemented_hooks(self.tracker)

    def start_early(self, run: Run) -> bool:
        """Start a new run without the SDK, beside what the worker does; True if it has started."""
        hook, limit = "tracker_start_early", min(_EARLY_DEADLINE, self.hook_timeout)

        def call() -> Outcome:
            with inside_hook():
                return self._call_untimed(hook, run=attrs.evolve(run, deadline=limit))

        outcome = self._bounded(hook, limit, call, _early_thread(os.getpid()).result_within)
        return outcome.kind == "done" and outcome.value is True

    def url(self, run: Run) -> str | None:
        """Give the run's address, without the credentials that it may carry."""
        value = self._call("tracker_url", run=run).value
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_URL:
            return None
        return self._redactor.redact(without_credentials(value))

    def log(self, run: Run, batch: Batch) -> Outcome:
        """Send a batch.

        Args:
            run: The run.
            batch: What was logged.
        """
        return self._call("tracker_log", run=run, batch=batch)

    def end_run(self, run: Run) -> Outcome:
        """Mark the run as finished."""
        return self._call("tracker_end_run", run=run)

    def fail_run(self, run: Run, failure: Failure) -> Outcome:
        """Mark the run as failed, killed or crashed.

        Args:
            run: The run.
            failure: Why it did not finish.
        """
        return self._call("tracker_fail_run", run=run, failure=failure)

    def sync_run(self, run: Run) -> Outcome:
        """Send what the SDK keeps in files, while the run lives."""
        return self._call("tracker_sync_run", run=run)

    def upload_run(self, run: Run) -> Outcome:
        """Upload what the SDK kept offline, for a command."""
        return self._bounded(
            "tracker_sync_run", run.deadline, lambda: self._call("tracker_sync_run", run=run)
        )

    def read_run(self, run: Run, gather: Callable[[Iterable[Record]], Any] = list) -> Outcome:
        """Read the run back from the backend, for a command; the value is what is gathered.

        Args:
            run: The run.
            gather: Reads the records, one by one.
        """

        def read_all() -> Outcome:
            outcome = self._call("tracker_read_run", run=run, remote_id=None)
            if outcome.kind != "done":
                return outcome
            # A generator raises when it is read.
            from trackyard.contract.importing import one_by_one

            read: Tried[Any] = tried(gather, one_by_one(outcome.value or ()))
            if read.error is not None:
                return Outcome("broken", reason=self._reason("tracker_read_run", read.error))
            return Outcome(value=read.value)

        return self._bounded("tracker_read_run", _READ_DEADLINE, read_all)

    def list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs of a place, for a command.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: The flavor cannot, or failed.
        """
        yield from self._streamed("tracker_list_runs", query=query)

    def read_remote_run(
        self, run: Run, remote_id: str
    ) -> Iterator[Record | RemoteRun | ImportNote | MetricPoints]:
        """Read one of them, piece by piece, for a command.

        Args:
            run: With the folder for what is downloaded.
            remote_id: Its id there.

        Raises:
            TrackyardError: The flavor failed; what it gave before is right.
        """
        yield from self._streamed("tracker_read_run", run=run, remote_id=remote_id)

    def _streamed(self, hook: str, **arguments: Any) -> Iterator[Any]:
        """Give what a hook gives, piece by piece, in this thread: a command waits for it."""
        called: Tried[Any] = tried(self._manager.call, hook, **arguments)
        from trackyard.contract.importing import some_of

        pieces = iter(called.value or ())
        while True:
            # A generator raises when it is read; a call for each piece would take as long again.
            read = called if called.error else tried(some_of, pieces)
            if isinstance(read.error, TrackyardError):
                raise read.error  # it was said to somebody who reads it
            if read.error is not None:
                raise TrackyardError(self._reason(hook, read.error)) from read.error
            if not read.value:
                return
            yield from read.value

    @property
    def has_native_calls(self) -> bool:
        """Tell whether calls of the tracker's own SDK can land in the run."""
        return "tracker_activate_run" in implemented_hooks(self.tracker)

    @property
    def can_delete(self) -> bool:
        """Tell whether the tracker can delete a run from its backend."""
        return "tracker_delete_run" in implemented_hooks(self.tracker)

    def delete_run(self, run: Run) -> Outcome:
        """Delete the run from the backend, for a command."""
        hook = "tracker_delete_run"
        return self._bounded(hook, _COMMAND_DEADLINE, lambda: self._call(hook, run=run))

    def check(self) -> list[str]:
        """Name the tracker's problems, for a command; an error is one of them."""
        hook = "tracker_check"
        outcome = self._bounded(hook, _COMMAND_DEADLINE, lambda: self._call(hook))
        if outcome.kind != "done":
            return [outcome.reason]
        answers = (a if isinstance(a, list | tuple) else [a] for a in outcome.value)
        return [self._redactor.redact(to_text(problem)) for answer in answers for problem in answer]

    def ui_command(self, host: str, port: int | None) -> Outcome:
        """Give the command that serves the tracker's own page; the value is argv or None.

        Args:
            host: Where it is to listen.
            port: On which port; None leaves it to the command.
        """
        hook = "tracker_ui_command"
        call = partial(self._call, hook, host=host, port=port)
        return self._bounded(hook, _COMMAND_DEADLINE, call)

    def remote_id(self, run: Run) -> str:
        """Give the backend's own id of the run; that of core where the flavor does not say it."""
        return _id_or(run.id, self._call("tracker_remote_id", run=run).value)

    @property
    def captures(self) -> bool:
        """Tell whether what the SDK's own calls log can become records of the run."""
        return self.reads_native or self._manager.takes("tracker_activate_run", "capture")

    @property
    def reads_native(self) -> bool:
        """Tell whether what the SDK's own calls log is read from the SDK's files."""
        return "tracker_read_native" in implemented_hooks(self.tracker)

    @property
    def reads_files(self) -> bool:
        """Tell whether files that a user names can be read."""
        return "tracker_read_files" in implemented_hooks(self.tracker)

    @property
    def captures_alone(self) -> bool:
        """Tell whether the flavor can be a source of records that tracks nothing."""
        return "tracker_capture_alone" in implemented_hooks(self.tracker)

    def read_native(self, run: Run, position: str, files: Path | None = None) -> Outcome:
        """Read what the SDK's own files hold; the value is records and a position, or None.

        Args:
            run: The run.
            position: Where the read before this one came to.
            files: A file or folder of the user's that is read, or None.
        """
        hook = "tracker_read_native" if files is None else "tracker_read_files"
        named = {} if files is None else {"files": files}

        def read() -> Outcome:
            with inside_hook():
                outcome = self._call_untimed(hook, run=run, position=position, **named)
            if outcome.kind != "done" or outcome.value is None:
                return outcome
            read, error = tried(_checked_native, outcome.value)
            return Outcome(value=read) if error is None else self._failed(hook, error)

        return self._bounded(hook, self.hook_timeout, read)

    def remote_id_in_step(self, run: Run) -> str:
        """Give it likewise, in the step's thread."""
        call = partial(self._call_untimed, "tracker_remote_id", run=run)
        outcome, _ = self._in_step(call, None)
        return _id_or(run.id, outcome.value if outcome is not None else None)

    @contextmanager
    def activated(
        self,
        run: Run,
        capture: Capture | None = None,
        has_hung: Callable[[float], None] | None = None,
        *,
        is_starting: bool = False,
    ) -> Iterator[object]:
        """Let the SDK's own calls land in the run, in the calling thread; yields its run object.

        Neither entering nor leaving raises, and the step's exception never reaches the plugin,
        which could swallow it. Only a real Ctrl-C or SIGTERM comes through. A hook that hangs is
        interrupted after `hook_timeout`, or as soon as it is back in Python.

        Args:
            run: The run.
            capture: Takes what the SDK's own calls log, or None.
            has_hung: Called with the seconds that entering or leaving took, where it hung.
            is_starting: Whether its start is under way, and was not waited for.
        """
        hook = "tracker_activate_run"
        call = partial(self._call_untimed, hook, run=run, capture=capture, is_starting=is_starting)
        with self._entered(call, has_hung) as native:
            yield native

    def command_variables(self, run: Run) -> dict[str, str]:
        """Give the SDK's own variables by which a command's native calls land in the run.

        Args:
            run: The run.
        """
        call = partial(self._call_untimed, "tracker_command_variables", run=run)
        outcome, _ = self._in_step(call, None)
        found = outcome.value if outcome is not None else None
        return {str(name): str(text) for name, text in found.items()} if found else {}

    @contextmanager
    def capturing_alone(self, run: Run) -> Iterator[None]:
        """Have the flavor be a source of records that tracks nothing, in the calling thread.

        Args:
            run: The run.
        """
        call = partial(self._call_untimed, "tracker_capture_alone", run=run)
        with self._entered(call, None):
            yield

    @contextmanager
    def _entered(
        self, call: Callable[[], Outcome], has_hung: Callable[[float], None] | None
    ) -> Iterator[object]:
        """Enter the context that a hook gives, and leave it."""
        outcome, _ = self._in_step(call, has_hung)
        if outcome is not None and outcome.reason:
            logger.warning("experiment tracker %r: %s", self.name, outcome.reason)
        manager = outcome.value if outcome is not None else None
        native, has_entered = None, False
        if manager is not None:
            # It may have no such method: looking that up is part of the try.
            native, error = self._in_step(
                lambda: manager.__enter__(),  # noqa: PLW0108 - see above
                has_hung,
            )
            has_entered = error is None
        try:
            yield native
        finally:
            if (
                manager is not None and has_entered and not sys.is_finalizing()
            ):  # no thread can be started then
                self._in_step(lambda: manager.__exit__(None, None, None), has_hung)

    def _in_step(
        self, call: Callable[[], _T], has_hung: Callable[[float], None] | None
    ) -> Tried[_T]:
        """Limit and contain a part of the activation, which runs in the step's thread."""

        def limited() -> _T:
            with time_limit(self.hook_timeout):
                return call()

        begun = time.monotonic()
        came = tried(limited)
        if came.error is not None:
            reason = self._reason("tracker_activate_run", came.error)
            logger.warning("experiment tracker %r: %s", self.name, reason)
        spent = time.monotonic() - begun
        if has_hung is not None and spent >= self.hook_timeout:
            has_hung(spent)
        return came

    def _call(self, hook: str, **arguments: Any) -> Outcome:
        """Call a hook of the worker's, whose clock runs meanwhile."""
        deadline = arguments["run"].deadline if "run" in arguments else 0.0
        seconds = _TOLERANCE * max(self.hook_timeout, deadline)
        with inside_hook():
            # Others see since when it runs; nothing here ends one that hangs. Where this process
            # has no other work an alarm ends it then, also where the interpreter's lock is never
            # released (see `serving`). Set and taken back without a call in Python: one that finds
            # no memory would leave the hook for one that hangs.
            self.running, self.overdue_at = hook, time.monotonic() + seconds
            if self._is_alone:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                return self._call_untimed(hook, **arguments)
            finally:
                if self._is_alone:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                self.running, self.overdue_at = "", None

    def _call_untimed(self, hook: str, **arguments: Any) -> Outcome:
        value, error = tried(self._manager.call, hook, **arguments)
        if error is None:
            return Outcome(value=value)
        return self._failed(hook, error)

    def _failed(self, hook: str, error: BaseException) -> Outcome:
        """Say what an error means that a hook raised."""
        reason = self._reason(hook, error)
        match error:
            case RetryLater():
                return Outcome("later", reason=reason, after=_seconds(error))
            case RunDeleted():
                return Outcome("deleted", reason=reason)
            case TooLarge():
                return Outcome("large", reason=reason)
            case RejectedRecords():
                return Outcome("rejected", reason=reason, records=getattr(error, "records", ()))
        answer = classify_error(error)
        if answer is not None and answer.verdict not in ("refused", "taken"):
            kind: OutcomeKind = "large" if answer.verdict == "too large" else "later"
            return Outcome(kind, reason=reason, after=answer.after)
        if logger.isEnabledFor(logging.DEBUG):
            text = self._redactor.failure(error).traceback
            logger.debug("experiment tracker %r: %s failed\n%s", self.name, hook, text)
        return Outcome("broken", reason=reason)

    def _bounded(
        self,
        hook: str,
        seconds: float,
        call: Callable[[], Outcome],
        within: Callable[[float, Callable[[], Outcome]], Outcome] | None = None,
    ) -> Outcome:
        """Call on another thread, which is left alone if it takes too long."""
        work = partial(contextvars.copy_context().run, call)
        within = within or partial(result_within, name=f"{self.name}-{hook}")
        try:
            return within(seconds, work)
        except TimeoutError:
            return Outcome("later", reason=f"{hook}: has not returned for {seconds:g} s")

    def _reason(self, hook: str, error: BaseException) -> str:
        return reason_of(hook, error, self._redactor)


@lru_cache(maxsize=1)
def _early_thread(process: int) -> PatientThread:  # noqa: ARG001 - a forked child has none
    """Give a process's thread for starts without an SDK, which come one by one."""
    return PatientThread("early")


def _checked_native(value: Any) -> tuple[list[Record], str]:
    records, position = value
    if not isinstance(position, str):
        raise TypeError(f"gave {type(position).__name__} as its position, which is no text")
    return list(records), position


def _id_or(default: str, value: Any) -> str:
    return value if value and isinstance(value, str) else default


def _seconds(error: RetryLater) -> float | None:
    """Give `after` where it is a time to wait; a flavor's own subclass may have left it out."""
    after = getattr(error, "after", None)
    return float(after) if isinstance(after, int | float) and after > 0 else None
