"""The disk holds what `durability` says, when it says so."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path
from threading import Thread

import pytest

from trackyard import ConfigError, start_run
from trackyard.journal.durability import JournalOptions, load_journal_options
from trackyard.journal.ending import find_end
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import find_project

RECORD = JournalOptions(durability="record")


def metric(number: int) -> Entry:
    return Entry("metrics", 1, number, {"loss": float(number)})


def steps(folder: Path) -> list[int]:
    reader = JournalReader(folder)
    found = [entry.step for _, entry in reader.read(10**6) if entry.kind == "metrics"]
    assert reader.lost == 0
    return found


def wait_until(fact, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


class Disk:
    """What `os.fdatasync` was asked to hold; it may be slow, and may fail."""

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}  # by inode
        self.calls = 0
        self.delay = 0.0
        self.answers = threading.Event()  # cleared, it keeps whoever asks
        self.answers.set()
        self.failures = 0
        self._fdatasync = os.fdatasync

    def fdatasync(self, file: int) -> None:
        status = os.fstat(file)
        before = os.pread(file, status.st_size, 0)
        self.calls += 1
        self.answers.wait()
        time.sleep(self.delay)
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fdatasync(file)
        self.held[status.st_ino] = before

    def holds(self, number: int) -> bool:
        return any(b'{"loss":%d.0}' % number in content for content in list(self.held.values()))


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    return disk


@pytest.fixture(params=["mapped", "written"])
def way(request, monkeypatch):
    if request.param == "written":
        monkeypatch.delattr(os, "posix_fallocate")
    return request.param


def test_the_disk_is_not_asked_by_default(tmp_path, disk):
    writer = JournalWriter(tmp_path / "run")
    for number in range(3000):  # several segments
        writer.append(metric(number))
    writer.close()

    assert disk.calls == 0


def test_the_disk_holds_each_record_before_its_call_returns(tmp_path, disk, way):
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    for number in range(50):
        writer.append(metric(number))
        assert disk.holds(number)
    writer.append_metrics(1, 50, {"loss": 50.0}, are_finite=True)
    assert disk.holds(50)
    writer.end(Entry("end", 1, None, None))
    assert any(b'["end"' in content for content in disk.held.values())
    writer.close()

    assert steps(tmp_path / "run") == list(range(51))


@pytest.mark.parametrize("durability", ["interval", "record"])
def test_the_end_is_awaited_without_the_lock_and_held_before_the_file_is_closed(
    tmp_path, disk, durability
):
    writer = JournalWriter(tmp_path / "run", options=JournalOptions(durability=durability))
    writer.append(metric(0))
    disk.answers.clear()
    ending = Thread(target=writer.end, args=(Entry("end", 1, None, None),))
    calls = disk.calls
    ending.start()
    wait_until(lambda: disk.calls > calls)
    other = Thread(target=writer.append, args=(metric(1),))
    other.start()
    other.join(20)
    is_kept = other.is_alive()
    disk.answers.set()
    ending.join()

    assert not is_kept
    assert any(b'["end"' in content for content in disk.held.values())
    assert steps(tmp_path / "run") == [0]


def test_a_disk_that_fails_at_the_end_is_given_the_end_once_more(tmp_path, disk):
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    writer.append(metric(0))
    disk.failures = 1
    writer.end(Entry("end", 1, None, None))

    assert any(b'["end"' in content for content in disk.held.values())
    assert find_end(tmp_path / "run") is not None
    assert steps(tmp_path / "run") == [0]


def test_threads_that_wait_for_the_disk_share_its_calls(tmp_path, disk):
    disk.delay = 0.003
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    not_held = []

    def work(thread: int) -> None:
        for number in range(thread * 20, thread * 20 + 20):
            writer.append(metric(number))
            if not disk.holds(number):
                not_held.append(number)

    threads = [Thread(target=work, args=(index,)) for index in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()

    assert not_held == []
    assert sorted(steps(tmp_path / "run")) == list(range(200))
    assert disk.calls < 100


def test_a_full_segment_is_held_before_the_next_one_is_used(tmp_path, disk):
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    for number in range(1200):
        writer.append(metric(number))
    assert len(list((tmp_path / "run").glob("*.tyj"))) > 1
    assert all(disk.holds(number) for number in range(1200))
    writer.close()


def test_a_thread_asks_the_disk_at_intervals_and_not_without_need(tmp_path, disk):
    options = JournalOptions(durability="interval", sync_interval=0.05)
    writer = JournalWriter(tmp_path / "run", options=options)
    begun = time.monotonic()
    writer.append(metric(1))
    assert [t.name for t in threading.enumerate()].count("trackyard-journal") == 1
    wait_until(lambda: disk.holds(1))
    for number in range(2, 1000):
        writer.append(metric(number))
    wait_until(lambda: disk.holds(999))
    most = (time.monotonic() - begun) / 0.05 + 2  # one more where a segment was full
    assert disk.calls <= most
    calls = disk.calls
    time.sleep(0.2)
    assert disk.calls == calls
    writer.append(metric(1000))
    writer.close()

    assert disk.holds(1000)
    wait_until(lambda: "trackyard-journal" not in [t.name for t in threading.enumerate()])


def test_a_forked_child_asks_the_disk_at_intervals_too(tmp_path):
    options = JournalOptions(durability="interval", sync_interval=0.02)
    writer = JournalWriter(tmp_path / "run", options=options)
    writer.append(metric(1))
    child = os.fork()
    if child == 0:
        held = Disk()
        os.fdatasync = held.fdatasync
        writer.append(metric(2))
        time.sleep(0.5)
        os._exit(0 if held.holds(2) else 1)
    assert os.waitpid(child, 0)[1] == 0
    writer.close()


def test_what_a_failing_disk_did_not_take_goes_to_a_new_file_once(tmp_path, disk, way, caplog):
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    following = JournalReader(tmp_path / "run")
    found = []
    for number in range(30):
        disk.failures = 1 if number in (0, 7, 8, 20) else 0
        writer.append(metric(number))
        assert disk.holds(number)
        found += [entry.step for _, entry in following.read(100) if entry.kind == "metrics"]
    writer.close()

    assert found == list(range(30))
    assert steps(tmp_path / "run") == list(range(30))
    assert len(list((tmp_path / "run").glob("*.tyj"))) == 5
    assert (following.lost, writer.dropped) == (0, 0)
    assert "the disk failed: Input/output error" in caplog.text


def test_a_disk_that_always_fails_costs_a_warning_and_no_record(tmp_path, disk, caplog):
    disk.failures = 10**6
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    for number in range(5):
        writer.append(metric(number))
    writer.end(Entry("end", 1, None, None))
    writer.close()

    assert steps(tmp_path / "run") == list(range(5))
    assert writer.dropped == 0
    assert "a power failure may cost records" in caplog.text


def test_a_signal_handler_that_logs_while_its_thread_waits_for_the_disk(tmp_path, disk):
    disk.delay = 0.02
    writer = JournalWriter(tmp_path / "run", options=RECORD)
    handled = []

    def handler(*_):
        handled.append(True)
        writer.append(metric(1000 + len(handled)))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        for number in range(20):
            writer.append(metric(number))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writer.close()

    assert len(handled) > 3
    assert len(steps(tmp_path / "run")) == 20 + len(handled)


def test_a_run_is_as_durable_as_the_configuration_says(tmp_path, monkeypatch, disk):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackyard.toml").write_text('[journal]\ndurability = "record"\n')
    with start_run(experiment_tracker=None) as run:
        for number in range(5):
            run.log_metric("loss", number)
            assert disk.holds(number)
    assert disk.calls >= 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('durabilty = "record"', "journal: unknown key 'durabilty'; did you mean 'durability'?"),
        ('durability = "records"', "journal.durability: must be one of"),
        ("sync_interval = 0.0", "journal.sync_interval: must be between 0.001 and 3600 seconds"),
        ('sync_interval = "1 s"', "journal.sync_interval: must be a number"),
        ('keep = "long"', "journal.keep: must be a time such as 12h, 30d or 4w"),
    ],
)
def test_a_wrong_option_is_named_before_anything_runs(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackyard.toml").write_text(f"[journal]\n{text}\n")

    with pytest.raises(ConfigError) as caught, start_run(experiment_tracker=None):
        pytest.fail("the block was run")
    assert message in str(caught.value)


def test_a_journal_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "trackyard.toml").write_text('journal = "record"\n')

    with pytest.raises(ConfigError, match="journal: must be a table"):
        load_journal_options(find_project(tmp_path))
