"""Which records of a run come next for a tracker, and under which numbers?"""

from __future__ import annotations

from collections import deque

from trackyard.contract.records import Record, Run
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.aside import put_aside
from trackyard.delivery.sending import Numbered
from trackyard.delivery.state import DeliveryState
from trackyard.journal.children import as_counted
from trackyard.journal.ending import is_of_recovery
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.reader import JournalReader, Position

# Entries that are read at a time: each read costs a look at the file, and each entry memory.
_ENTRIES = 500


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
    """

    def __init__(
        self,
        tracker: str,
        run: Run,
        adapter: Adapter,
        state: DeliveryState,
        *,
        all_ranks: bool = False,
    ) -> None:
        self._all_ranks = all_ranks
        self.pending: deque[Numbered] = deque()  # adapted, and not yet delivered
        self.end: Entry | None = None
        self.end_of_recovery: Entry | None = None
        self.has_read_all = False
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
        if state.plan:
            self._read_again([(writer, last) for writer, last in state.plan])

    def read(self, most: int) -> None:
        """Read entries until there are enough records for a batch; entries are never divided."""
        self.has_read_all = False
        while len(self.pending) < most:
            entries = [self._ahead.popleft()] if self._ahead else self._reader.read(_ENTRIES)
            for position, entry in entries:
                self._take(position, entry)
            if not entries:
                self.has_read_all = True
                return

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
        counted = as_counted(entry, position.writer, all_ranks=self._all_ranks)
        for record in counted.records() if counted is not None else ():
            self._adapt(record)

    def _adapt(self, record: Record) -> None:
        try:
            for adapted in self._adapter.adapt(record):
                self._number += 1
                if self._number > self._held:
                    self.pending.append((self._number, adapted))
                else:
                    self._state.delivered += 1
        except Exception as error:  # a disk that is full, say: what follows must not wait for it
            reason = f"it cannot be fitted: {type(error).__name__}: {error}"
            put_aside(self._tracker, self._state, self._folder, record, reason)

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
