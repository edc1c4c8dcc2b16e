"""Cross-cutting plugins with one fault each, and two that are right."""

from __future__ import annotations

import math
import os
import threading
import time
from contextlib import contextmanager

import attrs

from trackyard.contract import Param, Tag, hookimpl


class Stopwatch:
    """Log at once, and how long each run's code took."""

    @hookimpl
    def tracker_observe_run(self, run, log):
        return self.watched(run, log)

    @contextmanager
    def watched(self, run, log):
        began = time.monotonic()
        log({"began": 1.0})
        yield
        log({"seconds": time.monotonic() - began})


class Redactor:
    """Hide addresses, and note how each run ended."""

    @hookimpl
    def tracker_filter_records(self, run):
        return self.hidden

    def hidden(self, record):
        if isinstance(record, Param | Tag) and isinstance(record.value, str):
            return attrs.evolve(record, value=record.value.replace("example", "<address>"))
        return record

    @hookimpl
    def tracker_end_run(self, run):
        self.note(run)

    def note(self, run):
        (run.folder / "noted").touch()


class MisspellsItsHook:
    """Nobody calls it."""

    caught_by = "test_hooks_are_those_of_the_contract"

    @hookimpl
    def tracker_watch_run(self, run, log):
        return None


class AsksForWhatNobodyGives(Stopwatch):
    """Its hook has an argument that is not offered."""

    caught_by = "test_hooks_are_those_of_the_contract"

    @hookimpl
    def tracker_observe_run(self, run, logger):
        return self.watched(run, logger)


class NotesOnce(Redactor):
    """A run that ends for a second tracker is an error."""

    caught_by = "test_hooks_may_be_called_again"

    def note(self, run):
        (run.folder / "noted").touch(exist_ok=False)


class TakesEveryValueForAText(Redactor):
    """A param that is a number is dropped by an error."""

    caught_by = "test_filter_takes_every_record"

    def hidden(self, record):
        if isinstance(record, Param):
            return attrs.evolve(record, value=record.value.replace("a", "b"))
        return record


class GivesTheValue(Redactor):
    """The filter gives a record's value in place of the record."""

    caught_by = "test_filter_takes_every_record"

    def hidden(self, record):
        return record.value if isinstance(record, Tag) else record


class GivesNoFunction(Redactor):
    """The hook filters nothing by itself."""

    caught_by = "test_filter_takes_every_record"

    @hookimpl
    def tracker_filter_records(self, run):
        return True


class HidesSomeOfThem(Redactor):
    """What is hidden depends on what was seen before."""

    caught_by = "test_filter_is_the_same_each_time"

    def __init__(self):
        self.seen = 0

    def hidden(self, record):
        self.seen += 1
        return None if self.seen % 2 else record


class HidesMoreEachTime(Redactor):
    """What was changed is changed again."""

    caught_by = "test_filter_is_the_same_each_time"

    def hidden(self, record):
        if isinstance(record, Tag):
            return attrs.evolve(record, value=f"<{record.value}>")
        return record


class ForgetsToReturn(Redactor):
    """It gives back what it has changed, and drops the rest."""

    caught_by = "test_filter_keeps_records_of_each_kind"

    def hidden(self, record):
        if isinstance(record, Param | Tag):
            return super().hidden(record)
        return None


class LeavesAThread(Stopwatch):
    """Its sampler sleeps on when the run has ended."""

    caught_by = "test_nothing_is_left_of_a_run"

    @contextmanager
    def watched(self, run, log):
        log({"began": 1.0})
        threading.Thread(target=time.sleep, args=(5,), name="sampler", daemon=True).start()
        yield


class LeavesAFile(Stopwatch):
    """It reads a file of the system's and keeps it open."""

    caught_by = "test_nothing_is_left_of_a_run"

    def __init__(self):
        self.files = []

    @contextmanager
    def watched(self, run, log):
        log({"began": 1.0})
        self.files.append(os.open(os.devnull, os.O_RDONLY))
        yield

    def __del__(self):
        for file in self.files:
            os.close(file)


class RaisesAsItEnters(Stopwatch):
    """The machine has none of what it looks for."""

    caught_by = "test_observing_ends_with_its_run"

    @contextmanager
    def watched(self, run, log):
        raise FileNotFoundError("/dev/gpu")
        yield


class HangsAtTheEnd(Stopwatch):
    """Its last sample takes five seconds."""

    caught_by = "test_observing_ends_with_its_run"

    @contextmanager
    def watched(self, run, log):
        yield
        time.sleep(1.5)


class KeepsTheInterpreterAlive(Stopwatch):
    """Its thread is no daemon, and goes on."""

    caught_by = "test_observing_ends_with_its_run"

    @contextmanager
    def watched(self, run, log):
        threading.Thread(target=time.sleep, args=(2,), name="sampler", daemon=False).start()
        yield


class ChangesTheDirectory(Stopwatch):
    """It looks around where it pleases."""

    caught_by = "test_observing_ends_with_its_run"

    @contextmanager
    def watched(self, run, log):
        os.chdir(run.folder)
        yield


class LogsAfterTheEnd(Stopwatch):
    """Its thread is told nothing of the end."""

    caught_by = "test_observer_logs_into_its_run_alone"

    @contextmanager
    def watched(self, run, log):
        def sample():
            for number in range(30):
                log({"sample": float(number)})
                time.sleep(0.05)

        threading.Thread(target=sample, daemon=True).start()
        yield


class LogsIntoTheLastRun(Stopwatch):
    """There is one place for the function that logs."""

    caught_by = "test_observer_logs_into_its_run_alone"

    @contextmanager
    def watched(self, run, log):
        self.log = log
        yield
        self.log({"seconds": 1.0})
        self.log = lambda metrics: log({**metrics, "late": 1.0})


class LogsTexts(Stopwatch):
    """What it logs is no number."""

    caught_by = "test_observer_logs_into_its_run_alone"

    @contextmanager
    def watched(self, run, log):
        log({"gpu": "none"})
        yield


class LogsNan(Stopwatch):
    """What it cannot measure is NaN."""

    caught_by = "test_observer_logs_into_its_run_alone"

    @contextmanager
    def watched(self, run, log):
        log({"watts": math.nan})
        yield


class LogsNothing(Stopwatch):
    """It never gets to its first sample."""

    caught_by = "test_observer_logs_into_its_run_alone"

    @contextmanager
    def watched(self, run, log):
        yield


class SpinsAllTheTime(Stopwatch):
    """It waits by looking at the clock."""

    caught_by = "test_observing_is_cheap"

    @contextmanager
    def watched(self, run, log):
        over = []

        def spin():
            while not over:
                time.monotonic()

        threading.Thread(target=spin, daemon=True).start()
        yield
        over.append(True)
