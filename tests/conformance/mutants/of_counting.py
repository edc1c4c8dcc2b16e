"""Flavors that are wrong about what their backend holds already, or cannot hold, each one."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from mutants.counting import CursorLedger, RebuiltLedger
from mutants.ledger import Ledger
from trackyard.contract import Capabilities, Metric, Run, flavor, hookimpl


@flavor
class ReturnsNoCursor(CursorLedger):
    """The cursor is written, and the start does not return it."""

    caught_by = "test_start_returns_the_cursor"

    def cursor(self, run):
        return None


@flavor
class ReturnsItsFirstCursor(CursorLedger):
    """What the backend answered once is taken for true as long as the run lives."""

    caught_by = "test_lost_answer_duplicates_nothing"

    _first: Any = attrs.field(init=False, default=None)

    def cursor(self, run):
        if self._first is None:
            self._first = super().cursor(run) or 0
        return self._first


@flavor
class CountsMetricsForACursor(CursorLedger):
    """The number of the run's metrics is taken for the number of its last record."""

    caught_by = "test_delivery_from_the_first_record_again_changes_nothing"

    def cursor(self, run):
        return sum(isinstance(record, Metric) for record in self.tracker_read_run(run))


@flavor
class HasOneCursorForAllRuns(CursorLedger):
    """The cursor of the run before it is taken for that of a new run, which loses its records."""

    caught_by = "test_start_returns_the_cursor"

    _last: ClassVar[int | None] = None

    def cursor(self, run):
        return type(self)._last

    def kept(self, run, batch):
        yield from super().kept(run, batch)
        type(self)._last = batch.last_sequence


@flavor
class ClaimsThatResendsAreNatural(CursorLedger):
    """A backend that keeps what comes twice is declared as one that does not."""

    caught_by = "test_batch_that_comes_twice_changes_nothing"

    capabilities: ClassVar[Capabilities] = Capabilities(nests=True)


@flavor
class RebuildsOnTopOfTheOld(RebuiltLedger):
    """A start that comes again adds to what is there, and all of it is sent once more."""

    caught_by = "test_lost_answer_duplicates_nothing"

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        Ledger.tracker_start_run(self, run)


@flavor
class RebuildsAtItsEnd(RebuiltLedger):
    """An end in another process begins the run anew, and its records are gone."""

    caught_by = "test_killed_in_the_end_hook"

    def end(self, run, status):
        if run.attached:
            self.path(run).unlink()
        super().end(run, status)


@flavor
class FillsGaps(CursorLedger):
    """A row without a metric gets that metric's last value again."""

    caught_by = "test_not_a_number_takes_nothing_with_it"

    _row: dict[str, float] = attrs.field(init=False, factory=dict)

    @hookimpl
    def tracker_log(self, run, batch):
        filled = []
        for step, timestamp, values in batch.rows():
            self._row |= values
            filled += [Metric(key, value, step, timestamp) for key, value in self._row.items()]
        super().tracker_log(run, attrs.evolve(batch, metrics=tuple(filled)))
