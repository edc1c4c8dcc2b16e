"""A worker's log holds what was printed, without secrets, whole lines at a time."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from trackyard.delivery.logs import WorkerLog
from trackyard.redaction.redactor import Redactor

SECRET = "correct-horse-battery"
SHAPED = "ghp_" + "a1B2" * 9


@attrs.define
class Printed:
    """A log, and the socket through which comes what is printed."""

    log: WorkerLog
    file: Path
    end: int

    def say(self, text: bytes | str) -> None:
        os.write(self.end, text if isinstance(text, bytes) else text.encode())

    def text(self) -> str:
        self.log.drain()
        return self.file.read_text(encoding="utf-8")


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[Printed]:
    reading, writing = (end.detach() for end in socket.socketpair())
    file = tmp_path / "worker.log"
    log = WorkerLog(reading, file)
    yield Printed(log, file, writing)
    log.close()
    os.close(writing)


def test_secrets_that_are_known_and_those_of_a_shape_are_left_out(printed):
    printed.log.know(Redactor([SECRET]))
    printed.say(f"with {SECRET} and {SHAPED}\nbye")
    assert printed.text() == "with *** and ***\nbye\n"
    assert stat.S_IMODE(printed.file.stat().st_mode) == 0o600


def test_each_line_of_a_secret_with_several_is_left_out(printed):
    printed.log.know(Redactor(["first-line-of-it\nsecond-line-of-it"]))
    printed.say("second-line-of-it\nfirst-line-of-it\n")
    assert printed.text() == "***\n***\n"


def test_a_secret_that_comes_in_two_pieces_is_left_out(printed):
    printed.log.know(Redactor([SECRET]))
    printed.say(f"a\nb {SECRET[:9]}")
    printed.log._take(is_last=False)
    printed.say(f"{SECRET[9:]} c\r100 %\n")
    assert printed.text().splitlines() == ["a", "b *** c", "100 %"]


def test_a_line_that_is_longer_than_is_searched_is_left_out_as_a_whole(printed):
    printed.log.know(Redactor([SECRET]))
    for part in (b"x" * 60_000, b"y" * 60_000, b"z" * 60_000, f"{SECRET}\nafter\n".encode()):
        printed.say(part)
        printed.log._take(is_last=False)
    assert printed.text() == "(a line of more than 65536 bytes)\nafter\n"


def test_what_is_no_text_is_kept(printed):
    printed.say(b"\xff\n")
    printed.log.drain()
    assert printed.file.read_bytes() == b"\xff\n"


def test_a_log_takes_no_more_than_its_share(printed, monkeypatch):
    monkeypatch.setattr("trackyard.delivery.logs._MOST", 10_000)
    for _ in range(50):
        printed.say(b"a word or two\n" * 100)
        printed.log._take(is_last=False)
    text = printed.file.read_text()
    assert len(text) < 10_100
    assert text.endswith("(what comes later is not kept: this log has 16 MiB)\n")
