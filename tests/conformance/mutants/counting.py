"""Correct flavors on backends that keep a point twice when it comes twice: the other twins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from mutants.ledger import Ledger
from trackyard.contract import Batch, Capabilities, Capture, Record, Run, Tag, flavor, hookimpl


@flavor
class CursorLedger(Ledger):
    """Keep each point that comes, and beside it how far the run's records have come."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotence="cursor", not_a_number="drop", nests=True, shared_runs=True
    )

    @hookimpl
    def tracker_start_run(self, run: Run) -> int | None:
        super().tracker_start_run(run)
        return self.cursor(run)

    def cursor(self, run: Run) -> int | None:
        """Give the number of the last record that the backend has."""
        stored = [r for r in self.tracker_read_run(run) if isinstance(r, Tag)]
        return next((int(tag.value) for tag in stored if tag.key == "trackyard.cursor"), None)

    def place(self, number: int, *point: Any) -> tuple[Any, ...]:
        return "metric", number

    def write(self, run: Run, *lines: tuple[Any, ...]) -> None:
        """Write all lines or none: half of a batch, without its cursor, would come twice."""
        path = self.path(run)
        before = path.stat().st_size if path.exists() else 0
        try:
            super().write(run, *lines)
        except OSError:
            os.truncate(path, before)
            raise

    def kept(self, run: Run, batch: Batch) -> Iterator[tuple[Any, ...]]:
        """Write the cursor with the records, in one go."""
        yield from super().kept(run, batch)
        yield "tag", "trackyard.cursor", str(batch.last_sequence)


@flavor
class RebuiltLedger(Ledger):
    """Keep each point that comes, and begin the run's file anew at each start."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        idempotence="rebuild", acknowledges="end", not_a_number="drop"
    )

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        self.path(run).unlink(missing_ok=True)
        super().tracker_start_run(run)

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        yield from super().tracker_read_run(run)
        natively = attrs.evolve(run, id=f"{run.id}.native")
        if self.path(natively).exists():
            yield from super().tracker_read_run(natively)

    def place(self, number: int, *point: Any) -> tuple[Any, ...]:
        return "metric", number

    def active(self, run: Run, capture: Capture | None) -> Any:
        """Keep native calls in a file that no start begins anew: only the SDK has them."""
        return super().active(attrs.evolve(run, id=f"{run.id}.native"), capture)
