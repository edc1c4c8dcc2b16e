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
from trackyard.delivery.aside import Aside, count_refused, put_aside
from trackyard.delivery.breaker import Breaker
from trackyard.delivery.budgets import Backoff
from trackyard.delivery.intake import Intake
from trackyard.delivery.reports import TrackerReport, is_whole, report_of
from trackyard.delivery.sending import Sender
from trackyard.delivery.sizes import fitted_context
from trackyard.delivery.stages import Progress, Stage
from trackyard.delivery.state import DeliveryState, load_state, pass_end_of_recovery, save_state
from trackyard.hooks.dispatch import Outcome, TrackerHooks
from trackyard.journal.contexts import first_context
from trackyard.journal.ending import find_end, is_of_recovery
from trackyard.journal.entries import Entry
from trackyard.journal.pending import mark_as_kept_offline, mark_as_pending
from trackyard.system.locks import FileLock

logger = logging.getLogger("trackyard")

BEING_DELIVERED = "another process is delivering it"  # or an earlier delivery of this one

# So many of the records that others went past are tried before the next pause; so many failures of
# an end have the run started once more.
_MOST_TRIED = 3
# How long records gather before they are sent, in seconds: one call of a backend takes a hundred
# metrics nearly as quickly as one.
GATHER = 0.1
# How long after a run's end its context is awaited that is still being collected, in nanoseconds:
# an end that is sent before it would be sent twice.
AWAIT_CONTEXT = 5_000_000_000
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
        takes_context: The tracker gets where the run comes from.
        takes_console: It gets what the run printed.
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
        takes_context: bool = True,
        takes_console: bool = True,
    ) -> None:
        self.hooks = hooks
        self.capabilities = capabilities_of(hooks.tracker)
        self.progress = Progress()
        self.served_at = 0.0
        self.is_early = False  # it was started without its SDK
        self.breaker = breaker or Breaker()
        self._takes = {"takes_context": takes_context, "takes_console": takes_console}
        context = (run.context or first_context(run.folder.parent)) if takes_context else None
        most = self.capabilities.largest_request
        context = fitted_context(context, most) if context is not None else None
        self._run = attrs.evolve(run, context=context)
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
        self._data_failures = self._apart_tried = self._end_failures = self._tears = 0
        self._is_torn = False  # an error of ours, such as a lack of memory, has cut it short
        self._is_taken_for_dead = False  # by another process, while this one lives
        self._takes_any_end = run.attached  # that of recovery, too
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
            state.delivered = state.native = state.quarantined = state.lost = 0
            Aside(self._run.folder, state).clear()
        self._aside = Aside(self._run.folder, state)
        if self.capabilities.idempotence != "cursor":  # else it says itself what it has
            self._aside.leave_to_journal(state.number)
        self._apart_backoff, self._apart_due = Backoff(), 0.0
        self._adapter = adapter = Adapter(self.capabilities, self._run.folder, **self._takes)
        adapter.changes.update(state.changes if self._keeps_cursor else {})
        self._intake = Intake(
            *(self.hooks.name, self._run, adapter, state),
            all_ranks=self._all_ranks,
            has_native_calls=self.hooks.has_native_calls and not self._run.attached,
            is_patient=self._tears < _MOST_TRIED,
        )
        self._sender = Sender(
            *(self.hooks, state, self._aside, self.capabilities.largest_batch),
            largest_request=self.capabilities.largest_request,
            ask=None if self.capabilities.idempotence == "rebuild" else self._ask,
            keeps_cursor=self.capabilities.idempotence == "cursor",
        )

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
        if self.progress.stage is Stage.LEFT and (running := self.hooks.running):
            hangs = f"{running} has not returned yet"
            return f"{hangs}; before: {problem}" if (problem := self.state.problem) else hangs
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
        self._due = self._apart_due = 0.0
        if self._on_hurry is not None:
            self._on_hurry()

    def take_any_end(self) -> None:
        """End with what recovery has written, too: the run's own process has gone."""
        self._takes_any_end = True

    def due(self) -> float | None:
        """Give the monotonic time at which there is something to do, or None for never again."""
        return None if self.progress.stage.is_over and not self._is_torn else self._due

    def advance(self) -> None:
        """Do the next thing: start, send one batch, or end."""
        with self._being_served:
            if self._is_torn:
                self._go_back()
            self._is_torn = True
            self._advance()
            if self.progress.stage.is_over:
                self._lock.release()
        if self._on_change is not None:
            self._on_change(self)
        self._is_torn = False

    def start_early(self) -> None:
        """Start a new run without the SDK where the flavor can, before the worker has the run."""
        if not self.hooks.starts_early or self.breaker.is_open:
            return
        with self._being_served:
            is_ours = self._run.folder.parent.is_dir() and self._take_over()
            is_new = is_ours and self.progress.stage is Stage.NEW and not self.state.remote_id
            if is_new and self.hooks.start_early(self.run):
                self.is_early = True
                self._note_start()
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

    def report(self, most: int | None = None) -> TrackerReport:
        """Say how the run stands on this tracker now.

        Args:
            most: As in `report_of`.
        """
        report = report_of(self.hooks.name, self.state, self._run.folder, most)
        return attrs.evolve(report, problem=self.problem)

    def _advance(self) -> None:
        self.served_at = time.monotonic()
        if self.progress.stage.is_over:
            return
        if not self._run.folder.parent.is_dir():
            # Nothing is made anew where a project was that is renamed; the journal knows which.
            self._due = self.served_at + 1.0
            self.state.problem = "the run's folder was moved or deleted"
            self._lock.release()  # it went along, and is for who delivers the run there
        elif not self._lock.is_held and not self._take_over():
            self._due = self.served_at + 1.0
            self.state.problem = BEING_DELIVERED
        elif self.progress.stage is Stage.ENDED:
            return
        elif not self.progress.stage.is_open:
            self._start()
        elif self._is_end_due():
            self._send_end_first()
        else:
            self._forward_native()
            self._read()
            self._send_what_was_read()

    def _go_back(self) -> None:
        """Begin again from what is noted on disk: an error of ours has left off amid something."""
        self._tears += 1
        self._lock.release()  # who takes it reads what is noted
        if self.progress.stage.is_open:
            self.progress.move(Stage.SHUT)

    def _send_what_was_read(self) -> None:
        if self._intake.session > self.state.session:
            self._leave_to_next_session()
        elif self._intake.pending and self._is_slow():
            self._send_end_first()
        elif self._intake.pending:
            self._send_next()
        elif self._aside.waiting and time.monotonic() >= self._apart_due:
            self._send_apart()
        elif self._intake.end is not None and self._intake.has_read_all:
            self._finish_or_wait(self._intake.end)
        else:
            self._due = time.monotonic() + self._gather()

    def _read(self) -> None:
        """Read what comes next; after the run's end once, for a child may log on for ever."""
        if self._intake.end is None or not self._intake.has_read_all or self._intake.awaits_context:
            self._intake.read(self._sender.largest)
        if self._takes_any_end:
            if self._intake.has_read_all:
                # A cursor of an earlier version may be behind it.
                self._intake.end = self._intake.end or self._journaled_end()
        elif self._intake.end_of_recovery is not None:
            folder = self._run.folder.parent
            if not self._is_taken_for_dead:
                self._is_taken_for_dead = True
                logger.warning("%s: it was taken for dead, and lives; it goes on", folder)
            mark_as_pending(folder)  # each time: recovery takes the mark away when it is through

    def _leave_to_next_session(self) -> None:
        """Leave the rest to the process that has resumed the run, whose end counts."""
        self.state.problem = "the run was resumed; the process that did so delivers it"
        save_state(self._run.folder, self._saved())
        self.progress.move(Stage.LEFT)

    def _take_over(self) -> bool:
        """Take the lock and go on from what the process before this one has noted."""
        if not self._lock.acquire():
            return False
        state = load_state(self._run.folder)
        if is_whole(state, self._run.folder.parent):
            self._lock.release()
            self.progress.move(Stage.ENDED)
        # A child's late records go before the end once more.
        state.is_ended = self.progress.stage is Stage.ENDED
        self._begin(state)
        return True

    def _start(self) -> None:
        outcome = self.hooks.start_run(self.run)
        if outcome.kind != "done":
            self._retry(outcome)
            self.progress.move(Stage.LATE)
            return
        if self._is_made_anew(outcome):
            self._begin_anew()
        if self.capabilities.idempotence == "cursor":
            self._intake.skip_held(outcome.value or 0)
            self._forget_held(outcome.value or 0)
        self._note_start()

    def _note_start(self) -> None:
        self.state.deleted = ""
        self.state.url = self.hooks.url(self.run) or self.state.url
        self.state.remote_id = self.hooks.remote_id(self.run)
        self._succeeded()
        if self._hurried_at is not None:
            self._hurried_at = time.monotonic()
        save_state(self._run.folder, self._saved())  # children of its process read its URL
        self.progress.move(Stage.OPEN)

    def _is_made_anew(self, outcome: Outcome) -> bool:
        """Tell whether the backend was emptied, and has none of what it had taken."""
        counts = self.capabilities.idempotence == "cursor"
        has_nothing = outcome.value == 0 or (counts and outcome.value is None)
        return self._keeps_cursor and has_nothing and self.state.number > 0

    def _begin_anew(self) -> None:
        """Send the whole journal once more."""
        self._aside.clear()
        state = self.state
        state.cursor, state.number, state.plan = {}, 0, []
        state.delivered = state.native = state.quarantined = state.lost = 0
        state.anew_at = time.time_ns()
        state.is_end_sent = state.is_ended = False
        self._begin(state)
        save_state(self._run.folder, self._saved())

    def _ask(self) -> Outcome:
        """Ask whether the backend is there, and one that keeps a cursor how far it has come."""
        outcome = self.hooks.start_run(self.run)
        if outcome.kind == "done" and self._is_made_anew(outcome):
            self.progress.move(Stage.SHUT)  # it is started once more, and gets everything
            return Outcome("later", reason="the backend was emptied, and gets everything again")
        return outcome

    def _forward_native(self) -> None:
        """Have native calls forwarded while the run lives; what fails here is sent at the end."""
        if self.capabilities.forwards_native and self._intake.end is None:
            now = time.monotonic()
            if now >= self._forward_at:
                self._without_refused(self.hooks.sync_run(self.run))
                self._forward_at = now + FORWARD_EVERY

    def _send_next(self) -> None:
        """Send one batch; what is not taken now stays pending, in its order."""
        if self.capabilities.idempotence == "cursor":
            if any(waiting.number for waiting in self._aside.waiting):
                outcome = self._ask()  # does it have the one whose number these would get?
                if outcome.kind != "done":
                    self._retry(outcome)
                    return
                self._forget_held(outcome.value or 0)
            if not self._intake.is_planned():
                save_state(self._run.folder, self._saved())
        batch = self._sender.take_batch(self._intake.pending)
        count = len(batch)
        is_followed = bool(self._intake.pending) or not self._intake.has_read_all
        left, outcome = self._sender.send(self.run, batch, is_followed=is_followed)
        if left:
            self._intake.pending.extendleft(reversed(left))
            self._data_failures += 1
            self._retry(outcome)
            if self.capabilities.idempotence == "rebuild":
                self.progress.move(Stage.SHUT)
                self._begin(self.state)
            return
        self._data_failures = self._tears = 0
        self._succeeded()
        if self._intake.pending:
            return
        self._intake.acknowledge()
        if self._intake.end is None:
            save_state(self._run.folder, self._saved())
            if count < self._sender.largest:
                self._due = time.monotonic() + self._gather()

    def _send_apart(self) -> None:
        """Try what others have gone past, as long as the backend takes some of it.

        Where it counts what it has, each try has the next number: its old one is behind those of
        the records that went past.
        """
        waiting = self._aside.waiting[0]
        number, counts = waiting.origin, self.capabilities.idempotence == "cursor"
        if counts:
            number = self.state.number + 1
            if not self._aside.number(waiting, number):
                self._wait_apart(Outcome("later", reason="the disk is full"))
                return
        record = self._adapter.fit_late(waiting.record)
        outcome = self._sender.send_alone(self.run, number, record)
        waiting.tries += 1
        is_refused = outcome.kind in ("broken", "rejected") and waiting.tries > 1
        if outcome.kind == "deleted":
            self._retry(outcome)
        elif outcome.kind == "done" or is_refused:
            if is_refused:
                folder, reason = self._run.folder, outcome.reason
                put_aside(self.hooks.name, self.state, folder, record, reason)
            elif counts:
                self._intake.pass_number(number)
            self._aside.settle(waiting)
            self._apart_backoff.reset()
            self._succeeded()
            save_state(self._run.folder, self._saved())
        else:
            self._wait_apart(outcome)

    def _wait_apart(self, outcome: Outcome) -> None:
        """Leave for later what was not taken once more; try others first then."""
        waiting = self._aside.waiting[0]
        if waiting.number and self._ask().kind == "done":
            self._aside.number(waiting, 0)
        self._aside.put_last(waiting)
        self._apart_tried += 1
        self.state.problem = outcome.reason
        if self._apart_tried >= min(_MOST_TRIED, len(self._aside.waiting)):
            self._apart_tried = 0
            self._apart_due = time.monotonic() + self._apart_backoff.delay(outcome.after)
        save_state(self._run.folder, self._saved())

    def _forget_held(self, held: int) -> None:
        """Settle what the backend has of the records that were tried when a process stopped."""
        self._aside.leave_to_journal(max(held, self.state.number))
        for number in self._aside.settle_held(held):
            self._intake.pass_number(number)

    def _finish_or_wait(self, end: Entry) -> None:
        """End the run; where some of its records are still not taken, let its status be true."""
        if self._intake.awaits_context and time.time_ns() < end.timestamp + AWAIT_CONTEXT:
            self._due = time.monotonic() + GATHER
        elif not self._aside.waiting:
            self._finish(end)
        elif not self.state.is_end_sent:
            self._call_end_early(end)
        else:
            self.progress.retry_failed = True
            self.progress.move(Stage.WAITING)
            self._due = self._apart_due

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
        self._call_end_early(end)

    def _call_end_early(self, end: Entry) -> None:
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
        if found is None or (is_of_recovery(found.writer) and not self._takes_any_end):
            return None  # the run's own process lives
        return found.entry

    def _call_end(self, end: Entry) -> Outcome:
        """Call the end hook; where it fails again and again, find out whether the run is there."""
        run = attrs.evolve(self.run, ended_at=end.timestamp)
        failure: Failure | None = end.data
        ended = self.hooks.fail_run(run, failure) if failure else self.hooks.end_run(run)
        outcome = self._without_refused(ended)
        if outcome.kind == "done":
            self.state.url = self.hooks.url(run) or self.state.url
            self._end_failures = 0
        else:
            self._end_failures += 1
            if self._end_failures % _MOST_TRIED == 0:
                self.progress.move(Stage.SHUT)
        return outcome

    def _without_refused(self, outcome: Outcome) -> Outcome:
        """Count what was refused of native calls that a hook forwards; the rest it has done."""
        return count_refused(self.hooks.name, self.state, self._run.folder, outcome)

    def _finish(self, end: Entry) -> None:
        outcome = self._call_end(end)
        if outcome.kind != "done":
            self._retry(outcome)
            return
        self.state.is_ended = self.state.is_end_sent = True
        pass_end_of_recovery(self.state, self._run.folder.parent, end)
        if is_offline(self.hooks.tracker):
            self.state.is_kept_offline = True
            mark_as_kept_offline(self._run.folder.parent)
        self._intake.acknowledge()
        self._succeeded()
        save_state(self._run.folder, self.state)
        self._sender.packing.clear()
        self._lock.release()
        self.progress.move(Stage.ENDED)

    def _saved(self) -> DeliveryState:
        """Give the state as it is noted: without a cursor where none is kept before the end."""
        if self._keeps_cursor or self.state.is_ended:
            return self.state
        return attrs.evolve(self.state, cursor={}, number=0)

    def _leave_deleted(self, reason: str) -> None:
        """Leave a run that was deleted there to a sync that somebody types; say it once."""
        if not self.state.deleted:
            logger.warning(
                "experiment tracker %r: run %r was deleted there: %s; what it lacks is kept; "
                "restore it and type: trackyard sync",
                *(self.hooks.name, self._run.name, reason),
            )
        self.state.problem = self.state.deleted = reason
        save_state(self._run.folder, self._saved())
        self.progress.retry_failed = True
        self.progress.move(Stage.DELETED)

    def _retry(self, outcome: Outcome) -> None:
        if outcome.kind == "deleted":
            self._leave_deleted(outcome.reason)
            return
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
        if not self._aside.waiting:
            self.state.problem = ""
        self.state.changes = dict(self._adapter.changes)
