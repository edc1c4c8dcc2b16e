"""What state is one run in on one tracker, and what is to be done for it next?"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import attrs

from trackyard.delivery.adapting import Adapter
from trackyard.delivery.budgets import Backoff
from trackyard.delivery.state import DeliveryState, load_state, quarantine, save_state
from trackyard.dispatch import Outcome, TrackerHooks
from trackyard.flavors import capabilities_of, is_offline
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.reader import JournalReader, Position
from trackyard.locks import FileLock
from trackyard.pending import mark_as_kept_offline
from trackyard.ranks import rank_of_child
from trackyard.records import Artifact, Batch, Failure, Record, Run

logger = logging.getLogger("trackyard")

# No hook may take longer than this, in seconds; only the start has a shorter one of its own.
HOOK_DEADLINE = 30.0
# How long records gather before they are sent, in seconds: one call of a backend takes a hundred
# metrics nearly as quickly as one.
GATHER = 0.1
# How often native calls that a flavor keeps in files are forwarded, in seconds.
FORWARD_EVERY = 5.0
# Most files that one call gets: a hook has a deadline, and a slow server takes them one by one.
MOST_FILES = 20


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
        lost: How many log calls the journal lost to a full or damaged disk, so far as known.
        is_kept_offline: Its SDK keeps the run on this machine until `trackyard sync`.
    """

    tracker: str
    url: str | None
    is_complete: bool
    delivered: int
    pending: int
    quarantined: int
    changes: dict[str, int]
    problem: str = ""
    lost: int = 0
    is_kept_offline: bool = False


