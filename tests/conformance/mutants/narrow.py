"""A correct flavor on a backend that refuses much, and says so: the twin of `of_limits`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from mutants.ledger import Ledger
from trackyard.contract import Batch, Capabilities, Metric, Record, Run, flavor, hookimpl

LIMITS = {
    "artifact_pattern": r"[^?#%\t]+",
    "points_per_step": "one",
    "least_step": 0,
    "needs_step": True,
    "time_resolution": None,
    "largest_request": 12_000,
    "step_rule": "integer",
}


@flavor
class NarrowLedger(Ledger):
    """Keep each run in a file, in which a key has one point at a step."""

    capabilities: ClassVar[Capabilities] = Capabilities(**LIMITS)  # type: ignore[arg-type]

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        texts = [[record.key, record.value] for record in (*batch.params, *batch.tags)]
        points = [[m.key, m.value, m.step] for m in batch.metrics]
        files = sum(artifact.path.stat().st_size for artifact in batch.artifacts)
        if len(json.dumps([texts, points])) + (files if len(batch) > 1 else 0) > 12_000:
            raise ValueError("the request is too large")
        super().tracker_log(run, batch)

    def write(self, run: Run, *lines: tuple[Any, ...]) -> None:
        super().write(run, *filter(None, map(self.as_taken, lines)))

    def as_taken(self, line: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Give a line as the backend takes it; it drops points that it does not."""
        if line[0] != "metric":
            return line
        kind, key, value, step, _ = line
        return None if step is None or step < 0 else (kind, key, value, step, 0)

    def kept(self, run: Run, batch: Batch) -> Iterator[tuple[Any, ...]]:
        """Keep files under what a URL leaves of their names."""
        for kind, name, path in super().kept(run, batch):
            taken = name.partition("?")[0].partition("#")[0].replace("%2F", "/").replace("\t", "")
            yield kind, taken, path

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        for record in super().tracker_read_run(run):
            if isinstance(record, Metric):
                yield Metric(record.key, record.value, record.step, 10**18)
            else:
                yield record

    def place(self, number: int, *point: Any) -> tuple[Any, ...]:
        return "metric", *point[:2]

    def path(self, run: Run) -> Path:
        return self.directory / f"{run.id}.narrow"
