"""Files and large values are stored once each, and damage to one costs that one alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trackyard import Artifact
from trackyard.contract.records import Failure
from trackyard.journal.blobs import Blobs
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader
from trackyard.journal.writer import JournalWriter

LONG = "long " * 500_000


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def log(folder, tmp_path):
    """Give a function that logs contents as artifacts."""
    writer = JournalWriter(folder)

    def log(content, name="a.bin"):
        source = tmp_path / "source"
        source.write_bytes(content)
        writer.append(Entry("artifact", 5, 3, Artifact(name, source, "file", None, 3, 5)))
        return writer

    yield log
    writer.close()


def read(folder):
    """Give what is logged, without the headers, and how much is lost."""
    reader = JournalReader(folder)
    entries = [entry for _, entry in reader.read(10**6) if entry.kind != "header"]
    return entries, reader.lost


def contents(folder):
    return {entry.data.name: entry.data.path.read_bytes() for entry in read(folder)[0]}


def blobs(folder):
    return [path for path in (folder / "blobs").rglob("*") if path.is_file()]


def test_an_artifact_comes_back_with_its_content_and_a_file_of_its_own_name(folder, log):
    log(b"content", "plots/a.png")
    (entry,), lost = read(folder)

    artifact = entry.data
    assert artifact == Artifact("plots/a.png", artifact.path, "file", None, 3, 5)
    assert (artifact.path.name, artifact.path.read_bytes(), lost) == ("a.png", b"content", 0)
    assert artifact.path.is_relative_to(folder)


@pytest.mark.parametrize("name", ["", "..", "a/..", "a\\b", "a\0b", "/etc/passwd", "\udc80"])
def test_an_odd_name_stays_inside_of_the_run(folder, log, name):
    log(b"content", name)

    (path,) = blobs(folder)
    assert contents(folder) == {name: b"content"}
    assert path.parent.parent.parent == folder


def test_the_same_content_is_stored_once(folder, log):
    for name in ("a.bin", "a.bin", "b.bin", "deep/a.bin"):
        log(b"content", name)

    assert contents(folder) == dict.fromkeys(("a.bin", "b.bin", "deep/a.bin"), b"content")
    assert len({path.stat().st_ino for path in blobs(folder)}) == 1


def test_where_files_cannot_be_linked_each_name_has_a_copy(folder, log, monkeypatch):
    def link(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    for name in ("a.bin", "b.bin"):
        log(b"content", name)

    assert contents(folder) == dict.fromkeys(("a.bin", "b.bin"), b"content")


def test_nobody_else_may_read_what_is_stored(folder, log):
    before = os.umask(0)
    try:
        log(b"content").append(Entry("params", 1, None, {"long": LONG}))
    finally:
        os.umask(before)

    modes = {
        (path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))
    }
    assert modes == {(True, 0o700), (False, 0o600)}


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "elsewhere"])
def test_a_damaged_file_costs_its_artifact_alone_and_is_counted(folder, log, damage):
    log(b"content", "a.bin")
    log(b"other", "b.bin")
    path = next(path for path in blobs(folder) if path.name == "a.bin")
    if damage == "missing":
        path.unlink()
    elif damage == "elsewhere":
        path.rename(folder.parent / "moved")
        path.symlink_to(folder.parent / "moved")
    else:
        path.write_bytes(b"conten" if damage == "cut" else b"CONTENT")
    entries, lost = read(folder)

    assert [entry.data.name for entry in entries] == ["b.bin"]
    assert lost == 1


@pytest.mark.parametrize(
    "entry",
    [
        Entry("params", 7, None, {"text": LONG, "rate": 0.1}),
        Entry("tags", 7, None, {"text": LONG}),
        Entry("metrics", 7, 3, {f"metric_{number}": number / 7 for number in range(60_000)}),
        Entry("end", 7, None, Failure("failed", "ValueError", "m", LONG)),
        Entry("params", 7, None, {"text": LONG + "\udc80"}),
        Entry("params", 7, None, {"text": "x" * 20_000_000}),
    ],
    ids=["params", "tags", "metrics", "end", "surrogate", "20 MB"],
)
def test_a_value_over_one_mebibyte_is_stored_beside_the_journal(folder, entry):
    writer = JournalWriter(folder)
    writer.append(entry)
    writer.append(Entry("metrics", 8, 1, {"loss": 0.5}))
    writer.close()
    entries, lost = read(folder)

    assert [tuple(e)[:4] for e in entries] == [tuple(entry)[:4], ("metrics", 8, 1, {"loss": 0.5})]
    assert (lost, writer.dropped) == (0, 0)
    assert sum(path.stat().st_size for path in folder.glob("*.tyj")) < 1024 * 1024


def test_a_damaged_value_costs_its_entry_alone(folder):
    writer = JournalWriter(folder)
    writer.append(Entry("params", 7, None, {"text": LONG}))
    writer.append(Entry("metrics", 8, 1, {"loss": 0.5}))
    writer.close()
    (path,) = blobs(folder)
    path.write_bytes(path.read_bytes()[:-1])
    entries, lost = read(folder)

    assert [entry.kind for entry in entries] == ["metrics"]
    assert lost == 1


def test_a_reference_of_a_foreign_hand_leads_nowhere(folder, log):
    """Neither out of the run's folder, nor to a value that refers to itself."""
    writer = log(b"content")
    for reference in ("../../../../etc/passwd", "/etc/passwd", "x" * 64, None, 5):
        data = {"sha256": reference, "size": 7}
        writer._append(b'["blob",0,null,%b]' % repr(data).replace("'", '"').encode())
    own = writer.blobs.take_value(b'["blob",0,null,{"sha256":"%b","size":3}]' % (b"a" * 64))
    writer._append(f'["blob",0,null,{{"sha256":"{own.sha256}","size":{own.size}}}]'.encode())
    entries, lost = read(folder)

    assert [entry.kind for entry in entries] == ["artifact"]
    assert lost >= 5


