"""Is kept what a run prints, within its bounds, whatever happens to the process or the disk?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque

import pytest

from trackyard.console import keeping
from trackyard.console.keeping import Console
from trackyard.console.lines import FORMAT, header
from trackyard.console.reading import ConsoleReader, bounded, read_console
from trackyard.contract.errors import NewerFormatError
from trackyard.redaction.redactor import Redactor


@pytest.fixture
def console(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_PLACES", deque([None]))
    return Console(tmp_path, Redactor(["correct horse battery"]), 10_000_000)


def texts(folder):
    return [line.text for line in read_console(folder)]


def test_lines_of_both_streams_stand_in_their_order(console, tmp_path):
    for stream, text in (("out", "one\n"), ("err", "two\n"), ("out", "three\nfour\n")):
        console.write(stream, text)

    found = [(line.stream, line.text) for line in read_console(tmp_path)]
    assert found == [("out", "one"), ("err", "two"), ("out", "three"), ("out", "four")]
    assert [line.moment for line in read_console(tmp_path)] == sorted(
        line.moment for line in read_console(tmp_path)
    )


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["\r 10%", "\r 50%", "\r100%", "\n"], ["100%"]),
        (["a\r\nb\r\n"], ["a", "b"]),
        (["loading\r", "done", "\n"], ["done"]),
        (["\x1b[31mred\x1b[0m\x1b]0;title\x07!\n"], ["red!"]),
        (["a", "b", "", "c\n", "\n"], ["abc", ""]),
        (["lone \ud800\n"], ["lone \\ud800"]),
    ],
)
def test_line_is_what_a_terminal_shows_in_the_end(console, tmp_path, written, kept):
    for text in written:
        console.write("out", text)

    assert [text.strip(" ") for text in texts(tmp_path)] == kept


def test_unfinished_line_is_there_and_gives_way_to_others(console, tmp_path):
    console.write("err", "\r 1/9")
    assert texts(tmp_path) == [" 1/9"]
    console.write("out", "a line that is longer than the other one\n")
    assert texts(tmp_path) == ["a line that is longer than the other one", " 1/9"]
    console.write("err", "\r")
    console.write("err", "9/9\n")
    assert texts(tmp_path) == ["a line that is longer than the other one", "9/9"]


def test_secret_never_reaches_the_disk_also_in_parts(console, tmp_path):
    for text in ("the secret is correct horse", " battery", "\n", "password=hunter2hunter2\n"):
        console.write("out", text)

    (file,) = (tmp_path / keeping.FOLDER).iterdir()
    assert texts(tmp_path) == ["the secret is ***", "password=***"]
    assert b"battery" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


def test_head_and_tail_are_kept_within_the_limit(tmp_path):
    console = Console(tmp_path, Redactor(), 100_000)
    for number in range(20_000):
        console.write("out", f"line {number}\n")

    size = sum(path.stat().st_size for path in (tmp_path / keeping.FOLDER).iterdir())
    found = texts(tmp_path)
    gap = next(text for text in found if text.endswith("left out here"))
    assert size <= 101_000
    assert (found[0], found[-1]) == ("line 0", "line 19999")
    assert len(found) - 1 + int(gap.split()[0]) == 20_000


def test_line_without_end_is_cut(console, tmp_path):
    for _ in range(30):
        console.write("out", "x" * 10_000)
    console.write("out", "\n")

    (text,) = texts(tmp_path)
    assert text.endswith("... (200000 characters more)")


def test_killed_process_has_kept_all_that_it_printed(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from trackyard.console.keeping import Console
from trackyard.redaction.redactor import Redactor
console = Console(Path({str(tmp_path)!r}), Redactor(), 1_000_000)
for number in range(1000):
    console.write("out", f"{{number}}\\n")
console.write("out", "unfinished")
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert texts(tmp_path) == [*map(str, range(1000)), "unfinished"]


def test_broken_disk_costs_lines_that_are_counted(console, tmp_path, monkeypatch, caplog):
    console.write("out", "before\n")
    (file,) = (tmp_path / keeping.FOLDER).iterdir()
    file.parent.rename(tmp_path / "away")
    (tmp_path / keeping.FOLDER).write_text("no folder")
    console._next_file()
    for number in range(5):
        console.write("out", f"{number}\n")
    (tmp_path / keeping.FOLDER).unlink()
    (tmp_path / "away").rename(tmp_path / keeping.FOLDER)
    monkeypatch.setattr(console, "_retry_at", 0.0)
    console.write("out", "after\n")
    console.close()

    assert console.lost == 5
    assert texts(tmp_path) == ["before", "5 line(s) are not kept: Not a directory", "after"]
    assert "5 line(s) that were printed are not kept" in caplog.text


def test_file_of_the_user_with_our_descriptor_is_not_written(console, tmp_path):
    console.write("out", "before\n")
    number = console._file.number
    os.close(number)
    other = os.open(tmp_path / "users", os.O_RDWR | os.O_CREAT)
    assert other == number

    console.write("out", "lost\n")

    assert (tmp_path / "users").read_bytes() == b""
    assert console.lost == 1
    os.close(other)


def test_threads_share_it(console, tmp_path):
    def write(name):
        for number in range(200):
            console.write("out", f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = texts(tmp_path)
    assert sorted(found) == sorted(f"{name} {n}" for name in "abcd" for n in range(200))


def test_forked_child_keeps_its_lines_beside(console, tmp_path):
    console.write("out", "parent\n")
    child = os.fork()
    if child == 0:
        console.write("out", "child\n")
        os._exit(0)
    os.waitpid(child, 0)
    console.write("out", "parent again\n")

    assert texts(tmp_path) == ["parent", "child", "parent again"]


def test_print_in_a_signal_handler_is_kept(console, tmp_path):
    inner = console._take

    def interrupted(stream, text):
        console._take = inner
        console.write("out", "from a handler\n")  # while this thread is writing
        inner(stream, text)

    console._take = interrupted
    console.write("out", "line\n")

    assert texts(tmp_path) == ["line", "from a handler"]


def test_reader_goes_on_where_it_was(console, tmp_path):
    reader = ConsoleReader(tmp_path)
    console.write("out", "one\ntwo")
    assert [line.text for line in reader.read()] == ["one"]
    console.write("out", " halves\n")
    assert [line.text for line in reader.read()] == ["two halves"]
    assert reader.read() == []


def test_lines_of_a_newer_version_are_refused(tmp_path):
    folder = tmp_path / keeping.FOLDER
    folder.mkdir()
    newer = header(0).replace(f"console {FORMAT},", f"console {FORMAT + 1},")
    (folder / "1-p1-aa.000000.log").write_text(newer)

    with pytest.raises(NewerFormatError, match="newer"):
        read_console(tmp_path)


def test_what_many_processes_printed_is_bounded_together(console, tmp_path):
    for number in range(1000):
        console.write("out", f"line {number}\n")

    found = bounded(read_console(tmp_path), 4000)

    assert sum(len(line.text) + 33 for line in found) < 4200
    assert (found[0].text, found[-1].text) == ("line 0", "line 999")


def test_consoles_of_many_runs_keep_few_files_open_and_every_line(tmp_path, monkeypatch):
    limit = 4
    monkeypatch.setattr(keeping, "_PLACES", deque([None] * limit))
    consoles = [Console(tmp_path / str(n), Redactor(), 1_000_000) for n in range(limit + 3)]
    for word in ("one", "two"):
        for console in consoles:
            for text in ("\r 50%", f"\r{word}", "\n", "unfinished"):
                console.write("out", text)
            console.write("out", "\n")

    assert sum(console._file is not None for console in consoles) == limit
    for number in range(len(consoles)):
        kept = [text.strip() for text in texts(tmp_path / str(number))]
        assert kept == ["one", "unfinished", "two", "unfinished"]
    for console in consoles:
        console.close()
    assert len(keeping._PLACES) == limit


def test_a_file_that_is_deleted_between_two_lines_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_PLACES", deque())
    console = Console(tmp_path, Redactor(), 1_000_000)
    console.write("out", "one\n")
    (first,) = (tmp_path / keeping.FOLDER).glob("*.log")
    first.unlink()
    console.write("out", "two\n")
    console.write("out", "three\n")

    assert texts(tmp_path)[-2:] == ["two", "three"]
    assert console.lost == 0
