"""How does a batch reach a backend that refuses some of it, or all of it for a while?"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.records import Artifact, Batch, Metric, Record, Run
from trackyard.delivery.state import DeliveryState, quarantine
from trackyard.hooks.dispatch import Outcome, TrackerHooks

logger = logging.getLogger("trackyard")

# Most files that one call gets: a hook has a deadline, and a slow server takes them one by one.
MOST_FILES = 20
# Most characters of texts that one call gets.
MOST_CHARACTERS = 1_000_000
# After so many records were refused one after the other, with none taken, it may well be the
# tracker that is at fault: it gets a pause, and twice as many the next time.
_REFUSED_IN_A_ROW = 10
# Bytes of files for which a hook gets a second more.
_BYTES_A_SECOND = 1_000_000

Numbered = tuple[int, Record]


class Sender:
    """Sends batches of one run, and finds the record at fault where one is refused.

    Args:
        hooks: The tracker's hooks.
        state: Where delivered and quarantined records are counted.
        folder: The tracker's folder of the run.
        largest: Most records of a batch.
        held: Asks a backend that keeps a cursor how far it has come; None where it keeps none.
    """

    def __init__(
        self,
        hooks: TrackerHooks,
        state: DeliveryState,
        folder: Path,
        largest: int,
        held: Callable[[], Outcome] | None = None,
    ) -> None:
        self.state = state
        self.largest = largest
        self._hooks = hooks
        self._folder = folder
        self._held = held
        self._refused_in_a_row = 0
        self._allowance = _REFUSED_IN_A_ROW
        self._taken_at_once = 0  # the most records of a call while a batch is halved
        self._suspected = 0  # number of the first record of a batch that was refused once

    def take_batch(self, pending: deque[Numbered]) -> list[Numbered]:
        """Take from a deque what one call may get."""
        batch: list[Numbered] = []
        files = characters = 0
        while pending and len(batch) < self.largest:
            record = pending[0][1]
            if not isinstance(record, Metric):  # which is small, and often there
                files += isinstance(record, Artifact)
                characters += _length(record)
                if batch and (files > MOST_FILES or characters > MOST_CHARACTERS):
                    break
            batch.append(pending.popleft())
        return batch

    def send(self, run: Run, records: list[Numbered]) -> tuple[list[Numbered], Outcome]:
        """Send records; a batch that is refused is tried once more and then halved.

        Args:
            run: The run.
            records: Records with their numbers, in their order.

        Returns:
            The records that have to be sent again later, and why.
        """
        outcome = self._call(run, records)
        if outcome.kind == "broken" and self._suspected != records[0][0]:
            self._suspected = records[0][0]
            return self._without_held(records, attrs.evolve(outcome, kind="later"))
        refused, self._taken_at_once = self.state.quarantined, 0
        left, result = self._settle(run, records, outcome)
        if outcome.kind == "broken" and not left and self.state.quarantined == refused:
            # No record is at fault: it was too large.
            self.largest = max(1, self._taken_at_once)
        return left, result

    def _call(self, run: Run, records: list[Numbered]) -> Outcome:
        batch = Batch.of(tuple(record for _, record in records), records[0][0], records[-1][0])
        more = sum(_size(artifact) for artifact in batch.artifacts) / _BYTES_A_SECOND
        return self._hooks.log(attrs.evolve(run, deadline=run.deadline + more), batch)

    def _settle(
        self, run: Run, records: list[Numbered], outcome: Outcome
    ) -> tuple[list[Numbered], Outcome]:
        """Do what the outcome of sending these records asks for."""
        if outcome.kind == "done":
            self.state.delivered += len(records)
            self._taken_at_once = max(self._taken_at_once, len(records))
            self._refused_in_a_row, self._allowance = 0, _REFUSED_IN_A_ROW
            return [], outcome
        if outcome.kind == "later":
            return self._without_held(records, outcome)
        rejected = [one for one in records if _is_among(one[1], outcome.records)]
        if rejected:
            self._quarantine([record for _, record in rejected], outcome.reason)
            return self._resend(run, [one for one in records if one not in rejected])
        if len(records) > 1:
            return self._halve(run, records, outcome)
        if self._refused_in_a_row >= self._allowance:
            self._refused_in_a_row, self._allowance = 0, 2 * self._allowance
            return records, attrs.evolve(outcome, kind="later")
        self._refused_in_a_row += 1
        self._quarantine([records[0][1]], outcome.reason)
        return [], Outcome()

    def _halve(
        self, run: Run, records: list[Numbered], why: Outcome
    ) -> tuple[list[Numbered], Outcome]:
        records, why = self._without_held(records, why)
        if why.kind == "later":
            return records, why
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
        if self._held is None:
            return records, why
        outcome = self._held()
        if outcome.kind != "done":
            return records, attrs.evolve(why, kind="later")
        left = [one for one in records if one[0] > (outcome.value or 0)]
        self.state.delivered += len(records) - len(left)
        return left, why if left else Outcome()

    def _quarantine(self, records: list[Record], reason: str) -> None:
        for record in records:
            put_aside(self._hooks.name, self.state, self._folder, record, reason)


def put_aside(
    tracker: str, state: DeliveryState, folder: Path, record: Record, reason: str
) -> None:
    """Quarantine a record that a tracker will never take, and say so.

    Args:
        tracker: The tracker's name.
        state: Where it is counted.
        folder: The tracker's folder in the run's.
        record: The record.
        reason: Why it is refused.
    """
    state.quarantined += 1
    quarantine(folder, record, reason)
    logger.warning(
        "experiment tracker %r refused %s %r: %s",
        tracker,
        type(record).__name__.lower(),
        getattr(record, "key", getattr(record, "name", "")),
        reason,
    )


def _length(record: Record) -> int:
    value = getattr(record, "value", None)
    return len(value) if isinstance(value, str) else 0


def _size(artifact: Artifact) -> int:
    try:
        return artifact.path.stat().st_size
    except OSError:
        return 0


def _is_among(record: Record, others: Sequence[Any]) -> bool:
    """Tell whether a record is one of others, which a plugin gives and which may be anything."""
    return any(o is record or (type(o) is type(record) and o == record) for o in others)
