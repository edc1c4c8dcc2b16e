"""What did a fault leave behind: in the backend, in the journal, in the process table?

The evidence is what a tracker's backend holds, read with its own client or with sqlite, and what
stands in the journal's files. Nothing is asked of the objects that had the fault.
"""

from __future__ import annotations

import ast
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader
from trackyard.project.configuration import Project, find_project

MODULES = Path(__file__).parent


class FaultProject:
    """A project folder, which is the working directory, and what its trackers hold."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / ".trackyard"

    @property
    def project(self) -> Project:
        return find_project(self.root)

    def add_tracker(
        self, name: str = "local", flavor: str = "ledger:Ledger", **fields: Any
    ) -> Path:
        """Configure a tracker of the tests; gives the folder of its database and orders."""
        folder = self.root / "backends" / name
        folder.mkdir(parents=True)
        if flavor.partition(":")[0] in ("ledger", "misbehaving"):
            fields["database"] = str(folder / "ledger.db")
        table = {"flavor": flavor, **fields}
        lines = [f'[experiment_trackers."{name}"]']
        lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
        with (self.root / "trackyard.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n\n")
        return folder

    def environment(self, **env: str) -> dict[str, str]:
        """Give an environment for a program; coverage does not watch one that dies or is timed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        return {**kept, "PYTHONPATH": str(MODULES), **env}

    def start(self, code: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a program in this folder."""
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.root,
            env=self.environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, code: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program in this folder."""
        return self.command(sys.executable, "-c", code, *arguments, **env)

    def trackyard(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.command(sys.executable, "-m", "trackyard", *arguments, **env)

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this folder."""
        return subprocess.run(
            arguments,
            cwd=self.root,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    # What a ledger holds

    def rows(self, query: str, tracker: str = "local") -> list[tuple[Any, ...]]:
        """Ask a ledger's database; nothing where the tracker never got as far as making it."""
        database = self.root / "backends" / tracker / "ledger.db"
        if not database.exists():
            return []
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError:  # the tables are not there yet
                return []

    def statuses(self, tracker: str = "local") -> list[str]:
        """Give the statuses of the runs that a ledger holds, in the order of their starts."""
        return [row[0] for row in self.rows("select status from runs order by rowid", tracker)]

    def ends(self, tracker: str = "local") -> list[int]:
        """How often has each run been ended?"""
        return [row[0] for row in self.rows("select ends from runs order by rowid", tracker)]

    def values(self, key: str, tracker: str = "local", kind: str = "metric") -> list[Any]:
        """Give the values of a key, in the order in which they arrived."""
        flavor_table = "records" if self._is_append_only(tracker) else "natural_records"
        query = f"select value from {flavor_table} where kind = '{kind}' and key = '{key}'"
        return [_literal(row[0]) for row in self.rows(f"{query} order by rowid", tracker)]

    def _is_append_only(self, tracker: str) -> bool:
        return bool(self.rows("select 1 from records limit 1", tracker))

    # What a journal holds

    def run_folders(self) -> list[Path]:
        runs = self.home / "runs"
        return sorted(runs.iterdir()) if runs.is_dir() else []

    def journal(self, folder: Path | None = None) -> list[Entry]:
        """Give the entries of the only run, or of the run in a folder."""
        if folder is None:
            (folder,) = self.run_folders()
        return [entry for _, entry in JournalReader(folder).read(10**7)]

    def journaled(self, key: str, folder: Path | None = None) -> list[Any]:
        """Give the values of a metric in the journal."""
        entries = [entry for entry in self.journal(folder) if entry.kind == "metrics"]
        return [entry.data[key] for entry in entries if key in entry.data]


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _literal(text: str) -> Any:
    return float(text) if text in ("nan", "inf", "-inf") else ast.literal_eval(text)


def wait_until(is_so: Callable[[], object], seconds: float = 90.0) -> float:
    """Wait for a fact; give the seconds that it took. The limit is for machines that are busy."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() < begun + seconds, "it never came true"
        time.sleep(0.02)
    return time.monotonic() - begun


def children_of(process: int) -> list[int]:
    """Give a process's children, of whichever of its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


def kill_with_children(process: int) -> None:
    """Kill a process and its children, the watchdog among them, as a lack of memory does."""
    os.kill(process, signal.SIGSTOP)  # it starts nothing meanwhile
    children = children_of(process)
    for one in [*children, process]:
        os.kill(one, signal.SIGKILL)
    wait_until(lambda: not any(map(_is_at_work, children)))  # until then they hold their locks


def _is_at_work(process: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    return False
