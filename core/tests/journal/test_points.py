"""Do points that are read by the hundred say the same as entries that are read one by one?"""

from __future__ import annotations

import math
import random

import pytest

from trackyard import start_run
from trackyard.journal import summaries
from trackyard.journal.descriptions import load_description
from trackyard.journal.entries import encode_plain
from trackyard.journal.frames import encode_frame, salt_of
from trackyard.journal.points import Points, points_at
from trackyard.journal.reader import JournalReader
from trackyard.journal.summaries import summarise
from trackyard.journal.tallies import Tally
from trackyard.project.configuration import find_project

SALT = salt_of("a" * 32, "r0-p1-aa", 1)


def frames(count, first=0):
    lines = (("metrics", 1000 + n, n, {"loss": n / 3}) for n in range(first, first + count))
    return [encode_frame(first + n, encode_plain(ln), SALT) for n, ln in enumerate(lines)]


def plain(writer, kind, timestamp, step, data, *_):
    return writer, kind, timestamp, step, str(data)  # NaN is equal to nothing


def one_by_one(folder):
    reader, found = JournalReader(folder), []
    while entries := reader.read(7):
        found += [plain(place.writer, *entry) for place, entry in entries]
    return found, reader.lost


def by_blocks(folder, cursor=None):
    reader, found = JournalReader(folder, cursor), []
    for writer, block in reader.read_blocks():
        lines = block.lines if isinstance(block, Points) else block
        found += [plain(writer, *line) for line in lines]
    return found, reader.lost


@pytest.fixture
def folder(project):
    """Give a run that logged everything, some of it in a long row."""
    with start_run("all", experiment_tracker=None) as run:
        for number in range(700):
            run.log_metric("loss", 1 / (number + 1), step=number)
        run.log_params({"rate": 0.1})
        for number in range(300):
            run.log_metrics({"loss": number, "odd": math.nan if number == 99 else 1.0})
            run.log_metric("acc", number)
        run.log_text("said", "report.txt")
        run.log_metrics({}, step=1)
    return find_project().home / "runs" / run.id


def test_frames_of_metrics_are_points(project):
    data = b"".join(frames(20)) + b"\0" * 50
    points = points_at(data, SALT, 0)

    assert points is not None
    assert points.size == len(data) - 50
    (column,) = points.columns()
    assert column == ("loss", [*range(20)], [n / 3 for n in range(20)], [*range(1000, 1020)])


def test_points_end_where_another_kind_or_half_a_frame_stands():
    other = encode_frame(10, encode_plain(("params", 1, None, {"a": 1})), SALT)
    data = b"".join([*frames(10), other, *frames(10, 11)])
    half = b"".join(frames(12))[:-5]

    assert len(points_at(data, SALT, 0).lines) == 10
    assert len(points_at(half, SALT, 0).lines) == 11
    assert points_at(b"".join(frames(3)), SALT, 0) is None


def test_no_damaged_byte_is_taken_for_points():
    data = b"".join(frames(10))
    whole = points_at(data, SALT, 0).lines
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        found = points_at(damaged, SALT, 0)
        assert found is None or found.lines == whole[: len(found.lines)]


def test_points_of_another_place_are_none():
    data = b"".join(frames(10))

    assert points_at(data, SALT + 1, 0) is None
    assert points_at(data, SALT, 1) is None


def test_blocks_hold_what_entries_hold(folder):
    assert by_blocks(folder) == one_by_one(folder)
    assert any(isinstance(block, Points) for _, block in JournalReader(folder).read_blocks())


@pytest.mark.slow
def test_blocks_of_a_damaged_journal_hold_what_entries_hold(folder):
    (segment, *_) = sorted(folder.glob("r0-*.tyj"))
    whole = segment.read_bytes()
    for seed in range(20):
        data = bytearray(whole)
        for _ in range(3):
            data[random.Random(seed).randrange(len(data))] ^= 1 << seed % 8
        segment.write_bytes(data)
        assert by_blocks(folder) == one_by_one(folder)


@pytest.mark.parametrize("seen", [0, 5, 64, 100, 650, 699, 900, 10_000])
def test_blocks_behind_a_cursor_hold_what_entries_hold(folder, seen):
    (writer,) = {file.name.partition(".")[0] for file in folder.glob("r0-*.tyj")}
    reader, expected = JournalReader(folder, {writer: seen}), []
    while entries := reader.read(7):
        expected += [plain(place.writer, *entry) for place, entry in entries]

    assert by_blocks(folder, {writer: seen}) == (expected, reader.lost)


def test_summary_that_was_left_is_gone_on_with(folder, monkeypatch):
    description = load_description(folder)
    whole = repr(summarise(folder, description))
    assert not (folder / "summary.part.json").exists()
    monkeypatch.setattr(summaries, "_KEPT_EVERY", 30_000)

    assert repr(summarise(folder, description)) == whole
    assert (folder / "summary.part.json").exists()
    read = []
    monkeypatch.setattr(JournalReader, "_data", _counting(JournalReader._data, read))
    assert repr(summarise(folder, description)) == whole
    assert sum(read) < sum(file.stat().st_size for file in folder.glob("*.tyj"))


def _counting(data_of, read):
    def counting(reader, writer, place, size):
        data = data_of(reader, writer, place, size)
        read.append(len(data))
        return data

    return counting


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 99}'])
def test_summary_that_was_left_damaged_counts_for_nothing(folder, text):
    whole = repr(summarise(folder, load_description(folder)))
    (folder / "summary.part.json").write_text(text)

    assert repr(summarise(folder, load_description(folder))) == whole


def test_many_points_come_to_what_each_comes_to():
    rng = random.Random(7)
    values = [rng.choice([rng.random(), math.nan, math.inf, -1.0]) for _ in range(300)]
    values += [rng.random() for _ in range(120_000)]
    steps = [*range(len(values))]
    times = [n * 10 for n in steps]
    one, other = Tally(), Tally()
    for point in zip(steps, values, times, strict=True):
        one.add(*point)
    for start in range(0, len(values), 650):
        part = slice(start, start + 650)
        other.extend(steps[part], values[part], times[part])
    expected, found = one.plain(), other.plain()

    assert found.pop("parts") == pytest.approx(expected.pop("parts"), nan_ok=True)
    assert repr(found) == repr(expected)
    assert repr(Tally.of_state(other.state()).plain()) == repr(other.plain())
