"""Flavors that go wrong when something is delivered again or something breaks, each one."""

# ruff: noqa: E741

from __future__ import annotations

import os
import time
import urllib.request
from typing import Any

import attrs

from mutants.ledger import Ledger
from trackyard.contract import Batch, Metric, flavor, hookimpl


@flavor
class DuplicatesOnResend(Ledger):
    """A metric that comes again is a second metric."""

    caught_by = "test_batch_that_comes_twice_changes_nothing"

    def write(self, run, *lines):
        moved = (
            (*l[:4], l[4] + time.monotonic_ns() % 10**6) if l[0] == "metric" else l for l in lines
        )
        super().write(run, *moved)


@flavor
class EndsTwice(Ledger):
    """An end that comes again is taken for another run's."""

    caught_by = "test_hook_that_is_called_twice_changes_nothing"

    _is_ended: bool = attrs.field(init=False, default=False)

    def end(self, run, status):
        super().end(run, "failed" if self._is_ended else status)
        self._is_ended = True


@flavor
class ReplaysWithoutStatus(Ledger):
    """Where another process continues the run, its end is left out."""

    caught_by = "test_replay_keeps_the_status"

    def end(self, run, status):
        if not run.attached:
            super().end(run, status)


@flavor
class ReplaysAnew(Ledger):
    """A replay that comes again adds points."""

    caught_by = "test_delivery_from_the_first_record_again_changes_nothing"

    def write(self, run, *lines):
        if run.attached:
            lines = tuple((*l[:4], l[4] + 1) if l[0] == "metric" else l for l in lines)
        super().write(run, *lines)


@flavor
class KeepsItInMemory(Ledger):
    """What was logged is written at the end, and lost where there is none."""

    caught_by = "test_killed_run_is_crashed_and_whole"

    _kept: list[Batch] = attrs.field(init=False, factory=list)

    @hookimpl
    def tracker_log(self, run, batch):
        self._kept.append(batch)

    def end(self, run, status):
        for batch in self._kept:
            super().tracker_log(run, batch)
        super().end(run, status)


@flavor
class EndsWithItsChild(Ledger):
    """A forked child that ends is taken for the run's end."""

    caught_by = "test_forked_child_logs_into_the_run"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        path = self.path(run)

        def end() -> None:
            with path.open("a") as file:
                for step in (7, 8):
                    file.write(f'["metric", "parent", 0.0, {step}, {10**18 + step}]\n')

        os.register_at_fork(after_in_child=end)


@flavor
class DropsWhatComesLate(Ledger):
    """A metric that is older than the one before it is not taken."""

    caught_by = "test_records_of_another_time_are_safe"

    _last: int = attrs.field(init=False, default=0)

    def write(self, run, *lines):
        for line in lines:
            if line[0] == "metric":
                if line[4] < self._last:
                    continue
                self._last = line[4]
            super().write(run, line)


@flavor
class GivesUpOnARefusal(Ledger):
    """A server that is away is an error for ever."""

    caught_by = "test_server_that_refuses_is_tried_later"

    def greet(self, run):
        if self.server is not None:
            try:
                urllib.request.urlopen(self.server, timeout=1)
            except OSError as error:
                raise ValueError(f"bad server: {error}") from error


@flavor
class TakesErrorsForAnswers(Ledger):
    """What a server answers is not looked at."""

    caught_by = "test_broken_server_is_tried_later"

    def greet(self, run):
        if self.server is not None:
            try:
                super().greet(run)
            except Exception as error:
                if "50" not in str(error):
                    raise


@flavor
class WaitsForEver(Ledger):
    """It asks the server without a time limit of its own."""

    caught_by = "test_broken_server_is_tried_later"

    def greet(self, run):
        super().greet(attrs.evolve(run, deadline=8.0))


@flavor
class StartsSlowly(Ledger):
    """Each start computes for seconds."""

    caught_by = "test_start_fits_its_budget"

    @hookimpl
    def tracker_start_run(self, run):
        end = time.thread_time() + 1.0
        while time.thread_time() < end:
            pass
        super().tracker_start_run(run)


@flavor
class TakesOneErrorForAll(Ledger):
    """After one error it takes nothing more."""

    caught_by = "test_lost_answer_duplicates_nothing"

    _count: int = attrs.field(init=False, default=0)

    @hookimpl
    def tracker_log(self, run, batch):
        self._count += 1
        if self._count > 1:
            again: list[Any] = [attrs.evolve(m, timestamp=m.timestamp + 1) for m in batch.metrics]
            batch = attrs.evolve(batch, metrics=tuple(again))
        super().tracker_log(run, batch)


@flavor
class MixesThreads(Ledger):
    """Metrics of one step and value are taken for one."""

    caught_by = "test_threads_log_into_one_run"

    _seen: set[Any] = attrs.field(init=False, factory=set)

    @hookimpl
    def tracker_log(self, run, batch):
        new: list[Metric] = []
        for metric in batch.metrics:
            if (metric.step, metric.value) not in self._seen:
                self._seen.add((metric.step, metric.value))
                new.append(metric)
        super().tracker_log(run, attrs.evolve(batch, metrics=tuple(new)))
