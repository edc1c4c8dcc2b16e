"""How is read what a run printed, while it prints or afterwards?"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path

from trackyard.console.keeping import FOLDER
from trackyard.console.lines import ConsoleLine, lines_before, parsed

logger = logging.getLogger("trackyard")

ARTIFACT = "console.log"
# By which it is told from a file of the user's that bears the same name.
MEDIA_TYPE = "text/x-trackyard-console"


class ConsoleReader:
    """Reads what a run's processes printed, from where it read last.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._offsets: dict[str, int] = {}
        self._seen: dict[str, int] = {}  # lines by writer

    def read(self, *, with_unfinished: bool = False) -> list[ConsoleLine]:
        """Give the lines that were printed since the last call, in the order of their times.

        Args:
            with_unfinished: Also the lines that are not finished; they will never be.

        Raises:
            NewerFormatError: A newer Trackyard wrote them.
        """
        lines: list[ConsoleLine] = []
        for path in self._paths():
            try:
                lines += self._read(path, with_unfinished=with_unfinished)
            except (OSError, ValueError) as error:  # deleted just now, or of a foreign hand
                logger.debug("%s cannot be read: %s", path, error)
        return sorted(lines, key=attrgetter("moment"))

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == ".log")
        except OSError:
            return []

    def _read(self, path: Path, *, with_unfinished: bool) -> Iterable[ConsoleLine]:
        offset = self._offsets.get(path.name, 0)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        whole = len(data) if with_unfinished else data.rfind(b"\n") + 1
        self._offsets[path.name] = offset + whole
        texts = data[:whole].decode("utf-8", "backslashreplace").split("\n")
        if texts[-1] == "":
            texts.pop()
        found = []
        writer = path.name.partition(".")[0]
        if offset == 0 and texts:
            found += self._gap(path, writer, texts)
            texts = texts[1:]
        self._seen[writer] = self._seen.get(writer, 0) + len(texts)
        return [*found, *(line for text in texts if (line := parsed(text)) is not None)]

    def _gap(self, path: Path, writer: str, texts: list[str]) -> list[ConsoleLine]:
        """Say how many lines were left out before a file."""
        left_out = lines_before(path, texts[0]) - self._seen.get(writer, 0)
        first = parsed(texts[1]) if len(texts) > 1 else None
        if left_out <= 0 or first is None:
            return []
        self._seen[writer] = self._seen.get(writer, 0) + left_out
        return [ConsoleLine(first.moment, "note", f"{left_out} line(s) are left out here")]


def read_console(folder: Path) -> list[ConsoleLine]:
    """Give what a run printed, in the order of times; what it prints later is not in it.

    Args:
        folder: The run's folder.

    Raises:
        NewerFormatError: A newer Trackyard wrote it.
    """
    return ConsoleReader(folder).read(with_unfinished=True)


def has_console(folder: Path) -> bool:
    """Tell whether a run has printed anything that is kept."""
    return (folder / FOLDER).is_dir()


def bounded(lines: Iterable[ConsoleLine], limit: int) -> list[ConsoleLine]:
    """Give the first and the last lines where all are too many: many processes may have printed.

    Args:
        lines: The lines.
        limit: Bytes of all that are given, roughly.
    """
    head: list[ConsoleLine] = []
    tail: deque[ConsoleLine] = deque()
    size = of_tail = left_out = 0
    for line in lines:
        length = len(line.text) + 33
        if size + length <= limit // 2 and not tail:
            head.append(line)
            size += length
            continue
        tail.append(line)
        of_tail += length
        while of_tail > limit // 2 and len(tail) > 1:
            of_tail -= len(tail.popleft().text) + 33
            left_out += 1
    if left_out:
        note = f"{left_out} line(s) are left out here"
        head.append(ConsoleLine(tail[0].moment, "note", note))
    return [*head, *tail]
