"""Flavors that lose or change what was logged, each one in its way."""

# ruff: noqa: E741, PLW2901

from __future__ import annotations

import json
import math
import time

import attrs

from mutants.ledger import Ledger
from trackyard.contract import Batch, flavor, hookimpl


@flavor
class DropsTheLastBatch(Ledger):
    """A batch is written when the next one comes."""

    caught_by = "test_last_records_are_kept"

    _waiting: Batch | None = attrs.field(init=False, default=None)

    @hookimpl
    def tracker_log(self, run, batch):
        if self._waiting is not None:
            super().tracker_log(run, self._waiting)
        self._waiting = batch


@flavor
class UsesItsOwnClock(Ledger):
    """A metric gets the time of its delivery."""

    caught_by = "test_timestamps_are_kept"

    def write(self, run, *lines):
        now = time.time_ns()
        super().write(run, *((*l[:4], now) if l[0] == "metric" else l for l in lines))


@flavor
class LosesNan(Ledger):
    """NaN is taken for a missing value."""

    caught_by = "test_not_a_number_is_kept"

    def write(self, run, *lines):
        kept = (l for l in lines if l[0] != "metric" or not math.isnan(l[2]))
        super().write(run, *kept)


@flavor
class CountsStepsItself(Ledger):
    """Steps are counted, whatever the user's are."""

    caught_by = "test_steps_keep_their_order"

    _step: int = attrs.field(init=False, default=0)

    def write(self, run, *lines):
        counted = []
        for line in lines:
            if line[0] == "metric":
                line = (*line[:3], self._step, line[4])
                self._step += 1
            counted.append(line)
        super().write(run, *counted)


@flavor
class LosesEarlierSteps(Ledger):
    """A step that goes backwards is not taken."""

    caught_by = "test_steps_may_go_backwards"

    _last: float = attrs.field(init=False, default=-math.inf)

    def write(self, run, *lines):
        for line in lines:
            if line[0] == "metric" and line[3] is not None:
                if line[3] < self._last:
                    continue
                self._last = line[3]
            super().write(run, line)


@flavor
class KeepsOneKeyOfAStep(Ledger):
    """A row of a step holds one metric."""

    caught_by = "test_keys_with_steps_of_their_own_are_kept"

    _rows: set[object] = attrs.field(init=False, factory=set)

    def write(self, run, *lines):
        for line in lines:
            if line[0] == "metric" and line[3] is not None:
                if line[3] in self._rows:
                    continue
                self._rows.add(line[3])
            super().write(run, line)


@flavor
class RoundsNumbers(Ledger):
    """Numbers are written with six digits behind the point."""

    caught_by = "test_extreme_numbers_are_kept"

    def write(self, run, *lines):
        rounded = ((*l[:2], round(l[2], 6), *l[3:]) if l[0] == "metric" else l for l in lines)
        super().write(run, *rounded)


@flavor
class KeepsTheFirstTag(Ledger):
    """A tag that is set keeps its first value."""

    caught_by = "test_last_value_of_a_tag_counts"

    _seen: set[str] = attrs.field(init=False, factory=set)

    @hookimpl
    def tracker_log(self, run, batch):
        tags = [
            tag for tag in batch.tags if tag.key not in self._seen and not self._seen.add(tag.key)
        ]
        super().tracker_log(run, attrs.evolve(batch, tags=tuple(tags)))


@flavor
class KnowsAsciiOnly(Ledger):
    """Other letters become question marks."""

    caught_by = "test_unicode_is_kept"

    def write(self, run, *lines):
        text = json.dumps(lines, ensure_ascii=False).encode("ascii", "replace").decode()
        super().write(run, *map(tuple, json.loads(text)))


@flavor
class TakesSlashesForUnderscores(Ledger):
    """Two keys become one."""

    caught_by = "test_odd_keys_stay_apart"

    def write(self, run, *lines):
        super().write(run, *((l[0], l[1].replace("/", "_"), *l[2:]) for l in lines))


@flavor
class CutsSilently(Ledger):
    """Params longer than 100 characters are cut, and the limit is not declared."""

    caught_by = "test_longest_param_is_kept"

    def write(self, run, *lines):
        cut = (
            (*l[:2], l[2][:100]) if isinstance(l[2], str) and l[0] == "param" else l for l in lines
        )
        super().write(run, *cut)


@flavor
class CutsOneTooMany(Ledger):
    """A tag at the very limit loses its last character."""

    caught_by = "test_longest_tag_is_kept"

    def write(self, run, *lines):
        super().write(run, *((*l[:2], l[2][:499]) if l[0] == "tag" else l for l in lines))


@flavor
class ForgetsThePath(Ledger):
    """Artifacts of one file name overwrite each other."""

    caught_by = "test_artifacts_keep_their_names"

    def kept(self, run, batch):
        for artifact in batch.artifacts:
            target = self.directory / run.id / artifact.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(artifact.path.read_bytes())
            yield "artifact", artifact.name, str(target)


@flavor
class ReadsBytesAsText(Ledger):
    """Artifacts are read and written as text."""

    caught_by = "test_bytes_are_kept"

    def kept(self, run, batch):
        for kind, name, path in super().kept(run, batch):
            from pathlib import Path

            Path(path).write_text(Path(path).read_text(errors="replace"))
            yield kind, name, path


@flavor
class LeavesTablesOut(Ledger):
    """It claims every kind of artifact, and knows no tables."""

    caught_by = "test_artifacts_are_kept"

    def kept(self, run, batch):
        known = tuple(a for a in batch.artifacts if a.kind != "table")
        yield from super().kept(run, attrs.evolve(batch, artifacts=known))


@flavor
class TakesSmallBatches(Ledger):
    """It sends 500 records of a batch, and forgets the others."""

    caught_by = "test_largest_batch_is_taken_whole"

    def write(self, run, *lines):
        super().write(run, *lines[:500])


@flavor
class LosesTypes(Ledger):
    """Params that are not true are not written."""

    caught_by = "test_params_are_kept"

    def write(self, run, *lines):
        super().write(run, *(l for l in lines if l[0] != "param" or l[2]))


@flavor
class LosesMany(Ledger):
    """Of ten thousand metrics it keeps every second."""

    caught_by = "test_ten_thousand_metrics_arrive_each_once"

    _count: int = attrs.field(init=False, default=0)

    def write(self, run, *lines):
        for line in lines:
            self._count += line[0] == "metric"
            if self._count < 5000:
                super().write(run, line)
