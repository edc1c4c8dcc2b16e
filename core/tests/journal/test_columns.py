"""Points that are written by columns are read as log calls would have written them."""

from __future__ import annotations

import math

import pytest

from trackyard.journal.columns import Column, rows_of
from trackyard.journal.entries import Holder, encode_points
from trackyard.journal.points import Histories
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter

HOLDER = Holder("mlflow", "ab", "", 4)
LOSS = Column("loss", [1, 2, 2.5], [0.5, 0.25, 1.0], [10, 20, 30])
RATE = Column("rate", [1, 2.5], [1.0, 2.0], [10, 30])
ODD = Column("o\udc80dd", [None, None], [math.inf, -math.inf], [10, 10])


def test_numbers_of_one_step_and_time_come_together():
    assert [*rows_of([LOSS, RATE])] == [
        (10, 1, {"loss": 0.5, "rate": 1.0}),
        (20, 2, {"loss": 0.25}),
        (30, 2.5, {"loss": 1.0, "rate": 2.0}),
    ]


@pytest.mark.parametrize(
    "other",
    [
        Column("back", [2, 1], [1.0, 2.0], [20, 10]),
        Column("twice", [1, 1], [1.0, 2.0], [10, 10]),
        Column("loss", [1], [3.0], [10]),
    ],
)
def test_no_metric_comes_in_another_order_by_that(other):
    rows = [*rows_of([LOSS, other])]

    assert rows[3:] == [
        (time, step, {other.key: value})
        for step, value, time in zip(other.steps, other.values, other.timestamps, strict=True)
    ]


def test_both_ways_of_reading_give_all_points(tmp_path):
    writer = JournalWriter(tmp_path)
    for columns in ([LOSS, RATE],) * 30 + ([ODD], [LOSS]):
        assert writer.append_newest(encode_points(HOLDER, columns))
    writer.close()
    blocks = [block for _, block in JournalReader(tmp_path).read_blocks()]
    entries = [entry for _, entry in JournalReader(tmp_path).read(1000)]

    histories = [block for block in blocks if isinstance(block, Histories)]
    assert [*histories[0].columns()][:2] == [LOSS, RATE]
    by_blocks = [block.points if isinstance(block, Histories) else len(block) for block in blocks]
    assert sum(block.frames for block in histories) > 5
    assert len(entries) == 1 + 30 * 3 + 2 + 3
    assert sum(by_blocks) > len(entries)  # columns count points, and entries log calls
    points = [(entry.step, entry.data) for entry in entries[1:]]
    assert points[-5:-3] == [(None, {ODD.key: math.inf}), (None, {ODD.key: -math.inf})]
    assert points[:3] == [(1, {"loss": 0.5, "rate": 1.0}), (2, {"loss": 0.25}), points[2]]
    assert {entry.held_by for entry in entries[1:]} == {HOLDER}


def test_columns_of_different_lengths_are_damage(tmp_path):
    writer = JournalWriter(tmp_path)
    assert writer.append_newest(encode_points(HOLDER, [Column("loss", [1], [0.5, 0.25], [10, 20])]))
    assert writer.append_newest(encode_points(HOLDER, [LOSS]))
    writer.close()
    reader = JournalReader(tmp_path)
    found = [block for _, block in reader.read_blocks() if block]

    assert (reader.lost, len(found)) == (1, 1)
