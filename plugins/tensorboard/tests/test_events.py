"""Does an event file hold each record once and exactly, whatever became of its writers?"""

from __future__ import annotations

import math
import struct

import pytest

from trackyard import Batch, Metric
from trackyard_tensorboard import TensorboardTracker
from trackyard_tensorboard.events import exact_values, read_events

POINTS = tuple(
    Metric("loss", 0.1 * number, number, 1_700_000_000_123_456_789 + number) for number in range(50)
)


@pytest.fixture
def tracker(board, make_run):
    """Give a function that starts the run in a new instance, as each process does."""

    def start() -> TensorboardTracker:
        tracker = TensorboardTracker()
        tracker.tracker_start_run(make_run())
        return tracker

    return start


def log(tracker, run, *metrics):
    tracker.tracker_log(run, Batch.of(metrics, 0, 0))


def read(tracker, run):
    return [record for record in tracker.tracker_read_run(run, None) if isinstance(record, Metric)]


def records(board):
    return sorted(board.log_dir.rglob("*.records"))


def test_numbers_and_times_are_kept_to_the_last_digit(tracker, make_run):
    odd = (
        Metric("tiny", 5e-324, -3, 1),
        Metric("large", 1.7976931348623157e308, 2**63 - 1, 1_700_000_000_000_000_001),
        Metric("infinite", -math.inf, 0, 1_700_000_000_000_000_003),
    )
    started = tracker()
    log(started, make_run(), *POINTS, *odd)

    assert read(started, make_run()) == [*POINTS, *odd]


def test_nan_is_kept(tracker, make_run, board):
    log(tracker(), make_run(), Metric("loss", math.nan, 1, 5))

    ((step, value),) = board.scalars("made", "loss")
    assert step == 1
    assert math.isnan(value)


def test_a_batch_that_is_sent_again_by_another_process_is_there_once(tracker, make_run, board):
    nan = Metric("nan", math.nan, 1, 5)
    log(tracker(), make_run(), *POINTS[:30], nan)
    again = tracker()
    log(again, make_run(), *POINTS[10:40], nan)
    log(again, make_run(), *POINTS[40:])

    assert len(board.scalars("made", "loss")) == len(POINTS)
    assert len(board.scalars("made", "nan")) == 1
    assert [metric for metric in read(again, make_run()) if metric.key == "loss"] == [*POINTS]


@pytest.mark.parametrize("cut", [1, 7, 20, 60])
def test_after_a_torn_end_everything_is_there_once(tracker, make_run, board, cut):
    """TensorBoard reads nothing behind a torn record: what follows is in a file of its own."""
    log(tracker(), make_run(), *POINTS[:30])
    (file,) = records(board)
    file.write_bytes(file.read_bytes()[:-cut])

    log(tracker(), make_run(), *POINTS)

    assert len(records(board)) == 2
    assert sorted(step for step, _ in board.scalars("made", "loss")) == list(range(50))
    assert sorted(read(tracker(), make_run()), key=lambda m: m.step) == [*POINTS]


def test_what_follows_damage_in_the_middle_is_sent_to_a_new_file(tracker, make_run, board):
    log(tracker(), make_run(), *POINTS[:30])
    (file,) = records(board)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    log(tracker(), make_run(), *POINTS)

    assert {step for step, _ in board.scalars("made", "loss")} == set(range(50))


def test_a_full_disk_leaves_no_torn_record(board):
    """The file may grow to 4,096 bytes, then no further: what does not fit is sent later."""
    code = """
import resource, signal, time
from pathlib import Path
from trackyard import Batch, Metric, RetryLater, Run
from trackyard_tensorboard import TensorboardTracker
run = Run(id="1" * 32, name="made", experiment="made", started_at=1, folder=Path("folder"))
tracker = TensorboardTracker()
run.folder.mkdir(exist_ok=True)
tracker.tracker_start_run(run)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
def log(start, stop):
    points = tuple(Metric("loss", 0.5, n, n) for n in range(start, stop))
    tracker.tracker_log(run, Batch.of(points, 0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
log(0, 20)
try:
    log(20, 200)
except RetryLater as error:
    print("later:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
log(20, 200)
"""
    result = board.python(code)

    assert result.stdout.startswith("later:"), result.stderr
    assert [step for step, _ in board.scalars("made", "loss")] == list(range(200))


def test_the_first_event_says_its_version(tracker, make_run, board):
    """Without it TensorBoard drops points whose step goes backwards."""
    backwards = tuple(Metric("loss", 1.0, step, 9 - step) for step in (5, 3, 1))
    log(tracker(), make_run(), *backwards)

    first = next(read_events(records(board)[0]))
    assert first.file_version == "brain.Event:2"
    assert [step for step, _ in board.scalars("made", "loss")] == [5, 3, 1]


def test_other_readers_pass_over_the_exact_numbers(tracker, make_run, board):
    log(tracker(), make_run(), Metric("loss", 0.1, 3, 1_700_000_000_123_456_789))

    (event,) = [event for event in read_events(records(board)[0]) if event.summary.value]
    (value,) = event.summary.value
    assert value.simple_value == struct.unpack("<f", struct.pack("<f", 0.1))[0]
    assert event.wall_time == pytest.approx(1_700_000_000.123456789, abs=1e-6)
    assert exact_values(event) == (1_700_000_000_123_456_789, [0.1])


def test_no_file_stays_open(board):
    """Checked in a process of its own, where nothing else opens files."""
    code = """
import os
from pathlib import Path
from trackyard import Batch, Metric, Run
from trackyard_tensorboard import TensorboardTracker
def use(number):
    run = Run(id=f"{number:032}", name="r", experiment="e", started_at=1, folder=Path("folder"))
    tracker = TensorboardTracker()
    run.folder.mkdir(exist_ok=True)
    tracker.tracker_start_run(run)
    tracker.tracker_log(run, Batch.of((Metric("loss", 0.5, 1, 1),), 0, 0))
    tracker.tracker_end_run(run)
    assert len(list(tracker.tracker_read_run(run, None))) > 1
use(0)
before = len(os.listdir("/proc/self/fd"))
for number in range(1, 20):
    use(number)
print(len(os.listdir("/proc/self/fd")) - before)
"""
    result = board.python(code)

    assert result.stdout == "0\n", result.stderr
