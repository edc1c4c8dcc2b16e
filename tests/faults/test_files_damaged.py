"""Files that are cut, flipped, foreign or gone cost what they held, counted, and nothing else."""

from __future__ import annotations

import json
import random
import re
import shutil
import tracemalloc

import pytest
from evidence import wait_until
from hypothesis import given, strategies as st
from matrices import first_by_default

from trackyard import start_run
from trackyard.contract.errors import NewerFormatError
from trackyard.journal.entries import Entry
from trackyard.journal.frames import encode_frame
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter
from trackyard.recovery.finishing import sync_all

COUNT = 40


@pytest.fixture
def journal(tmp_path):
    """A journal of COUNT metrics; gives a function that reads it after a change of its bytes."""
    return Damaged(tmp_path)


class Damaged:
    """A small journal, and what is read of it after damage."""

    def __init__(self, folder) -> None:
        self.folder = folder / "run"
        writer = JournalWriter(self.folder)
        for number in range(COUNT):
            writer.append(Entry("metrics", number, number, {"loss": float(number)}))
        writer.close()
        (self.segment,) = self.folder.glob("*.tyj")
        self.data = self.segment.read_bytes()

    def read(self, data: bytes) -> tuple[list[float], int]:
        """Give the values that are read of other bytes, and how many are said to be lost."""
        self.segment.write_bytes(data)
        reader = JournalReader(self.folder)
        entries = [entry for _, entry in reader.read(10**6)]
        values = [entry.data["loss"] for entry in entries if entry.kind == "metrics"]
        assert all(type(value) is float for value in values)
        return values, reader.lost


ALL = [float(number) for number in range(COUNT)]


@pytest.mark.slow
def test_j1_cut_at_every_offset(journal):
    for offset in range(len(journal.data)):
        values, lost = journal.read(journal.data[:offset])
        assert values == ALL[: len(values)]
        assert lost == 0  # nobody can know what stood behind the end

    assert journal.read(journal.data) == (ALL, 0)


@pytest.mark.slow
def test_j2_a_bit_flips_anywhere(journal):
    generator = random.Random(1)
    for _ in range(1500):
        damaged = bytearray(journal.data)
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        values, lost = journal.read(bytes(damaged))
        missing = [value for value in ALL if value not in values]

        assert len(missing) <= 1
        assert set(values) <= set(ALL)
        assert values == sorted(set(values))
        is_last_or_header = missing in ([], [ALL[-1]])
        assert lost == len(missing) or (is_last_or_header and lost <= 1)


BLOCKS = {
    "garbage": lambda data, size: random.Random(size).randbytes(size),
    "zeros": lambda data, size: bytes(size),
    "newlines": lambda data, size: b"\n" * size,
    "a block of its own": lambda data, size: data[:size],
}


@pytest.mark.parametrize("where", ["over", "between", "behind"])
@pytest.mark.parametrize("block", BLOCKS)
def test_j3_a_block_of_something_else(journal, block, where):
    generator = random.Random(2)
    for _ in range(150):
        size, place = generator.randrange(1, 600), generator.randrange(len(journal.data))
        new = BLOCKS[block](journal.data, size)
        if where == "behind":
            damaged = journal.data + new
        else:
            rest = place + (size if where == "over" else 0)
            damaged = journal.data[:place] + new + journal.data[rest:]
        values, lost = journal.read(damaged)

        assert set(values) <= set(ALL)
        assert values == sorted(set(values))
        assert lost <= COUNT + 1
        if where == "behind":
            assert (values, lost) == (ALL, 0)
        elif values and values[-1] == ALL[-1]:  # what stands before a later entry is counted
            assert lost >= COUNT - len(values)


@pytest.mark.parametrize(
    "length", [b"ffffffff", b"-0000001", b"notahexa", b"7fffffff", b"00ffffff"]
)
def test_j4_a_length_that_cannot_be(journal, length):
    starts = [match.start() for match in re.finditer(rb"~1 ", journal.data)]
    place = starts[10] + 20
    damaged = journal.data[:place] + length + journal.data[place + 8 :]
    tracemalloc.start()
    values, lost = journal.read(damaged)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (len(values), lost) == (COUNT - 1, 1)
    assert peak < 32 * 1024 * 1024