class Delivery:
    """Carries one run to one tracker: its start, its records in batches, its end.

    All hooks are called by `advance`, which the tracker's worker alone calls. The other methods
    may be called from any thread. Whatever is done is noted in the tracker's folder of the run,
    so that a later process goes on where this one stopped.

    Args:
        hooks: The tracker's hooks.
        run: The run as this tracker gets it.
        start_timeout: Seconds that the start hook may take.
        on_change: Called after each thing that was done, on the worker.
        all_ranks: Take what children of a rank above 0 have logged, under `rank1/` and so on.
    """

    def __init__(
        self,
        hooks: TrackerHooks,
        run: Run,
        start_timeout: float,
        on_change: Callable[[Delivery], None] | None = None,
        all_ranks: bool = False,
    ) -> None:
        self.hooks = hooks
        self.capabilities = capabilities_of(hooks.tracker)
        self.started = Event()  # the start hook has returned in this process
        self.start_settled = Event()  # started, or the first try has failed
        self.ended = Event()
        self.retry_failed = Event()  # a try after the run's end has failed
        self.served_at = 0.0
        self.state = load_state(run.folder)
        self._run = run
        self._on_change = on_change
        self._all_ranks = all_ranks
        self._start_timeout = start_timeout
        self._lock = FileLock(run.folder / "delivery.lock")
        self._adapter = Adapter(self.capabilities, run.folder)
        self._backoff = Backoff()
        self._due = 0.0
        self._forward_at = 0.0
        self._not_before = 0.0  # what the backend itself asked for
        self._is_hurried = False
        self._reader = JournalReader(run.folder.parent, self.state.cursor)
        self._lost = self.state.lost  # what was lost before the cursor, or never written
        self._pending: deque[Record] = deque()  # adapted, and not yet delivered
        self._read: list[Position] = []  # the entries that they come from
        self._end: Entry | None = None
        self._has_read_all = False
        if self.state.is_ended:
            self.ended.set()

    @property
    def url(self) -> str | None:
        """The run's address, as soon as it is known."""
        return self.state.url

    @property
    def problem(self) -> str:
        """The last error as one line, or an empty text."""
        return self.state.problem

    @property
    def run(self) -> Run:
        """The run as the next hook gets it, with the time that the hook may take."""
        deadline = HOOK_DEADLINE if self.started.is_set() else self._start_timeout
        return attrs.evolve(self._run, deadline=deadline)

    def hurry(self) -> None:
        """Do the next thing as soon as the backend allows: the run has ended, someone waits."""
        self._is_hurried = True  # also where `advance` is about to set the time
        self._due = self._not_before

    def due(self) -> float | None:
        """Give the monotonic time at which there is something to do, or None for never again."""
        return None if self.ended.is_set() else self._due

    def advance(self) -> None:
        """Do the next thing: start, send one batch, or end."""
        self._advance()
        if self._on_change is not None:
            self._on_change(self)

    def _advance(self) -> None:
        self.served_at = time.monotonic()
        if not self._lock.is_held and not self._take_over():
            self._due = self.served_at + 1.0
            self.state.problem = "another process is delivering it"
        elif self.ended.is_set():
            return
        elif not self.started.is_set():
            self._start()
        else:
            self._forward_native()
            self._read_next()
            if self._pending:
                self._send_next()
            elif self._end is not None and self._has_read_all:
                self._finish(self._end)
            else:
                self._due = time.monotonic() + self._gather()

    def _forward_native(self) -> None:
        """Have native calls forwarded while the run lives; what fails here is sent at the end."""
        if self.capabilities.forwards_native and self._end is None:
            now = time.monotonic()
            if now >= self._forward_at:
                self.hooks.sync_run(self.run)
                self._forward_at = now + FORWARD_EVERY

    def close(self) -> None:
        """Leave the rest to another process."""
        self._lock.release()

    def report(self) -> TrackerReport:
        """Say how the run stands on this tracker now."""
        return report_of(self.hooks.name, self.state, self._run.folder)

    def _take_over(self) -> bool:
        """Take the lock and go on from what the process before this one has noted."""
        if not self._lock.acquire():
            return False
        self.state = load_state(self._run.folder)
        self._reader = JournalReader(self._run.folder.parent, self.state.cursor)
        self._lost = self.state.lost
        self._adapter.changes.update(self.state.changes)
        if self.state.is_ended:
            self._lock.release()
            self.ended.set()
        return True

    def _start(self) -> None:
        outcome = self.hooks.start_run(self.run)
        if outcome.kind != "done":
            self._retry(outcome)
            self.start_settled.set()
            return
        self.state.url = self.hooks.url(self.run) or self.state.url
        self._succeeded()
        save_state(self._run.folder, self.state)  # children of the run's process read its URL
        self.started.set()
        self.start_settled.set()

    def _read_next(self) -> None:
        """Read entries until there are enough records for a batch; entries are never divided."""
        self._has_read_all = False
        while len(self._pending) < self.capabilities.largest_batch:
            entries = self._reader.read(100)
            for position, entry in entries:
                self._read.append(position)
                self._lost += dropped_in(entry)
                if entry.kind == "end":
                    self._end = self._end or entry
                for record in records_of(entry, position.writer, all_ranks=self._all_ranks):
                    self._adapt(record)
            if not entries:
                self._has_read_all = True
                return

    def _adapt(self, record: Record) -> None:
        try:
            self._pending.extend(self._adapter.adapt(record))
        except Exception as error:  # a disk that is full, say: what follows must not wait for it
            self._quarantine([record], f"it cannot be fitted: {type(error).__name__}: {error}")

    def _send_next(self) -> None:
        """Send one batch; what is not taken now stays pending, in its order."""
        batch = self._take_batch()
        count = len(batch)
        left, outcome = self._send(batch)
        if left:
            self._pending.extendleft(reversed(left))
            self._retry(outcome)
            return
        self._succeeded()
        if self._pending:
            return
        self._acknowledge()
        if self._end is None:
            save_state(self._run.folder, self.state)
            if count < self.capabilities.largest_batch:
                self._due = time.monotonic() + self._gather()

    def _take_batch(self) -> list[Record]:
        """Take what one call may get: files are few in each, since one may take seconds."""
        batch: list[Record] = []
        files = 0
        while self._pending and len(batch) < self.capabilities.largest_batch:
            files += isinstance(self._pending[0], Artifact)
            if files > MOST_FILES:
                break
            batch.append(self._pending.popleft())
        return batch

    def _gather(self) -> float:
        """Give the seconds to wait for more records: next to none when the run has ended."""
        return 0.002 if self._is_hurried else GATHER

    def _acknowledge(self) -> None:
        """Move the cursor behind the entries whose records the tracker has, or has refused."""
        for position in self._read:
            self.state.cursor[position.writer] = position.sequence
        self.state.lost = self._lost + self._reader.lost
        self._read.clear()

    def _send(self, records: list[Record]) -> tuple[list[Record], Outcome]:
        """Send records; a batch that is refused is halved down to the record at fault.

        Returns:
            The records that have to be sent again later, and why.
        """
        sequences = [position.sequence for position in self._read] or [0]
        batch = Batch.of(tuple(records), min(sequences), max(sequences))
        outcome = self.hooks.log(self.run, batch)
        if outcome.kind == "done":
            self.state.delivered += len(records)
            return [], outcome
        if outcome.kind == "later":
            return records, outcome
        rejected = [record for record in records if _is_among(record, outcome.records)]
        if rejected:
            self._quarantine(rejected, outcome.reason)
            rest = [record for record in records if not _is_among(record, rejected)]
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
            self.state.quarantined += 1
            quarantine(self._run.folder, record, reason)
            logger.warning(
                "experiment tracker %r refused %s %r: %s",
                self.hooks.name,
                type(record).__name__.lower(),
                getattr(record, "key", getattr(record, "name", "")),
                reason,
            )

    def _finish(self, end: Entry) -> None:
        run = attrs.evolve(self.run, ended_at=end.timestamp)
        failure: Failure | None = end.data
        outcome = self.hooks.fail_run(run, failure) if failure else self.hooks.end_run(run)
        if outcome.kind != "done":
            self._retry(outcome)
            return
        self.state.url = self.hooks.url(run) or self.state.url
        self.state.is_ended = True
        if is_offline(self.hooks.tracker):
            self.state.is_kept_offline = True
            mark_as_kept_offline(self._run.folder.parent)
        self._acknowledge()
        self._succeeded()
        save_state(self._run.folder, self.state)
        self._lock.release()
        self.ended.set()

    def _retry(self, outcome: Outcome) -> None:
        self.state.problem = outcome.reason
        now = time.monotonic()
        self._due = now + self._backoff.delay(outcome.after)
        self._not_before = self._due if outcome.after else 0.0
        save_state(self._run.folder, self.state)
        if self._end is not None:
            self.retry_failed.set()

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._due = self._not_before = 0.0
        self.state.problem = ""
        self.state.changes = dict(self._adapter.changes)


