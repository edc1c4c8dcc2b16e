"""A reader survives what disks do to files, and counts what it cost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from trackyard.contract.errors import NewerFormatError
from trackyard.journal import reader as reader_module
from trackyard.journal.entries import Entry
from trackyard.journal.frames import encode_frame, salt_of
from trackyard.journal.reader import JournalReader, is_alive
from trackyard.journal.writer import JournalWriter

COUNT = 60


def metric(number: int) -> Entry:
    return Entry("metrics", 1_700_000_000_000_000_000 + number, number, {"loss": number / 7})


def written(folder: Path, count: int = COUNT) -> Path:
    """Write a journal and give its only segment."""
    writer = JournalWriter(folder)
    for number in range(count):
        writer.append(metric(number))
    writer.close()
    return folder / f"{writer.name}.000001.tyj"


def steps(folder: Path) -> list[int]:
    return [entry.step for _, entry in JournalReader(folder).read(10**6) if entry.kind == "metrics"]


def test_truncation_at_every_offset_leaves_an_exact_prefix(tmp_path):
    segment = written(tmp_path / "run", 12)
    data = segment.read_bytes()
    for length in range(len(data), -1, -1):
        segment.write_bytes(data[:length])

        found = steps(tmp_path / "run")

        assert found == list(range(len(found)))
    assert data.count(b"\n") == 13  # the header and 12 entries: the loop went through all of them


@pytest.mark.slow
def test_a_flipped_bit_costs_one_entry_and_is_counted(tmp_path):
    segment = written(tmp_path / "run")
    data = segment.read_bytes()
    generator = random.Random(7)
    for _ in range(3000):
        place, bit = generator.randrange(len(data)), 1 << generator.randrange(8)
        damaged = bytearray(data)
        damaged[place] ^= bit
        segment.write_bytes(damaged)
        reader = JournalReader(tmp_path / "run")
        entries = reader.read(10**6)

        found = [entry.step for _, entry in entries if entry.kind == "metrics"]
        missing = set(range(COUNT)) - set(found)
        assert found == sorted(found)
        assert len(missing) <= 1
        # A damaged last entry has nothing behind it that would show the gap.
        assert reader.lost == len(missing) or missing == {COUNT - 1} or not missing


@pytest.mark.parametrize("kind", ["garbage", "zeros", "repeated", "deleted"])
def test_a_damaged_block_costs_what_it_covers_and_nothing_is_made_up(tmp_path, kind):
    segment = written(tmp_path / "run")
    data = segment.read_bytes()
    generator = random.Random(11)
    for _ in range(500):
        start = generator.randrange(len(data))
        length = generator.randrange(1, 400)
        block = {
            "garbage": generator.randbytes(length),
            "zeros": bytes(length),
            "repeated": data[start : start + length] * 2,
            "deleted": b"",
        }[kind]
        segment.write_bytes(data[:start] + block + data[start + length :])
        reader = JournalReader(tmp_path / "run")

        entries = [entry for _, entry in reader.read(10**6) if entry.kind == "metrics"]

        found = [entry.step for entry in entries]
        assert found == sorted(set(found))
        assert all(entry == metric(entry.step) for entry in entries)
        touched = 2 + data[start : start + length].count(b"\n")
        assert COUNT - len(found) <= touched


def test_a_damaged_block_longer_than_a_chunk_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, "_CHUNK", 1000)
    segment = written(tmp_path / "run")
    data = bytearray(segment.read_bytes())
    data[1500:4500] = b"x" * 3000
    segment.write_bytes(data)

    found = steps(tmp_path / "run")

    assert found[:10] == list(range(10))
    assert found[-1] == COUNT - 1
    assert COUNT - len(found) <= 3000 / 80


def test_an_entry_that_is_written_while_it_is_read_is_not_taken_for_damage(tmp_path):
    segment = written(tmp_path / "run", 10)
    data = segment.read_bytes()
    begin = data.index(b"~1 ", 1)  # of the first entry behind the header
    unfinished = data[:begin] + bytes(50) + data[begin + 50 :]  # and yet the next ones are there

    class Overtaken(JournalReader):
        """Sees the entry unfinished until it has seen, in one look, what was written after it."""

        def _data(self, writer, place, size):
            is_unfinished = not overtaken
            segment.write_bytes(unfinished if is_unfinished else data)
            seen = super()._data(writer, place, size)
            if is_unfinished and size == reader_module._CHUNK:
                overtaken.append(seen)
            return seen

    overtaken: list[bytes] = []
    reader = Overtaken(tmp_path / "run")

    found = [entry.step for _, entry in reader.read(100) if entry.kind == "metrics"]

    assert len(overtaken) == 1
    assert (found, reader.lost) == (list(range(10)), 0)


def test_a_journal_that_was_logged_as_a_value_is_not_taken_for_entries(tmp_path):
    frame = encode_frame(3, b'["metrics",1,99,{"forged":1.0}]', salt_of("other", "r0", 1))
    segment = written(tmp_path / "run", 3)
    data = segment.read_bytes()
    segment.write_bytes(data[:-20] + b"\n" + frame)

    assert steps(tmp_path / "run") == [0, 1]


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    segment = written(tmp_path / "run")
    data = segment.read_bytes().replace(b"~1 ", b"~2 ")
    segment.write_bytes(data)

    with pytest.raises(NewerFormatError, match="pip install --upgrade"):
        JournalReader(tmp_path / "run").read(10)
    assert segment.read_bytes() == data


def test_a_huge_length_allocates_nothing(tmp_path):
    segment = written(tmp_path / "run")
    data = bytearray(segment.read_bytes())
    second = data.index(b"\n") + 1
    data[second + 21 : second + 29] = b"ffffffff"
    segment.write_bytes(data)

    assert steps(tmp_path / "run") == list(range(1, COUNT))


def test_a_missing_segment_is_counted_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("trackyard.journal.writer.SMALLEST_SEGMENT", 24 * 1024)
    monkeypatch.setattr("trackyard.journal.writer.LARGEST_SEGMENT", 24 * 1024)
    segment = written(tmp_path / "run", 200)
    segment.with_name(segment.name.replace("000001", "000002")).unlink()
    reader = JournalReader(tmp_path / "run")

    found = [entry.step for _, entry in reader.read(10**6) if entry.kind == "metrics"]

    assert found[0] == 0
    assert found[-1] == 199
    assert 200 - len(found) <= reader.lost <= 200 - len(found) + 1  # the segment's header as well


def test_a_reader_follows_a_writer_and_goes_on_from_a_cursor(tmp_path):
    writer = JournalWriter(tmp_path / "run")
    reader = JournalReader(tmp_path / "run")

    assert reader.read(10) == []
    writer.append(metric(0))
    assert [entry.kind for _, entry in reader.read(10)] == ["header", "metrics"]
    assert reader.read(10) == []
    writer.append(metric(1))
    ((position, entry),) = reader.read(10)
    assert entry == metric(1)
    writer.append(metric(2))
    later = JournalReader(tmp_path / "run", {position.writer: position.sequence})
    assert [entry for _, entry in later.read(10)] == [metric(2)]
    assert (reader.lost, later.lost) == (0, 0)
    writer.close()


def test_at_most_as_many_entries_come_as_were_asked_for(tmp_path):
    written(tmp_path / "run")
    reader = JournalReader(tmp_path / "run")
    found = []
    while entries := reader.read(7):
        assert len(entries) <= 7
        found += [entry.step for _, entry in entries if entry.kind == "metrics"]

    assert found == list(range(COUNT))


def test_a_run_is_alive_while_its_writer_is_open(tmp_path):
    writer = JournalWriter(tmp_path / "run")
    writer.append(metric(0))

    assert is_alive(tmp_path / "run")
    writer.close()
    assert not is_alive(tmp_path / "run")


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    assert JournalReader(tmp_path / "nothing").read(10) == []
    assert not is_alive(tmp_path / "nothing")