def test_j5_the_bytes_of_a_journal_logged_as_a_value(faults, journal):
    """Read from behind a damaged head, a text that holds frames must not become records."""
    faults.add_tracker(isolation="thread")
    with start_run("outer") as run:
        run.set_tag("journal", journal.data.decode())
        run.set_tag(
            "newline", "\n" + encode_frame(5, b'["tags",1,null,{"forged":"yes"}]', 0).decode()
        )
        run.log_metric("loss", 1)
    (folder,) = faults.run_folders()
    (segment,) = folder.glob("*.tyj")
    for damage in range(segment.stat().st_size):
        data = bytearray(segment.read_bytes())
        if data[damage : damage + 2] != b"~1":
            continue
        data[damage] ^= 255
        other = folder.parent.parent / "copies" / str(damage) / folder.name
        shutil.copytree(folder, other)
        (other / segment.name).write_bytes(data)
        keys = {key for e in faults.journal(other) if e.kind == "tags" for key in e.data}
        assert "forged" not in keys
        assert faults.journaled("loss", other) in ([1], [])

    assert faults.values("newline", kind="tag")[0].startswith("\n~1 ")


def test_j6_a_newer_format(journal):
    newer = journal.data.replace(b"~1 ", b"~2 ")
    with pytest.raises(NewerFormatError, match=r"format 2.*pip install --upgrade trackyard"):
        journal.read(newer)

    assert journal.segment.read_bytes() == newer


def test_j6_a_kind_of_entry_that_a_newer_trackyard_knows(faults):
    faults.add_tracker(isolation="thread")
    with start_run("newer") as run:
        run._tracked.journal.append(Entry("future", 1, None, {"a": 1}))  # no call does this today
        run.log_metric("loss", 1)

    assert faults.values("loss") == [1]
    assert faults.statuses() == ["finished"]


STATES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "torn": lambda path: path.write_text(path.read_text()[:20]),
    "of another kind": lambda path: path.write_text('["a", "list"]'),
    "binary": lambda path: path.write_bytes(b"\xff\x00\xfe" * 50),
    "ahead of the journal": lambda path: rewrite(path, 10**6),
    "behind the journal": lambda path: rewrite(path, 3),
}


def rewrite(path, sequence):
    state = json.loads(path.read_text())
    state["cursor"] = dict.fromkeys(state["cursor"], sequence)
    path.write_text(json.dumps(state))


@pytest.mark.parametrize("state", first_by_default(STATES, 2))
def test_j7_the_note_of_what_is_delivered(faults, state):
    """It was lost, torn, or written for another journal: what is there is sent again."""
    backend = faults.add_tracker(isolation="thread", flush_timeout=0.5)
    with start_run("noted") as run:
        for number in range(20):
            run.log_metric("loss", number)
        wait_until(lambda: len(faults.values("loss")) == 20)
        (backend / "down").touch()
        run.log_metric("loss", 20)
    (folder,) = faults.run_folders()
    STATES[state](folder / "local" / "delivery.json")
    (backend / "down").unlink()
    sync_all(faults.project, patience=10)

    assert sorted(faults.values("loss")) == list(range(21))
    assert faults.statuses() == ["finished"]
    assert faults.ends() == [1]


def test_j8_read_while_it_is_written(faults, tmp_path):
    folder = tmp_path / "run"
    process = faults.start(
        """
import sys
from pathlib import Path
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
writer = JournalWriter(Path(sys.argv[1]))
for number in range(30_000):
    writer.append(Entry("metrics", 1, number, {"loss": float(number)}))
writer.close()
""",
        str(folder),
    )
    reader, found = JournalReader(folder), []
    while process.poll() is None or len(found) < 30_000:
        found += [e.data["loss"] for _, e in reader.read(1000) if e.kind == "metrics"]
        assert reader.lost == 0
        assert process.poll() in (None, 0), process.communicate()
    process.communicate()

    assert found == list(range(30_000))


def test_j9_a_segment_in_the_middle_is_gone(faults):
    backend = faults.add_tracker(isolation="thread", flush_timeout=0.1, start_timeout=0.1)
    (backend / "down").touch()
    with start_run("gap") as run:
        for number in range(6000):
            run.log_metric("loss", number)
    (folder,) = faults.run_folders()
    segments = sorted(folder.glob("*.tyj"))
    assert len(segments) >= 3
    segments[1].unlink()
    (backend / "down").unlink()
    sync_all(faults.project, patience=10)
    reader = JournalReader(folder)
    left = [e.data["loss"] for _, e in reader.read(10**6) if e.kind == "metrics"]

    assert 0 < len(left) < 6000
    assert reader.lost == 6000 - len(left)
    assert faults.values("loss") == left
    assert faults.statuses() == ["finished"]


@given(st.binary(max_size=400))
def test_j3_nothing_but_garbage(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "garbage"
    folder.mkdir(exist_ok=True)
    (folder / "r0-p1-aaaa.000001.tyj").write_bytes(data)
    try:
        assert JournalReader(folder).read(100) == []
    except NewerFormatError:
        assert data[:1] == b"~"
