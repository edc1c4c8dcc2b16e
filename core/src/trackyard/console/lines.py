"""How is one printed line written in a file, and read again?

`2026-11-29T21:45:01.123456Z out epoch 1: loss 0.25`: when it was printed (UTC), where, and its
text. Texts of times of this form sort as the times do. A file begins with a line that says the
format's number, and how many lines of the same writer came before the file.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from trackyard.contract.errors import refuse_newer

FORMAT = 1
# `out` and `err` as in processes; `note` is a remark of Trackyard's own, such as of lost lines.
StreamName = Literal["out", "err", "note"]

_header = re.compile(r"# trackyard console (\d+), (\d+) lines before\Z")
_line = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (out|err|note) (.*)\Z", re.DOTALL)
# Commands to a terminal: colours, cursor movements, titles.
_escapes = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_controls = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ConsoleLine(NamedTuple):
    """One line that a run printed.

    Attributes:
        moment: When, as it stands in the file.
        stream: Where to.
        text: Its text, without commands to a terminal.
    """

    moment: str
    stream: StreamName
    text: str

    @property
    def time(self) -> datetime:
        """When it was printed (UTC)."""
        return datetime.strptime(self.moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.moment} {self.stream} {self.text}"


class Clock:
    """Writes the time as lines have it; the second's text is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def now(self) -> str:
        """Give the time now (UTC)."""
        second, fraction = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._text}.{fraction // 1000:06d}Z"


def header(lines_before: int) -> str:
    """Give a file's first line.

    Args:
        lines_before: How many lines its writer has written to files before this one.
    """
    return f"# trackyard console {FORMAT}, {lines_before} lines before\n"


def lines_before(path: Path, text: str) -> int:
    """Read a file's first line.

    Args:
        path: The file, for messages.
        text: The line.

    Raises:
        NewerFormatError: A newer Trackyard wrote the file.
        ValueError: It is no such line.
    """
    match = _header.match(text)
    if match is None:
        raise ValueError(f"{path} is no file of what a run printed")
    refuse_newer(path, int(match[1]), FORMAT)
    return int(match[2])


def parsed(text: str) -> ConsoleLine | None:
    """Read a line; None where it is none, such as one that a killed disk has torn."""
    match = _line.match(text)
    if match is None:
        return None
    moment, stream, printed = match.groups()
    return ConsoleLine(moment, stream, without_escapes(printed))  # type: ignore[arg-type] # by the pattern


def without_escapes(text: str) -> str:
    """Give a text without colours and other commands: it is shown on terminals, and in pages."""
    if text.isprintable():
        return text
    return _controls.sub("", _escapes.sub("", text))


def folded(line: str) -> str:
    """Give what a terminal shows of a line on which carriage returns went back to its start."""
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part), "")


def unfinished(line: str) -> str:
    """Fold a line to which more will come; whether the next text begins it anew is kept."""
    if "\r" not in line:
        return line
    return folded(line) + ("\r" if line.endswith("\r") else "")