def _is_among(record: Record, others: Sequence[Any]) -> bool:
    """Tell whether a record is one of others, which a plugin gives and which may be anything."""
    return any(o is record or (type(o) is type(record) and o == record) for o in others)


def records_of(entry: Entry, writer: str, *, all_ranks: bool) -> list[Record]:
    """Give an entry's records; of children of a rank above 0 marked by it, or none."""
    rank = rank_of_child(writer)
    if not rank:
        return entry.records()
    return [_of_rank(record, rank) for record in entry.records()] if all_ranks else []


def _of_rank(record: Record, rank: int) -> Record:
    if isinstance(record, Artifact):
        return attrs.evolve(record, name=f"rank{rank}/{record.name}")
    return attrs.evolve(record, key=f"rank{rank}/{record.key}")


def report_of(tracker: str, state: DeliveryState, folder: Path) -> TrackerReport:
    """Say how a run stands on a tracker, from what is noted on disk.

    Args:
        tracker: The tracker's name.
        state: The state of the delivery.
        folder: The tracker's folder of the run.
    """
    pending, lost = 0, state.lost
    if not state.is_ended:
        reader = JournalReader(folder.parent, state.cursor)
        while entries := reader.read(1000):
            pending += sum(len(entry.records()) for _, entry in entries)
            lost += sum(dropped_in(entry) for _, entry in entries)
        lost += reader.lost
    return TrackerReport(
        tracker=tracker,
        url=state.url,
        is_complete=state.is_ended,
        delivered=state.delivered,
        pending=pending,
        quarantined=state.quarantined,
        changes=state.changes,
        problem=state.problem,
        lost=lost,
        is_kept_offline=state.is_kept_offline,
    )
