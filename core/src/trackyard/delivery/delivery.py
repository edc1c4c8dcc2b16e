"""What state is one run in on one tracker, and what is to be done for it next?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

import attrs

from trackyard.contract.flavors import capabilities_of, is_offline
from trackyard.contract.records import Failure, Run
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.breaker import Breaker
from trackyard.delivery.budgets import Backoff
from trackyard.delivery.intake import Intake
from trackyard.delivery.reports import TrackerReport, is_whole, report_of
from trackyard.delivery.sending import Sender
from trackyard.delivery.stages import Progress, Stage
from trackyard.delivery.state import DeliveryState, load_state, save_state
from trackyard.hooks.dispatch import Outcome, TrackerHooks
from trackyard.journal.ending import find_end, is_of_recovery, last_sequences
from trackyard.journal.entries import Entry
from trackyard.journal.pending import mark_as_kept_offline, mark_as_pending
from trackyard.system.locks import FileLock

logger = logging.getLogger("trackyard")

# How long records gather before they are sent, in seconds: one call of a backend takes a hundred
# metrics nearly as quickly as one.
GATHER = 0.1
# How often native calls that a flavor keeps in files are forwarded, in seconds.
FORWARD_EVERY = 5.0
# After so many failures in a row with a run's records its end is sent before them. So is that of a
# run that failed or died where they take so many seconds: it must not be shown as running.
_MOST_DATA_FAILURES = 2
END_AFTER = 3.0


class LocalDelivery:
    """Carries one run to one tracker: its start, its records in batches, its end.

    All hooks are called by `advance`, which the tracker's worker alone calls. The other methods
    may be called from any thread. Whatever is done is noted in the tracker's folder of the run,
    so that a later process goes on where this one stopped.

    Args:
        hooks: The tracker's hooks.
        run: The run as this tracker gets it.
        start_timeout: Seconds that the start hook may take.
        breaker: The tracker's, which all of its runs share.
        on_change: Called after each thing that was done, on the worker.
        on_hurry: Called where the next thing is to be done at once: it wakes the worker.
        all_ranks: Take what children of a rank above 0 have logged, under `rank1/` and so on.
    """

    def __init__(
        self,
        hooks: TrackerHooks,
        run: Run,
        start_timeout: float,
        breaker: Breaker | None = None,
        *,
        on_change: Callable[[LocalDelivery], None] | None = None,
        on_hurry: Callable[[], None] | None = None,
        all_ranks: bool = False,
    ) -> None:
        self.hooks = hooks
        self.capabilities = capabilities_of(hooks.tracker)
        self.progress = Progress()
        self.served_at = 0.0
        self.breaker = breaker or Breaker()
        self._run = run
        self._on_change = on_change
        self._on_hurry = on_hurry
        self._all_ranks = all_ranks
        self._start_timeout = start_timeout
        self._lock = FileLock(run.folder / "delivery.lock")
        self._being_served = Lock()
        self._backoff = Backoff()
        self._due = 0.0
        self._forward_at = 0.0
        self._hurried_at: float | None = None  # since when somebody waits for the end
        self._data_failures = 0
        self._is_taken_for_dead = False  # by another process, while this one lives
        self._begin(load_state(run.folder))
        if is_whole(self.state, run.folder.parent):
            self.progress.move(Stage.ENDED)

    def _begin(self, state: DeliveryState) -> None:
        """Go on from what is noted on disk, by this process or the one before it."""
        self.state = state
        state.all_ranks = self._all_ranks
        # What is kept only at the end, or cannot be continued, is sent from its first record.
        self._keeps_cursor = (
            self.capabilities.acknowledges == "batch" and self.capabilities.idempotence != "rebuild"
        )
        if not self._keeps_cursor and not state.is_ended:
            state.cursor, state.number, state.plan = {}, 0, []
            state.delivered = state.quarantined = state.lost = 0
        held = self._held if self.capabilities.idempotence == "cursor" else None
        adapter = Adapter(self.capabilities, self._run.folder)
        adapter.changes.update(state.changes if self._keeps_cursor else {})
        largest = self.capabilities.largest_batch
        self._adapter = adapter
        self._intake = Intake(self.hooks.name, self._run, adapter, state, all_ranks=self._all_ranks)
        self._sender = Sender(self.hooks, state, self._run.folder, largest, held)

    @property
    def url(self) -> str | None:
        """The run's address, as soon as it is known."""
        return self.state.url

    @property
    def delivered(self) -> int:
        """The number of records that the tracker has taken."""
        return self.state.delivered

    @property
    def problem(self) -> str:
        """The last error as one line, or an empty text."""
        running = self.hooks.running
        if self.progress.stage is Stage.LEFT and running:
            return f"{running} has not returned yet"
        return self.state.problem

    @property
    def run(self) -> Run:
        """The run as the next hook gets it, with the time that the hook may take."""
        has_started = self.progress.stage.has_started
        deadline = self.hooks.hook_timeout if has_started else self._start_timeout
        return attrs.evolve(self._run, deadline=deadline)

    def hurry(self) -> None:
        """Do the next thing as soon as the backend allows: the run has ended, someone waits."""
        if self._hurried_at is None:  # `advance` may be about to set when it is due
            self._hurried_at = time.monotonic()
        self._due = 0.0
        if self._on_hurry is not None:
            self._on_hurry()

    def due(self) -> float | None:
        """Give the monotonic time at which there is something to do, or None for never again."""
        return None if self.progress.stage in (Stage.ENDED, Stage.GIVEN_UP) else self._due

    def advance(self) -> None:
        """Do the next thing: start, send one batch, or end."""
        with self._being_served:
            self._advance()
            if self.progress.stage.is_over:
                self._lock.release()
        if self._on_change is not None:
            self._on_change(self)

    def postpone(self, problem: str) -> None:
        """Let nobody wait for the start: the tracker fails for every run just now."""
        if self.progress.stage is Stage.NEW:
            self.state.problem = problem
            self.progress.move(Stage.LATE)
            if self._on_change is not None:
                self._on_change(self)

    def abandon(self, problem: str) -> None:
        """Give the run up in this process, where a hook hangs in it or in others before it.

        It keeps the lock as long as the hook runs, so that no other process disturbs that.
        """
        self.state.problem = problem
        if self.hooks.running:
            self.state.abandoned += 1
        save_state(self._run.folder, self._saved())
        self.progress.move(Stage.GIVEN_UP)
        self.progress.retry_failed = True
        self.close()
        if self._on_change is not None:
            self._on_change(self)

    def close(self) -> None:
        """Leave the rest to another process, as soon as no hook runs."""
        self.progress.move(Stage.LEFT)
        if self._being_served.acquire(blocking=False):
            try:
                self._lock.release()
            finally:
                self._being_served.release()

    def report(self) -> TrackerReport:
        """Say how the run stands on this tracker now."""
        report = report_of(self.hooks.name, self.state, self._run.folder)
        return attrs.evolve(report, problem=self.problem)

    def _advance(self) -> None:
        self.served_at = time.monotonic()
        if self.progress.stage.is_over:
            return
        if not self._lock.is_held and not self._take_over():
            self._due = self.served_at + 1.0
            self.state.problem = "another process is delivering it"
        elif self.progress.stage is Stage.ENDED:
            return
        elif self.progress.stage is not Stage.OPEN:
            self._start()
        elif self._is_end_due():
            self._send_end_first()
        else:
            self._forward_native()
            self._read()
            if self._intake.pending and self._is_slow():
                self._send_end_first()
            elif self._intake.pending:
                self._send_next()
            elif self._intake.end is not None and self._intake.has_read_all:
                self._finish(self._intake.end)
            else:
                self._due = time.monotonic() + self._gather()

    def _read(self) -> None:
        """Read what comes next; after the run's end once, for a child may log on for ever."""
        if self._intake.end is None or not self._intake.has_read_all:
            self._intake.read(self._sender.largest)
        if self._run.attached and self._intake.has_read_all:
            # A cursor of an earlier version may be behind it.
            self._intake.end = self._intake.end or self._journaled_end()
        elif self._intake.end_of_recovery is not None and not self._is_taken_for_dead:
            self._is_taken_for_dead = True
            folder = self._run.folder.parent
            logger.warning("%s: it was taken for dead, and lives; it goes on", folder)
            mark_as_pending(folder)

    def _take_over(self) -> bool:
        """Take the lock and go on from what the process before this one has noted."""
        if not self._lock.acquire():
            return False
        state = load_state(self._run.folder)
        if is_whole(state, self._run.folder.parent):
            self._lock.release()
            self.progress.move(Stage.ENDED)
        state.is_ended = (
            self.progress.stage is Stage.ENDED
        )  # a child's late records go before the end once more
        self._begin(state)
        return True

    def _start(self) -> None:
        outcome = self.hooks.start_run(self.run)
        if outcome.kind != "done":
            self._retry(outcome)
            self.progress.move(Stage.LATE)
            return
        if self.capabilities.idempotence == "cursor":
            self._intake.skip_held(outcome.value or 0)
        self.state.url = self.hooks.url(self.run) or self.state.url
        self._succeeded()
        if self._hurried_at is not None:
            self._hurried_at = time.monotonic()
        save_state(self._run.folder, self._saved())  # children of its process read its URL
        self.progress.move(Stage.OPEN)

    def _held(self) -> Outcome:
        """Ask a backend that keeps a cursor how far it has come."""
        return self.hooks.start_run(self.run)

    def _forward_native(self) -> None:
        """Have native calls forwarded while the run lives; what fails here is sent at the end."""
        if self.capabilities.forwards_native and self._intake.end is None:
            now = time.monotonic()
            if now >= self._forward_at:
                self.hooks.sync_run(self.run)
                self._forward_at = now + FORWARD_EVERY

    def _send_next(self) -> None:
        """Send one batch; what is not taken now stays pending, in its order."""
        if self.capabilities.idempotence == "cursor" and not self._intake.is_planned():
            save_state(self._run.folder, self._saved())
        batch = self._sender.take_batch(self._intake.pending)
        count = len(batch)
        left, outcome = self._sender.send(self.run, batch)
        if left:
            self._intake.pending.extendleft(reversed(left))
            self._data_failures += 1
            self._retry(outcome)
            if self.capabilities.idempotence == "rebuild":
                self.progress.move(Stage.SHUT)
                self._begin(self.state)
            return
        self._data_failures = 0
        self._succeeded()
        if self._intake.pending:
            return
        self._intake.acknowledge()
        if self._intake.end is None:
            save_state(self._run.folder, self._saved())
            if count < self._sender.largest:
                self._due = time.monotonic() + self._gather()

    def _gather(self) -> float:
        """Give the seconds to wait for more records: next to none when the run has ended."""
        return GATHER if self._hurried_at is None else 0.002

    def _is_end_due(self) -> bool:
        return (
            self._hurried_at is not None
            and self._data_failures >= _MOST_DATA_FAILURES
            and not self.state.is_end_sent
        )

    def _is_slow(self) -> bool:
        """Tell whether the end was waited for long enough, with records still to be sent."""
        if self._hurried_at is None or not self._keeps_cursor or self.state.is_end_sent:
            return False
        return time.monotonic() >= self._hurried_at + END_AFTER

    def _send_end_first(self) -> None:
        """Send the end of a run whose records keep failing or take long: its status is true then.

        The records are tried again afterwards, in the run as it is continued, and so is the end.
        """
        fails = self._data_failures >= _MOST_DATA_FAILURES
        self._data_failures, self._hurried_at = 0, time.monotonic()
        end = self._journaled_end()
        if end is None or (end.data is None and not fails):  # a run that finished can wait
            return
        outcome = self._call_end(end)
        if outcome.kind != "done":
            self._retry(outcome)
            return
        self.progress.move(Stage.SHUT)
        self._due = time.monotonic() + self._backoff.delay()
        self.state.is_end_sent = True
        save_state(self._run.folder, self._saved())

    def _journaled_end(self) -> Entry | None:
        found = find_end(self._run.folder.parent)
        if found is None or (is_of_recovery(found.writer) and not self._run.attached):
            return None  # this very process lives
        return found.entry

    def _call_end(self, end: Entry) -> Outcome:
        run = attrs.evolve(self.run, ended_at=end.timestamp)
        failure: Failure | None = end.data
        outcome = self.hooks.fail_run(run, failure) if failure else self.hooks.end_run(run)
        if outcome.kind == "done":
            self.state.url = self.hooks.url(run) or self.state.url
        return outcome

    def _finish(self, end: Entry) -> None:
        outcome = self._call_end(end)
        if outcome.kind != "done":
            self._retry(outcome)
            return
        self.state.is_ended = self.state.is_end_sent = True
        self._note_whose_end_it_is(end)
        if is_offline(self.hooks.tracker):
            self.state.is_kept_offline = True
            mark_as_kept_offline(self._run.folder.parent)
        self._intake.acknowledge()
        self._succeeded()
        save_state(self._run.folder, self.state)
        self._lock.release()
        self.progress.move(Stage.ENDED)

    def _note_whose_end_it_is(self, end: Entry) -> None:
        """Let the cursor pass an end that recovery wrote: the run's own may still come."""
        folder, cursor = self._run.folder.parent, self.state.cursor
        for writer in [writer for writer in cursor if is_of_recovery(writer)]:
            del cursor[writer]
        found = find_end(folder)
        if found is not None and is_of_recovery(found.writer) and found.entry == end:
            cursor[found.writer] = last_sequences(folder)[found.writer]

    def _saved(self) -> DeliveryState:
        """Give the state as it is noted: without a cursor where none is kept before the end."""
        if self._keeps_cursor or self.state.is_ended:
            return self.state
        return attrs.evolve(self.state, cursor={}, number=0)

    def _retry(self, outcome: Outcome) -> None:
        self.state.problem = outcome.reason
        self.breaker.failed(outcome.reason, outcome.after)
        self._due = time.monotonic() + self._backoff.delay()
        save_state(self._run.folder, self._saved())
        if self._hurried_at is not None:
            self.progress.retry_failed = True

    def _succeeded(self) -> None:
        self._backoff.reset()
        self.breaker.succeeded()
        self._due = 0.0
        self.state.problem = ""
        self.state.changes = dict(self._adapter.changes)
