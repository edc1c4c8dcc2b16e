"""Is a `.wandb` file written as W&B writes it, and read to where it is torn?"""

from __future__ import annotations

import os
import random
import resource

import pytest

from trackyard_wandb.logfile import LogWriter, read_log

BLOCK = 32 * 1024
HEAD = 7


def records(path, start=0):
    return [data for data, _ in read_log(path, start)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.wandb"


def write(path, contents, end=0):
    writer = LogWriter(path, end)
    for content in contents:
        writer.append([content])
    writer.close()


def test_records_of_any_length_are_read_back(path):
    chance = random.Random(7)
    lengths = [0, 1, BLOCK - 2 * HEAD, BLOCK - 2 * HEAD - 1, BLOCK, 3 * BLOCK]
    lengths += [chance.randrange(1, 5000) for _ in range(200)]
    contents = [chance.randbytes(length) for length in lengths]

    write(path, contents)

    assert records(path) == contents
    ends = [end for _, end in read_log(path)]
    assert ends[-1] == path.stat().st_size
    assert records(path, ends[5]) == contents[6:]


@pytest.mark.parametrize("room", range(HEAD + 2))
def test_a_record_at_the_end_of_a_block_is_whole(path, room):
    first = bytes(BLOCK - HEAD - HEAD - room)  # the file's own head has the length of a chunk's
    write(path, [first, b"second", b"third"])

    assert records(path) == [first, b"second", b"third"]


def test_a_torn_file_gives_what_is_whole(path):
    write(path, [b"first", b"x" * 40_000, b"third"])
    whole = path.read_bytes()
    ends = [end for _, end in read_log(path)]
    for size in [*range(40), *range(ends[1] - 20, len(whole))]:
        path.write_bytes(whole[:size])
        assert len(records(path)) == sum(end <= size for end in ends), size


def test_a_damaged_record_ends_the_reading(path):
    write(path, [b"first", b"second"])
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)

    assert records(path) == [b"first"]


def test_a_writer_goes_on_behind_the_last_whole_record(path):
    write(path, [b"first", b"second"])
    end = next(end for _, end in read_log(path))
    os.truncate(path, path.stat().st_size - 1)

    write(path, [b"third"], end)

    assert records(path) == [b"first", b"third"]


def test_a_write_that_fails_leaves_the_file_whole(path):
    writer = LogWriter(path)
    writer.append([b"first"])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError):
            writer.append([bytes(100_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == [end for _, end in read_log(path)][-1]
    assert records(path) == [b"first"]
    writer.append([b"second"])
    writer.close()
    writer.close()

    assert records(path) == [b"first", b"second"]


def test_what_is_no_log_has_no_records(path):
    assert records(path) == []
    path.write_bytes(b"something else")
    assert records(path) == []


def test_a_log_that_others_closed_is_opened_anew_and_their_file_stays_whole(path, tmp_path):
    writer = LogWriter(path)
    writer.append([b"one"])
    number = writer._file.number
    os.close(number)
    with (tmp_path / "of-others").open("wb") as other:
        assert other.fileno() == number
        writer.append([b"two"])
        writer.close()
        other.write(b"theirs")

    assert records(path) == [b"one", b"two"]
    assert (tmp_path / "of-others").read_bytes() == b"theirs"