def test_a_file_that_vanishes_or_cannot_be_stored_is_counted_and_raises_nothing(folder, caplog):
    writer = JournalWriter(folder)
    for source in (Path("/nowhere/at/all"), Path("/dev/zero"), Path("/")):
        writer.append(Entry("artifact", 5, 3, Artifact("a.bin", source, "file")))
    writer.append(Entry("metrics", 8, 1, {"loss": 0.5}))
    writer.close()

    assert writer.dropped == 3
    entries = read(folder)[0]
    assert [entry.kind for entry in entries] == ["metrics", "dropped"]
    assert entries[-1].data == {"count": 3}
    assert "records are lost" in caplog.text


def test_a_file_that_grows_all_the_time_is_stored_as_it_was(folder, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1_000_000)
    stop = threading.Event()

    def grow():
        with source.open("ab", buffering=0) as file:
            while not stop.is_set() and file.tell() < 3_000_000:
                file.write(b"x" * 1000)
                time.sleep(0.0005)

    thread = threading.Thread(target=grow)
    thread.start()
    writer = JournalWriter(folder)
    try:
        for _ in range(20):
            writer.append(Entry("artifact", 5, 3, Artifact("a.bin", source, "file")))
    finally:
        stop.set()
        thread.join()
        writer.close()
    entries, lost = read(folder)

    assert (len(entries), lost, writer.dropped) == (20, 0, 0)


def test_files_that_threads_store_at_once_are_all_kept(folder, tmp_path):
    writer = JournalWriter(folder)
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(b"%d" % number * 1000)

    def work(thread):
        for number in range(20):
            source = tmp_path / f"{number % 5}.bin"
            artifact = Artifact(f"{thread}-{number}.bin", source, "file")
            writer.append(Entry("artifact", 5, 3, artifact))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    entries, lost = read(folder)

    assert (len(entries), lost, writer.dropped) == (80, 0, 0)
    # Who begins while another thread writes the same content waits for nobody, and writes it anew.
    assert 5 <= len({path.stat().st_ino for path in blobs(folder)}) <= 5 + 5 * len(threads)


