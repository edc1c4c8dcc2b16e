"""A correct flavor that lists runs, reads files of others and serves as a source alone."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from mutants.ledger import Ledger
from trackyard.contract import (
    Metric,
    Record,
    RemoteRun,
    Run,
    RunQuery,
    Tag,
    flavor,
    hookimpl,
    option,
)


@flavor
class SourceLedger(Ledger):
    """Keep each run in a file of JSON lines, and read those of others."""

    directory: Path = option("Folder for the files", default=Path("ledger"), converter=Path)

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        for path in self.listed(query):
            run = self.described(path)
            if query.fits(run):
                yield run

    @hookimpl
    def tracker_read_run(self, run: Run, remote_id: str | None) -> Iterator[Record]:
        yield from self.records(run, remote_id)

    def records(self, run: Run, remote_id: str | None) -> Iterator[Record]:
        """Give the records of a run, or of one that is imported."""
        known = run if remote_id is None else attrs.evolve(run, id=remote_id)
        yield from super().tracker_read_run(known)

    def listed(self, query: RunQuery) -> Iterator[Path]:
        """Give the files of a place."""
        yield from sorted(Path(query.place or self.directory).glob("*.jsonl"))

    def described(self, path: Path) -> RemoteRun:
        """Give what is known of a run."""
        run = Run(path.stem, "", "", 0, path.parent)
        found = [r for r in super().tracker_read_run(run) if isinstance(r, Tag)]
        tags = {tag.key: tag.value for tag in found}
        began = int(path.stem[:12], 16) * 10**6  # its id is a UUID of version 7
        return RemoteRun(
            path.stem,
            name=tags.get("name"),
            status=tags.get("trackyard.status"),  # type: ignore[arg-type]
            started_at=began,
            version=str(path.stat().st_size),
        )

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        super().tracker_start_run(run)
        self.write(run, ("tag", "name", run.name))

    @hookimpl
    def tracker_start_early(self, run: Run) -> bool:
        return self.early(run)

    def early(self, run: Run) -> bool:
        """Start a run that nobody has begun."""
        if self.path(run).exists():
            return False
        self.tracker_start_run(run)
        return True

    @hookimpl
    def tracker_capture_alone(self, run: Run) -> None:
        self.alone(run)

    def alone(self, run: Run) -> None:
        """Let the SDK write into the run's folder."""
        self.directory = run.folder

    @hookimpl
    def tracker_command_variables(self, run: Run) -> dict[str, str]:
        return self.variables(run)

    def variables(self, run: Run) -> dict[str, str]:
        """Give the SDK's own variables."""
        return {"LEDGER_RUN": str(self.path(run).absolute())}

    @hookimpl
    def tracker_read_files(
        self, run: Run, files: Path, position: str
    ) -> tuple[list[Record], str] | None:
        return self.read(files, position)

    def read(self, files: Path, position: str) -> tuple[list[Record], str] | None:
        """Give the points behind a position."""
        lines = files.read_text(encoding="utf-8").splitlines() if files.exists() else []
        points = [Metric(*json.loads(line)) for line in lines[int(position or 0) :]]
        return list(points), str(len(lines))


def write_files(files: Path, points: Sequence[Metric]) -> None:
    """Write as a program does that knows nothing of Trackyard."""
    with files.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(attrs.astuple(point)) + "\n" for point in points)


_PROGRAM = """
import json, os, time
with open(os.environ["LEDGER_RUN"], "a") as file:
    file.write(json.dumps(("metric", "native", 2.0, None, time.time_ns())) + "\\n")
"""
PROGRAM = (sys.executable, "-c", _PROGRAM)


def ask_nobody(*_: Any) -> None:
    """Ask a server that is not there."""
    urllib.request.urlopen("http://127.0.0.1:9/", timeout=0.5)
