"""Are files written whole, and by whom can they be read?"""

from __future__ import annotations

import os
import stat

import pytest

from trackyard.system.files import replacing, write_whole


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_owner_alone_reads_and_writes_it_at_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "kept", "text")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600


@pytest.mark.parametrize("data", ["näher", b"\x00\xff", "", b""])
@pytest.mark.parametrize("is_synced", [False, True])
def test_it_takes_texts_and_bytes_and_replaces_what_was_there(tmp_path, data, is_synced):
    (tmp_path / "kept").write_text("of before")

    write_whole(tmp_path / "kept", data, is_synced=is_synced)

    assert (tmp_path / "kept").read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_was_there_stays_when_it_cannot_be_written(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/inside").write_text("of before")

    with pytest.raises(OSError):
        write_whole(tmp_path / "kept", "new")

    assert (tmp_path / "kept/inside").read_text() == "of before"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path):
    write_whole(tmp_path / "kept", "old")
    with (tmp_path / "kept").open() as reader:
        write_whole(tmp_path / "kept", "new")

        assert reader.read() == "old"
    assert (tmp_path / "kept").read_text() == "new"


def test_a_file_may_have_another_name_until_it_is_whole(tmp_path):
    """Some tools take every file whose name has a word in it for one of theirs."""
    path = tmp_path / "out.events.1"
    with replacing(path, name=".part") as beside:
        beside.write_text("half")
        seen = [each.name for each in tmp_path.iterdir()]

    assert seen == [beside.name]
    assert beside.name.startswith(".part.")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
