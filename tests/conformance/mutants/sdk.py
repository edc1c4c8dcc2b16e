"""An SDK without a server, and a correct flavor on it: the twin of mutants that call it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mutants.ledger import Ledger
from trackyard.contract import Batch, Run, flavor


class Board:
    """The SDK: it keeps lines and files in a folder, and is none of the flavor's own code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, lines: list[str]) -> None:
        """Add lines to a file."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.writelines(f"\n{line}\n" for line in lines)

    def keep(self, name: str, content: bytes) -> Path:
        """Keep a file."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(content)
        return part.rename(target)


CALLS = ["mutants.sdk:Board.add", "mutants.sdk:Board.keep"]


@flavor
class SdkLedger(Ledger):
    """Keep each run by calls of an SDK."""

    def write(self, run: Run, *lines: tuple[Any, ...]) -> None:
        self.add(run, [json.dumps(line) for line in lines])

    def add(self, run: Run, lines: list[str]) -> None:
        """Add lines, which take the place of what is there."""
        Board(self.directory).add(f"{run.id}.jsonl", lines)

    def kept(self, run: Run, batch: Batch) -> Iterator[tuple[Any, ...]]:
        for artifact in batch.artifacts:
            content = artifact.path.read_bytes()
            yield "artifact", artifact.name, str(self.keep(run, artifact.name, content))

    def keep(self, run: Run, name: str, content: bytes) -> Path:
        """Keep a file of the run."""
        return Board(self.directory).keep(f"{run.id}/{name}", content)
