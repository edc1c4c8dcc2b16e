"""How does a batch reach a backend that refuses some of it, or all of it for a while?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from trackyard.contract.records import Artifact, Batch, Record, Run
from trackyard.delivery.aside import Aside, put_aside, say_passed
from trackyard.delivery.packing import Packing
from trackyard.delivery.sizes import size_as_sent, size_of_file
from trackyard.delivery.state import DeliveryState
from trackyard.hooks.dispatch import Outcome, TrackerHooks

# Most files that one call gets: a hook has a deadline, and a slow server takes them one by one.
MOST_FILES = 20
# Most bytes of records that one call gets, as they are sent; files come on top.
MOST_BYTES = 1_000_000
# After so many tries with one batch the record at fault is searched.
_TRIES = {"later": 3, "broken": 2}
# After so many records that were not taken, one by one and with none taken between, it may well be
# the tracker that is at fault: it gets a pause, and twice as many the next time.
_IN_A_ROW = {"later": 3, "broken": 10}
# It goes past them after so many doublings, if others wait behind them.
_MOST_ALLOWANCE = 8
# So many records of which a tracker says the same are no refusals, but an outage of its.
_SAME_MESSAGE = 10
# What is smaller and too large for somebody on the way meets a gateway that is broken.
_LEAST_LARGE = 65_536
# Bytes of files for which a hook gets a second more.
_BYTES_A_SECOND = 1_000_000

Numbered = tuple[int, Record]


class Sender:
    """Sends batches of one run, and finds the record at fault where one is not taken.

    Args:
        hooks: The tracker's hooks.
        state: Where delivered and quarantined records are counted.
        aside: Where records wait that others go past.
        largest: Most records of a batch.
        largest_request: Most bytes of a batch, with its files; None where the backend has no limit.
        ask: Asks the backend whether it is there, and how far a run has come that it counts; None
            where asking would change the run.
        keeps_cursor: It counts.
    """

    def __init__(
        self,
        hooks: TrackerHooks,
        state: DeliveryState,
        aside: Aside,
        largest: int,
        *,
        largest_request: int | None = None,
        ask: Callable[[], Outcome] | None = None,
        keeps_cursor: bool = False,
    ) -> None:
        self.state = state
        self.largest = largest
        self._counts_files = largest_request is not None
        self._most_bytes = min(MOST_BYTES, largest_request or MOST_BYTES)
        self._hooks = hooks
        self._folder = aside.folder
        self.packing = Packing(aside.folder)
        self._aside = aside
        self._ask = ask
        self._keeps_cursor = keeps_cursor
        self._tries = 0  # failures in a row of the batch that begins with this record:
        self._suspected = 0
        self._allowance = 1  # times what stands in `_IN_A_ROW`
        self._not_taken: list[tuple[Numbered, Outcome]] = []  # since the last one that was
        self._said = Counter[str]()  # why records were refused since the last one that was taken
        self._largest_file = 0  # that was taken
        self._taken: list[int] = []  # the sizes of what was taken while a batch is halved

    def take_batch(self, pending: deque[Numbered]) -> list[Numbered]:
        """Take from a deque what one call may get."""
        batch: list[Numbered] = []
        files = size = 0
        while pending and len(batch) < self.largest:
            number, record = pending[0]
            if isinstance(record, Artifact):
                files += 1
                record = self.packing.packed(record)
                pending[0] = number, record
            size += size_as_sent(record)
            size += size_of_file(record) if self._counts_files else 0
            if batch and (files > MOST_FILES or size > self._most_bytes):
                break
            batch.append(pending.popleft())
        return batch

    def send(
        self, run: Run, records: list[Numbered], *, is_followed: bool = False
    ) -> tuple[list[Numbered], Outcome]:
        """Send records; where they are not taken again and again the one at fault is searched.

        Args:
            run: The run.
            records: What is sent.
            is_followed: Others wait behind them.

        Returns:
            The records that have to be sent again later, and why.
        """
        outcome = self._call(run, records)
        if self._suspected != records[0][0]:
            self._suspected, self._tries = records[0][0], 0
        self._tries += outcome.kind in _TRIES
        self._taken.clear()
        if outcome.kind not in _TRIES:
            return self._search(run, records, outcome, is_followed=is_followed)
        if self._tries < _TRIES[outcome.kind]:
            return self._without_held(records, attrs.evolve(outcome, kind="later"))
        if outcome.kind == "later":
            if self._ask is None:
                return records, outcome
            there = self._ask()
            if there.kind != "done":
                return records, there
        return self._search(run, records, outcome, is_followed=is_followed)

    def send_alone(self, run: Run, number: int, record: Record) -> Outcome:
        """Send one record that has waited; the outcome `done` also where only the answer was lost.

        Args:
            run: The run.
            number: Its number.
            record: The record.
        """
        outcome = self._call(run, [(number, record)])
        if outcome.kind == "done":
            self.state.delivered += 1
        elif self._keeps_cursor:
            outcome = self._without_held([(number, record)], outcome)[1]
        return outcome

    def _call(self, run: Run, records: list[Numbered]) -> Outcome:
        batch = Batch.of(tuple(record for _, record in records), records[0][0], records[-1][0])
        more = sum(map(size_of_file, batch.artifacts)) / _BYTES_A_SECOND
        outcome = self._hooks.log(attrs.evolve(run, deadline=run.deadline + more), batch)
        if outcome.kind == "done":
            self._largest_file = max([self._largest_file, *map(size_of_file, batch.artifacts)])
        return outcome

    def _search(
        self, run: Run, records: list[Numbered], outcome: Outcome, *, is_followed: bool
    ) -> tuple[list[Numbered], Outcome]:
        """Halve what is not taken until each record at fault is alone; say what becomes of it."""
        left, result = self._settle(run, records, outcome)
        found, self._not_taken = self._not_taken, []
        numbers = {number for (number, _), _ in found}
        left = [one for one in left if one[0] not in numbers]
        if outcome.kind != "done" and not left and not found and self._taken:
            self._make_smaller(records, outcome)
        has_stopped = bool(found) and result.kind != "done"
        is_hopeless = self._allowance > _MOST_ALLOWANCE and is_followed
        if is_hopeless or (not has_stopped and (self._taken or is_followed or _are_broken(found))):
            left = [*self._pass_by(found), *left]
        else:
            left = [*(one for one, _ in found), *left]
            result = found[0][1] if found else result
        if not left:
            return [], Outcome()
        kind = result.kind if result.kind == "deleted" else "later"
        return sorted(left, key=lambda one: one[0]), attrs.evolve(result, kind=kind)

    def _make_smaller(self, records: list[Numbered], outcome: Outcome) -> None:
        """Send less at a time from now on: no record was at fault, all of them were too much."""
        most = max(self._taken)
        if outcome.kind == "large":
            self._most_bytes = max(1, sum(map(size_as_sent, (r for _, r in records[:most]))))
        else:
            self.largest = max(1, most)

    def _settle(
        self, run: Run, records: list[Numbered], outcome: Outcome
    ) -> tuple[list[Numbered], Outcome]:
        """Do what the outcome of sending these records asks for."""
        if outcome.kind == "done":
            self.state.delivered += len(records)
            self._taken.append(len(records))
            self._allowance = 1
            passed, self._not_taken = self._pass_by(self._not_taken), []
            self._said.clear()
            return passed, outcome
        if outcome.kind == "deleted":
            return records, outcome
        rejected = [one for one in records if _is_among(one[1], outcome.records)]
        if rejected:
            for _, record in rejected:
                put_aside(self._hooks.name, self.state, self._folder, record, outcome.reason)
            return self._resend(run, [one for one in records if one not in rejected])
        if len(records) > 1:
            return self._halve(run, records, outcome)
        return self._settle_one(records, outcome)

    def _settle_one(
        self, records: list[Numbered], outcome: Outcome
    ) -> tuple[list[Numbered], Outcome]:
        """Take a record for one that may be at fault; stop where too many are one by one."""
        records, outcome = self._without_held(records, outcome)
        if not records:
            return [], outcome
        size = size_as_sent(records[0][1]) + size_of_file(records[0][1])
        if outcome.kind == "large" and size > max(_LEAST_LARGE, self._largest_file):
            why = f"{outcome.reason}: it has {size} bytes; let more through there, as by nginx's "
            why += "client_max_body_size, and type: trackyard sync --refused"
            put_aside(self._hooks.name, self.state, self._folder, records[0][1], why)
            return [], Outcome()
        self._not_taken.append((records[0], outcome))
        most = self._allowance * min(_IN_A_ROW.get(o.kind, 3) for _, o in self._not_taken)
        if len(self._not_taken) >= most:
            self._allowance *= 2
            return records, attrs.evolve(outcome, kind="later")
        return [], Outcome()

    def _halve(
        self, run: Run, records: list[Numbered], why: Outcome
    ) -> tuple[list[Numbered], Outcome]:
        records, why = self._without_held(records, why)
        if not records:
            return [], why
        middle = (len(records) + 1) // 2
        left, first = self._resend(run, records[:middle])
        if left:  # the backend has gone away meanwhile: keep the order, try again later
            return [*left, *records[middle:]], first
        return self._resend(run, records[middle:])

    def _resend(self, run: Run, records: list[Numbered]) -> tuple[list[Numbered], Outcome]:
        return self._settle(run, records, self._call(run, records)) if records else ([], Outcome())

    def _without_held(
        self, records: list[Numbered], why: Outcome
    ) -> tuple[list[Numbered], Outcome]:
        """Leave out what the backend has in spite of an error: only its answer was lost."""
        if not self._keeps_cursor or self._ask is None:
            return records, why
        outcome = self._ask()
        if outcome.kind != "done":
            return records, attrs.evolve(why, kind="later")
        left = [one for one in records if one[0] > (outcome.value or 0)]
        self.state.delivered += len(records) - len(left)
        return left, why if left else Outcome()

    def _pass_by(self, found: list[tuple[Numbered, Outcome]]) -> list[Numbered]:
        """Refuse these records, or let them wait; give those that have to keep their place.

        What the backend itself says of a record is a refusal; what it says of many in a row, word
        for word, is of itself.
        """
        self._said.update(outcome.reason for _, outcome in found)
        kept = []
        for (number, record), outcome in found:
            is_refused = outcome.kind in ("broken", "rejected")
            if is_refused and self._said[outcome.reason] < _SAME_MESSAGE:
                put_aside(self._hooks.name, self.state, self._folder, record, outcome.reason)
            elif self._aside.add(record, number, outcome.reason):
                say_passed(self._hooks.name, self._folder, record, outcome.reason)
            else:
                kept.append((number, record))
        return kept


def _are_broken(found: list[tuple[Numbered, Outcome]]) -> bool:
    """Tell whether records are at fault by what was said of them alone: there is no outage."""
    return bool(found) and all(outcome.kind in ("broken", "rejected") for _, outcome in found)


def _is_among(record: Record, others: Sequence[Any]) -> bool:
    """Tell whether a record is one of others, which a plugin gives and which may be anything."""
    return any(o is record or (type(o) is type(record) and o == record) for o in others)
