"""Is the end of a journal seen without reading all of it, and never wrongly?"""

from __future__ import annotations

import os
import time

import pytest

from trackyard.contract.records import Failure
from trackyard.journal.ending import find_end, has_entry_of, last_sequences, last_timestamp
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter
from trackyard.recovery.autopsy import find_or_write_end, was_found_dead

END = Entry("end", 10**6, None, None)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def killed_after(folder, entries):
    """Have a process write entries and die without closing its file."""
    process = os.fork()
    if process == 0:
        writer = JournalWriter(folder)
        for entry in entries:
            writer.append(entry)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    (name,) = {path.name.split(".")[0] for path in folder.glob("*.tyj")}
    return name


def metrics(count):
    return [Entry("metrics", number, number, {"loss": 0.5}) for number in range(count)]


@pytest.mark.parametrize("count", [1, 100, 20_000])
def test_last_entry_of_a_process_that_was_killed_is_seen(folder, count):
    name = killed_after(folder, metrics(count))
    (*_, (last, _)) = JournalReader(folder).read(10**6)

    assert last_sequences(folder) == {name: last.sequence}
    # The headers of its files are of today.
    assert last_timestamp(folder) >= count - 1
    assert find_end(folder) is None


@pytest.mark.parametrize("count", [1, 20_000])
def test_end_is_seen_where_the_process_was_killed_before_it_closed_its_file(folder, count):
    killed_after(folder, [*metrics(count), END])

    assert find_end(folder).entry == END


def test_last_entry_is_seen_where_it_is_longer_than_what_is_read_at_first(folder):
    long = Entry("params", 7, None, {"text": "x" * 600_000})
    name = killed_after(folder, [*metrics(3), long])

    assert last_sequences(folder)[name] == JournalReader(folder).read(10)[-1][0].sequence


def test_damage_at_the_end_hides_what_is_damaged_alone(folder):
    name = killed_after(folder, metrics(100))
    (path,) = folder.glob("*.tyj")
    text = path.read_bytes().rstrip(b"\0")
    path.write_bytes(text[:-10] + b"#" * 10)

    assert last_sequences(folder) == {name: JournalReader(folder).read(1000)[-1][0].sequence}


def test_end_among_entries_that_threads_wrote_behind_it_is_found_and_not_written_twice(folder):
    killed_after(folder, [*metrics(5), Entry("end", 9, None, Failure("failed", "E")), *metrics(50)])
    end = find_or_write_end(folder)

    assert end is not None
    assert (end.entry.data.kind, was_found_dead(end)) == ("E", False)
    assert len(list(folder.glob("*.tyj"))) == 1


def test_a_signal_is_remembered_however_long_ago_it_came(folder):
    killed_after(folder, [Entry("signal", 3, None, {"number": 15}), *metrics(20_000)])
    end = find_or_write_end(folder)

    assert end is not None
    assert (end.entry.data.status, end.entry.data.kind) == ("killed", "SIGTERM")


def test_a_value_that_looks_like_an_end_is_none(folder):
    texts = {"a": '["end",1,null,null]', '["end"': '\n["signal"'}
    killed_after(folder, [Entry("params", 1, None, texts), Entry("tags", 1, None, texts)])

    assert not has_entry_of(folder, ("end", "signal"))
    assert has_entry_of(folder, ("tags",))


def test_death_is_noted_in_a_fraction_of_the_time_that_reading_takes(folder):
    killed_after(folder, metrics(50_000))
    begun = time.thread_time()
    JournalReader(folder).read(10**6)
    reading = time.thread_time() - begun
    begun = time.thread_time()
    end = find_or_write_end(folder)
    noting = time.thread_time() - begun

    assert end is not None
    assert end.entry.data.status == "crashed"
    assert noting < reading / 3


def test_reader_with_a_cursor_passes_over_files_that_are_behind_it(folder):
    name = killed_after(folder, metrics(20_000))
    segments = sorted(folder.glob("*.tyj"))
    whole = [position.sequence for position, _ in JournalReader(folder).read(10**6)]
    assert len(segments) >= 3
    segments[0].unlink()  # as if nobody looked there
    for seen in (whole[10_000], whole[-1] - 1, whole[-1]):
        reader = JournalReader(folder, {name: seen})
        read = [position.sequence for position, _ in reader.read(10**6)]

        assert read == [sequence for sequence in whole if sequence > seen]
        assert reader.lost == 0


def test_file_that_cannot_be_read_may_hold_an_end(folder):
    name = killed_after(folder, metrics(1))
    assert not has_entry_of(folder, ("end",))

    (folder / f"{name}.000009.tyj").mkdir()  # to read it is an error, as on a bad disk

    assert has_entry_of(folder, ("end",))