def test_a_huge_file_takes_little_memory(tmp_path):
    """100 MB, all of them a hole; a third of that is too much."""
    program = """
import os, resource, sys
from pathlib import Path
from trackyard import Artifact
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
source = Path("source")
with source.open("wb") as file:
    file.truncate(100_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
writer = JournalWriter(Path("run"))
writer.append(Entry("artifact", 5, 3, Artifact("a.bin", source, "file")))
print(writer.dropped, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    dropped, kilobytes = map(int, process.stdout.split())

    assert dropped == 0
    assert kilobytes < 30_000


# Content in memory, and links


def test_content_that_a_killed_process_has_half_written_is_written_anew(folder):
    blobs = Blobs(folder)
    whole = blobs.keep(b"the whole content", "a.bin")
    whole.path.write_bytes(b"the wh")

    assert blobs.keep(b"the whole content", "a.bin") == whole
    assert whole.path.read_bytes() == b"the whole content"
    assert blobs.keep(b"the whole content", "deep/b.bin").path.samefile(whole.path)
    assert [path.name for path in blobs.folder.iterdir()] == [whole.sha256]


def test_full_disk_leaves_no_half_of_a_content(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    blobs = Blobs(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", refuse)
        with pytest.raises(OSError, match="No space left"):
            blobs.keep(b"content", "a.bin")

    assert not [path for path in blobs.folder.rglob("*") if path.is_file()]
    assert blobs.keep(b"content", "a.bin").path.read_bytes() == b"content"


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_file_that_is_final_is_linked_and_keeps_its_mode(folder, tmp_path, size):
    source = tmp_path / "model.bin"
    source.write_bytes(os.urandom(size))
    source.chmod(0o640)
    blob = Blobs(folder).take(source, "best.bin", by_link=True)

    assert blob.path.samefile(source)
    assert blob.path.name == "best.bin"
    assert stat.S_IMODE(source.stat().st_mode) == 0o640
    source.unlink()
    assert blob.path.stat().st_size == size


def test_file_that_cannot_be_linked_is_copied(folder, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    source = tmp_path / "model.bin"
    source.write_bytes(b"content")
    monkeypatch.setattr(os, "link", refuse)
    blob = Blobs(folder).take(source, "model.bin", by_link=True)

    assert not blob.path.samefile(source)
    assert blob.path.read_bytes() == b"content"


def final(tmp_path, name="model.bin"):
    """Give the entry of a file that is final."""
    source = tmp_path / name
    source.write_bytes(name.encode())
    return Entry("artifact", 5, 3, Artifact(name, source, "file", None, 3, 5, is_final=True))


def test_files_of_a_journal_say_that_they_are_newer_from_the_first_final_artifact_on(
    folder, tmp_path
):
    writer = JournalWriter(folder)
    writer.append(Entry("tags", 5, None, {"a": "b"}))
    writer.append(final(tmp_path))
    writer.append(final(tmp_path, "other.bin"))
    writer.close()

    entries, lost = read(folder)
    assert lost == 0
    assert [entry.kind for entry in entries] == ["tags", "artifact", "artifact"]
    assert [entry.data.is_final for entry in entries[1:]] == [True, True]
    formats = [
        file.read_bytes().split(b'"format":"')[1][:3] for file in sorted(folder.glob("*.tyj"))
    ]
    assert formats == [b"2.3", b'4",']


def test_final_artifact_that_begins_a_journal_is_read(folder, tmp_path):
    writer = JournalWriter(folder)
    writer.append(final(tmp_path))
    writer.close()

    ((entry,), lost) = read(folder)
    assert (entry.data.is_final, lost) == (True, 0)
    assert len([*folder.glob("*.tyj")]) == 1
