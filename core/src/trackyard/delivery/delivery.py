"""What state is one run in on one tracker, and what is to be done for it next?"""

from __future__ import annotations

import logging
import time
from collections import deque
from threading import Event, Lock

import attrs

from trackyard.delivery.adapting import Adapter
from trackyard.delivery.budgets import Backoff
from trackyard.dispatch import Outcome, TrackerHooks
from trackyard.flavors import capabilities_of
from trackyard.journal import MemoryJournal
from trackyard.records import Batch, Failure, Record, Run

logger = logging.getLogger("trackyard")

# No hook may take longer than this, in seconds; only the start has a shorter one of its own.
HOOK_DEADLINE = 30.0
# How long records gather before they are sent, in seconds: one call of a backend takes a hundred
# metrics nearly as quickly as one.
GATHER = 0.1


@attrs.frozen
class TrackerReport:
    """How one run stands on one tracker.

    Attributes:
        tracker: The tracker's name.
        url: The run's address there, if it is known.
        is_complete: The tracker has everything, the end included.
        delivered, pending, quarantined: Numbers of records.
        changes: What had to be changed for the backend, with how often.
        problem: The last error as one line, or an empty text.
    """

    tracker: str
    url: str | None
    is_complete: bool
    delivered: int
    pending: int
    quarantined: int
    changes: dict[str, int]
    problem: str = ""


class Delivery:
    """Carries one run to one tracker: its start, its records in batches, its end.

    All hooks are called by `advance`, which the tracker's worker alone calls. The other methods
    may be called from any thread.
    """

    def __init__(
        self, hooks: TrackerHooks, run: Run, journal: MemoryJournal, start_timeout: float
    ) -> None:
        self.hooks = hooks
        self.capabilities = capabilities_of(hooks.tracker)
        self.url: str | None = None
        self.started = Event()
        self.start_settled = Event()  # started, or the first try has failed
        self.ended = Event()
        self.retry_failed = Event()  # a try after `finish` has failed
        self.problem = ""
        self.served_at = 0.0
        self._run = run
        self._journal = journal
        self._start_timeout = start_timeout
        self._adapter = Adapter(self.capabilities, run.folder)
        self._backoff = Backoff()
        self._due = 0.0
        self._cursor = 0
        self._pending: deque[Record] = deque()  # adapted, and not yet delivered
        self._pending_range = (0, 0)
        self._quarantined: list[tuple[Record, str]] = []
        self._delivered = 0
        self._end: tuple[int, Failure | None] | None = None
        self._lock = Lock()

    @property
    def run(self) -> Run:
        """The run as the next hook gets it, with the time that the hook may take."""
        deadline = HOOK_DEADLINE if self.started.is_set() else self._start_timeout
        return attrs.evolve(self._run, deadline=deadline)

    def finish(self, ended_at: int, failure: Failure | None) -> None:
        """Say how the run ended; the first word counts. The rest is delivered, then the end."""
        with self._lock:
            if self._end is None:
                self._run = attrs.evolve(self._run, ended_at=ended_at)
                self._end = (ended_at, failure)
        self._due = 0.0

    def due(self) -> float | None:
        """Give the monotonic time at which there is something to do, or None for never again."""
        if self.ended.is_set():
            return None
        if not self.started.is_set() or self._pending or self._end is not None:
            return self._due
        if len(self._journal) > self._cursor:
            return self._due
        return float("inf")

    def advance(self) -> None:
        """Do the next thing: start, send one batch, or end."""
        self.served_at = time.monotonic()
        if not self.started.is_set():
            self._start()
        elif self._pending or len(self._journal) > self._cursor:
            self._send_next()
        elif self._end is not None:
            self._finish(self._end[1])

    def report(self) -> TrackerReport:
        """Say how the run stands on this tracker now."""
        waiting = self._journal.read(self._cursor, len(self._journal))
        return TrackerReport(
            tracker=self.hooks.name,
            url=self.url,
            is_complete=self.ended.is_set(),
            delivered=self._delivered,
            pending=len(self._pending) + sum(len(entry.records()) for entry in waiting),
            quarantined=len(self._quarantined),
            changes=dict(self._adapter.changes),
            problem=self.problem,
        )

    def _start(self) -> None:
        outcome = self.hooks.start_run(self.run)
        if outcome.kind != "done":
            self._retry(outcome)
            self.start_settled.set()
            return
        if outcome.value is not None:
            self._cursor = max(0, min(outcome.value + 1, len(self._journal)))
        self.url = self.hooks.url(self.run)
        self._succeeded()
        self.started.set()
        self.start_settled.set()

    def _send_next(self) -> None:
        """Send one batch; what is not taken now stays pending, in its order."""
        if not self._pending:
            self._read_next()
        if not self._pending:
            return
        batch = [
            self._pending.popleft()
            for _ in range(min(len(self._pending), self.capabilities.largest_batch))
        ]
        left, outcome = self._send(batch)
        if left:
            self._pending.extendleft(reversed(left))
            self._retry(outcome)
            return
        self._succeeded()
        if (
            self._end is None
            and len(self._journal) - self._cursor < self.capabilities.largest_batch
        ):
            self._due = time.monotonic() + GATHER

    def _read_next(self) -> None:
        """Read entries until there are enough records for a batch; entries are never divided."""
        first, records = self._cursor, 0
        while records < self.capabilities.largest_batch:
            entries = self._journal.read(self._cursor, 100)
            if not entries:
                break
            for entry in entries:
                for record in entry.records():
                    self._pending.extend(self._adapter.adapt(record))
                    records += 1
                self._cursor += 1
                if records >= self.capabilities.largest_batch:
                    break
        self._pending_range = (first, self._cursor - 1)

    def _send(self, records: list[Record]) -> tuple[list[Record], Outcome]:
        """Send records; a batch that is refused is halved down to the record at fault.

        Returns:
            The records that have to be sent again later, and why.
        """
        outcome = self.hooks.log(self.run, Batch.of(tuple(records), *self._pending_range))
        if outcome.kind == "done":
            self._delivered += len(records)
            return [], outcome
        if outcome.kind == "later":
            return records, outcome
        rejected = [record for record in outcome.records if record in records]
        if rejected:
            self._quarantine(rejected, outcome.reason)
            rest = [record for record in records if record not in rejected]
            return self._send(rest) if rest else ([], Outcome())
        if len(records) == 1:
            self._quarantine(records, outcome.reason)
            return [], Outcome()
        middle = len(records) // 2
        left, first = self._send(records[:middle])
        if left:  # the backend has gone away meanwhile: keep the order, try again later
            return [*left, *records[middle:]], first
        return self._send(records[middle:])

    def _quarantine(self, records: list[Record], reason: str) -> None:
        for record in records:
            self._quarantined.append((record, reason))
            name = getattr(record, "key", getattr(record, "name", ""))
            logger.warning(
                "experiment tracker %r refused %s %r: %s",
                self.hooks.name,
                type(record).__name__.lower(),
                name,
                reason,
            )

    def _finish(self, failure: Failure | None) -> None:
        if failure is None:
            outcome = self.hooks.end_run(self.run)
        else:
            outcome = self.hooks.fail_run(self.run, failure)
        if outcome.kind != "done":
            self._retry(outcome)
            return
        self.url = self.hooks.url(self.run) or self.url
        self._succeeded()
        self.ended.set()

    def _retry(self, outcome: Outcome) -> None:
        self.problem = outcome.reason
        is_ending = self._end is not None
        self._due = time.monotonic() + self._backoff.delay(outcome.after)
        if is_ending:
            self.retry_failed.set()

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._due = 0.0
        self.problem = ""
