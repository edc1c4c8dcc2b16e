"""What did a run print, line by line?"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import overload

from trackyard.console.lines import ConsoleLine, parsed
from trackyard.console.reading import ARTIFACT, ConsoleReader, read_console
from trackyard.runs.artifacts import Artifacts
from trackyard.runs.held_elsewhere import HeldElsewhere


class PrintedLines(Sequence[ConsoleLine]):
    """The lines that a run printed, in the order of their times; they are read when asked for.

    Args:
        folder: The run's folder; None where the lines are given.
        artifacts: The run's files, where its folder is gone.
        lines: The lines, of several runs.
        there: What others hold of the run, where its folder is gone.
    """

    def __init__(
        self,
        folder: Path | None = None,
        artifacts: Artifacts | None = None,
        lines: Iterable[ConsoleLine] = (),
        there: HeldElsewhere | None = None,
    ) -> None:
        self._there = there
        self._folder = folder
        self._artifacts = artifacts
        self._given = lines

    @classmethod
    def merged(cls, parts: Sequence[PrintedLines]) -> PrintedLines:
        """Join what several steps printed."""
        if len(parts) == 1:
            return parts[0]
        return cls(lines=heapq.merge(*parts, key=attrgetter("moment")))

    def follow(self) -> ConsoleReader | None:
        """Give what reads the lines as they are printed; None where they are not here."""
        is_here = self._folder is not None and self._folder.is_dir()
        return ConsoleReader(self._folder) if self._folder is not None and is_here else None

    @property
    def text(self) -> str:
        """What was printed, as one text."""
        return "".join(f"{line.text}\n" for line in self)

    @cached_property
    def _lines(self) -> list[ConsoleLine]:
        if self._folder is None:
            return list(self._given)
        if self._folder.is_dir() or self._artifacts is None:
            return read_console(self._folder)
        if ARTIFACT not in self._artifacts:
            folder = None if self._there is None else self._there.console
            return [] if folder is None else read_console(folder)
        texts = self._artifacts[ARTIFACT].read_text().split("\n")
        return [line for text in texts if (line := parsed(text)) is not None]

    @overload
    def __getitem__(self, index: int) -> ConsoleLine: ...
    @overload
    def __getitem__(self, index: slice) -> list[ConsoleLine]: ...
    def __getitem__(self, index: int | slice) -> ConsoleLine | list[ConsoleLine]:
        return self._lines[index]

    def __iter__(self) -> Iterator[ConsoleLine]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<PrintedLines {len(self)}>"
