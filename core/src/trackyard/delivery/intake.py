"""Which records of a run come next for a tracker, and under which numbers?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from itertools import chain

from trackyard.contract.records import Record, Run
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.aside import put_aside
from trackyard.delivery.sending import Numbered
from trackyard.delivery.state import DeliveryState
from trackyard.journal.children import as_counted
from trackyard.journal.ending import is_of_recovery
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.reader import JournalReader, Position
from trackyard.journal.sessions import session_of

# Entries that are read at a time: each read costs a look at the file, and each entry memory.
_ENTRIES = 500
# Seconds for which calls of another SDK wait: the code may be about to call the tracker's own.
_GRACE = 1.0


class Intake:
    """Reads the journal from the tracker's cursor, and keeps what is not delivered yet.

    Records are numbered from 1 in the order in which they are sent. Who goes on after a crash
    gives the same records the same numbers.

    Args:
        tracker: The tracker's name, for messages.
        run: The run as this tracker gets it.
        adapter: Fits records to the backend.
        state: The cursor, which is moved by `acknowledge` alone.
        all_ranks: Take what children of a rank above 0 have logged, under `rank1/` and so on.
        has_native_calls: The code may log by the tracker's own SDK, too.
        is_patient: Where there is no memory for a record, try again later; else refuse it.
    """

    def __init__(
        self,
        tracker: str,
        run: Run,
        adapter: Adapter,
        state: DeliveryState,
        *,
        all_ranks: bool = False,
        has_native_calls: bool = False,
        is_patient: bool = True,
    ) -> None:
        self._is_patient = is_patient
        self._all_ranks = all_ranks
        self._has_native_calls = has_native_calls
        self.pending: deque[Numbered] = deque()  # adapted, and not yet delivered
        self.end: Entry | None = None
        self.end_of_recovery: Entry | None = None
        self.has_read_all = False
        self.awaits_context = False
        self.session = state.session  # the latest one that was seen, whose end counts
        self._tracker = tracker
        self._folder = run.folder
        self._adapter = adapter
        self._state = state
        self._reader = JournalReader(run.folder.parent, state.cursor)
        # The entries that the pending records come from: of which writer, and up to which one.
        self._read: list[tuple[str, int]] = []
        self._number = state.number
        self._held = self._lost = 0
        self._ahead: deque[tuple[Position, Entry]] = deque()
        if state.cursor and adapter.depends_on_earlier:
            self._remember()
        if state.plan:
            self._read_again([(writer, last) for writer, last in state.plan])

    def read(self, most: int) -> None:
        """Read entries until there are enough records for a batch; entries are never divided."""
        self.has_read_all = False
        while len(self.pending) < most:
            entries = self._next_ahead() if self._ahead else self._reader.read(_ENTRIES)
            if not entries:
                self.has_read_all = True
                return
            self._look_for_native_calls(chain(entries, self._ahead))
            for index, (position, entry) in enumerate(entries):
                if self._waits(entry, entries[index:]):
                    self._ahead.extendleft(reversed(entries[index:]))
                    self._ahead.extend(self._reader.read(_ENTRIES))
                    return
                self._take(position, entry)

    def is_planned(self) -> bool:
        """Note in the state what is about to be sent; True where that stood there already."""
        if self._state.plan == self._read:
            return True
        self._state.plan = [*self._read]
        return False

    def skip_held(self, held: int) -> None:
        """Leave out the records up to a number, which the backend has already."""
        self._held = held
        while self.pending and self.pending[0][0] <= held:
            self.pending.popleft()
            self._state.delivered += 1

    def pass_number(self, number: int) -> None:
        """Leave a number to a record that was passed by before, and that the tracker has now."""
        self._number = self._state.number = number

    def acknowledge(self) -> None:
        """Move the cursor behind the entries whose records the tracker has, or has refused."""
        self._state.cursor.update(self._read)  # of one writer the last counts
        self._state.number = self._number
        self._state.plan = []
        self._state.lost += self._lost + self._reader.lost
        self._lost, self._reader.lost = 0, 0
        self._read.clear()

    def _take(self, position: Position, entry: Entry) -> None:
        session = session_of(position.writer)
        if session > self.session:
            self.session, self.end, self.end_of_recovery = session, None, None
        if entry.kind == "end" and session < self.session:
            return  # the run was resumed behind it
        if entry.kind == "end":
            # The cursor never passes it: who goes on after a failure has to find it again.
            if is_of_recovery(position.writer):
                self.end_of_recovery = self.end_of_recovery or entry
            else:
                self.end = self.end or entry
            return
        if self._read and self._read[-1][0] == position.writer:
            self._read[-1] = position.writer, position.sequence
        else:
            self._read.append((position.writer, position.sequence))
        self._lost += dropped_in(entry)
        if entry.kind == "context":
            self.awaits_context = bool(entry.data.get("is_awaited"))
        counted = as_counted(entry, position.writer, all_ranks=self._all_ranks)
        if counted is None or self._is_left_out(counted):
            return
        for record in counted.records():
            self._adapt(record)

    def _next_ahead(self) -> list[tuple[Position, Entry]]:
        """Give the entries of one position, which the cursor passes together."""
        entries = [self._ahead.popleft()]
        while self._ahead and self._ahead[0][0] == entries[0][0]:
            entries.append(self._ahead.popleft())
        return entries

    def _look_for_native_calls(self, entries: Iterable[tuple[Position, Entry]]) -> None:
        if not self._state.logs_natively and any(
            entry.held_by is not None and entry.held_by.source == self._tracker
            for _, entry in entries
        ):
            self._state.logs_natively = True

    def _waits(self, entry: Entry, following: list[tuple[Position, Entry]]) -> bool:
        """Tell whether it is too early to say if the tracker gets what another SDK has logged."""
        holder = entry.held_by
        if holder is None or not self._has_native_calls or self._state.logs_natively:
            return False
        has_end = any(later.kind == "end" for _, later in chain(following, self._ahead))
        age = time.time_ns() - holder.captured_at
        return holder.source != self._tracker and 0 <= age < _GRACE * 1e9 and not has_end

    def _is_left_out(self, entry: Entry) -> bool:
        """Tell whether the tracker is not sent an entry that calls of an SDK have logged.

        It has what its own SDK has put into this very run.
        """
        holder, state = entry.held_by, self._state
        if state.is_of_another_sdk(holder, self._tracker):
            return True
        if not state.is_put_there(holder, self._tracker):
            return False
        records = entry.records()
        if self._adapter.depends_on_earlier:
            self._adapter.remember(records, is_native=True)
        count = len(records)
        self._number += count
        state.native += count
        return True

    def _adapt(self, record: Record) -> None:
        try:
            for adapted in self._adapter.adapt(record):
                self._number += 1
                if self._number > self._held:
                    self.pending.append((self._number, adapted))
                else:
                    self._state.delivered += 1
        except Exception as error:  # a disk that is full, say: what follows must not wait for it
            if self._is_patient and isinstance(error, MemoryError):
                raise
            reason = f"it cannot be fitted: {type(error).__name__}: {error}"
            put_aside(self._tracker, self._state, self._folder, record, reason)

    def _remember(self) -> None:
        """Let the adapter know what the records before the cursor have become."""
        cursor, tracker = self._state.cursor, self._tracker
        reader = JournalReader(self._folder.parent, wants=lambda writer: writer in cursor)
        while entries := reader.read(_ENTRIES):
            for position, entry in entries:
                if position.sequence > cursor.get(position.writer, -1):
                    continue
                counted = as_counted(entry, position.writer, all_ranks=self._all_ranks)
                if counted is not None:
                    is_native = counted.held_by is not None and counted.held_by.source == tracker
                    self._adapter.remember(counted.records(), is_native=is_native)

    def _read_again(self, plan: list[tuple[str, int]]) -> None:
        """Take the entries that were being sent when the process before this one was stopped.

        They come first and in their order: the journal may have grown meanwhile.
        """
        waiting: dict[str, deque[tuple[Position, Entry]]] = {}
        while entries := self._reader.read(100):
            for position, entry in entries:
                waiting.setdefault(position.writer, deque()).append((position, entry))
            last_read = {writer: read[-1][0].sequence for writer, read in waiting.items()}
            if all(last_read.get(writer, -1) >= last for writer, last in plan):
                break
        for writer, last in plan:
            entries_of_writer = waiting.get(writer, deque())
            while entries_of_writer and entries_of_writer[0][0].sequence <= last:
                self._take(*entries_of_writer.popleft())
        for left in waiting.values():
            self._ahead.extend(left)
