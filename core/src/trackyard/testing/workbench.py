"""How does a check bring a flavor through its real life: project, runs, recovery, replay?

Nothing here stands in for Trackyard: runs are journaled, delivered, recovered and replayed by the
code that does it for users. The flavor under test is the tracker `under_test` of a project.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.flavors import Secret, capabilities_of
from trackyard.contract.records import Artifact, Capabilities, Record, Run
from trackyard.delivery.adapting import Adapter
from trackyard.delivery.delivery import BEING_DELIVERED
from trackyard.delivery.reports import TrackerReport, report_of
from trackyard.delivery.sizes import size_as_sent, size_of_file
from trackyard.delivery.state import load_state
from trackyard.hooks.discovery import FLAVORS, find_plugins, load_flavor
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.rules import implemented_hooks
from trackyard.journal.descriptions import (
    TrackerDescription,
    folder_name,
    load_description,
    run_for,
)
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader, Position, is_alive
from trackyard.project.configuration import Project, find_project, in_project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.finishing import PendingRun, sync_run
from trackyard.recovery.replay import replay_run
from trackyard.system.identifiers import new_id
from trackyard.testing.contract import BrokenContract
from trackyard.testing.faulty import Fault, write_faulty_flavor
from trackyard.testing.stored import StoredRun, difference
from trackyard.tracking.blocks import start_run
from trackyard.tracking.calls import ActiveRun
from trackyard.tracking.lifecycle import RunGroup

TRACKER = "under_test"
# Seconds that a backend which answers at all may take for everything that it is owed.
PATIENCE = 60.0
# Seconds to go on after its first error: a few retries. A flavor that is broken fails most checks.
PERSISTENCE = 4.0

ReadBack = Callable[[Run], Iterable[Record]]
Logging = Callable[[ActiveRun], None]


class Workbench:
    """A project with the flavor under test, its runs, and what the backend holds of them.

    Args:
        root: The project's folder, which is the working directory.
        table: The tracker's table, as in `[experiment_trackers.NAME]`.
        read_back: Reads a run from the backend, where the flavor has no `tracker_read_run`.
        backend_outlives_process: The backend is there when a process has died.
    """

    def __init__(
        self,
        root: Path,
        table: Mapping[str, Any],
        read_back: ReadBack | None = None,
        *,
        backend_outlives_process: bool = True,
    ) -> None:
        self.root = root
        self.table = dict(table)
        self.backend_outlives_process = backend_outlives_process
        self._read_back = read_back
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the project's configuration: the tracker's table with some fields changed."""
        self._changes = changes
        waiting = {"start_timeout": PATIENCE, "flush_timeout": PATIENCE}
        tables = {TRACKER: {**waiting, **self.table, **changes}}
        (self.root / "trackyard.toml").write_text(to_toml(tables), encoding="utf-8")

    def configure_again(self, **changes: Any) -> None:
        """Change some more fields of the configuration as it is now."""
        self.configure(**{**self._changes, **changes})

    @property
    def project(self) -> Project:
        """The project as it is configured now."""
        return find_project(self.root)

    @property
    def reference(self) -> str:
        """The flavor's name or dotted path."""
        return str(self.table["flavor"])

    @cached_property
    def distribution(self) -> str:
        """The distribution that declares the flavor; empty for a dotted path."""
        found = [info for info in find_plugins(FLAVORS) if info.name == self.reference]
        return found[0].distribution if found else ""

    @cached_property
    def flavor(self) -> type:
        """The flavor's class."""
        return load_flavor(self.reference)

    @cached_property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that the flavor implements."""
        return implemented_hooks(self.flavor)

    @cached_property
    def capabilities(self) -> Capabilities:
        """The limits of an instance with this configuration."""
        return capabilities_of(self.instance())

    @property
    def can_read(self) -> bool:
        """Whether runs can be read back."""
        return self._read_back is not None or "tracker_read_run" in self.hooks

    def tracker(self) -> Tracker:
        """Give the tracker as it is configured now."""
        return Trackers(self.project).select(TRACKER)[0]

    def instance(self) -> Any:
        """Make an instance of the flavor, as core does for each run."""
        return self.tracker().new_instance()

    def tracker_hooks(self) -> TrackerHooks:
        """Give the hooks of a new instance, called as core calls them."""
        return TrackerHooks(self.instance(), TRACKER)

    def new_run(self, **fields: Any) -> Run:
        """Make a run as core gives it to a tracker, with a folder of its own."""
        id_ = new_id()
        folder = self.project.home / "runs" / id_ / TRACKER
        folder.mkdir(parents=True)
        known = {"id": id_, "name": "check", "experiment": "conformance", "started_at": 10**18}
        return Run(**{**known, "folder": folder, **fields})

    @contextmanager
    def track(self, name: str = "check", **options: Any) -> Iterator[ActiveRun]:
        """Track a block of code with the flavor alone.

        Args:
            name: The run's name.
            **options: As `start_run` has them.
        """
        with start_run(name, "conformance", experiment_tracker=TRACKER, **options) as run:
            yield run

    def log(self, log: Logging, **options: Any) -> str:
        """Track what a function logs, and give the run's id.

        Args:
            log: Called with the run.
            **options: As `start_run` has them.
        """
        with self.track(**options) as run:
            log(run)
        return run.id

    def journal(self, log: Logging) -> str:
        """Log into a journal that no tracker has seen, and give the run's id."""
        with start_run("check", "conformance", experiment_tracker=None) as run:
            log(run)
        return run.id

    def replay(self, run_id: str) -> TrackerReport:
        """Send a run's journal to the tracker, as `trackyard replay` does."""
        return replay_run(self.pending(run_id), self.project, TRACKER, patience=PERSISTENCE)

    def pending(self, run_id: str) -> PendingRun:
        """Find a run for recovery or replay."""
        folder = self.project.home / "runs" / run_id
        description = load_description(folder)
        if description is None:
            raise BrokenContract(f"run {run_id} left no description in its folder")
        return PendingRun(folder, description, is_alive(folder))

    def finish(self, run_id: str) -> None:
        """Deliver what is left of a run, as `trackyard sync` does; at once where nothing is."""
        end = time.monotonic() + PATIENCE
        while True:
            reports = sync_run(self.pending(run_id), self.project, patience=PERSISTENCE)
            problem = next((of.problem for of in reports if not of.is_complete), None)
            if problem is None:
                return
            if problem != BEING_DELIVERED or time.monotonic() > end:
                raise BrokenContract(f"the run could not be delivered: {problem}")

    def refused(self, run_id: str) -> int:
        """Say how many of a run's records the tracker refused."""
        run = self.run_of(run_id)
        return report_of(TRACKER, load_state(run.folder), run.folder).quarantined

    def deleted(self, run_id: str) -> str:
        """Give what the tracker says of the run's deletion there, or an empty text."""
        return load_state(self.run_of(run_id).folder).deleted

    def read(self, run_id: str) -> StoredRun:
        """Read a run from the backend when all of it was delivered."""
        self.finish(run_id)
        return self.read_now(self.run_of(run_id))

    def read_now(self, run: Run) -> StoredRun:
        """Read a run from the backend as it is there now."""
        if self._read_back is not None:
            return StoredRun(tuple(self._read_back(run)))
        with in_project(self.project):
            outcome = self.tracker_hooks().read_run(run)
        if outcome.kind != "done":
            raise BrokenContract(f"the run cannot be read back: {outcome.reason}")
        return StoredRun(tuple(outcome.value))

    def run_of(self, run_id: str) -> Run:
        """Give a run as its tracker gets it in another process."""
        pending = self.pending(run_id)
        known = [t for t in pending.description.trackers if t.name == TRACKER]
        tracker = known[0] if known else TrackerDescription(TRACKER, folder_name(TRACKER), {}, "")
        run = run_for(pending.description, tracker, pending.folder)
        return attrs.evolve(run, attached=True)

    def sent(self, run_id: str) -> list[Record]:
        """Give what the journal holds, fitted to the flavor's limits: what the backend gets."""
        folder = self.project.home / "runs" / run_id
        adapter = Adapter(self.capabilities, folder)
        reader = JournalReader(folder)
        entries: list[tuple[Position, Entry]] = []
        while found := reader.read(1000):
            entries += found
        began: dict[str, int] = {}  # a child writes late: what it gets may depend on all before
        for position, entry in entries:
            began.setdefault(position.writer, entry.timestamp)
        entries.sort(key=lambda found: began[found[0].writer])
        return [fitted for _, e in entries for r in e.records() for fitted in adapter.adapt(r)]

    def fitted(self, records: Iterable[Record]) -> list[Record]:
        """Fit records to the flavor's limits, as they come to its hooks.

        Args:
            records: All records of a run, in their order.
        """
        adapter = Adapter(self.capabilities, self.project.home / "fitted")
        return [fitted for record in records for fitted in adapter.adapt(record)]

    def one_call(self, records: Sequence[Record]) -> list[Record]:
        """Give the first of some records: as many as one `tracker_log` call may get.

        Args:
            records: The records.
        """
        most = self.capabilities.largest_request or math.inf
        sizes = accumulate(size_as_sent(r) + size_of_file(r) for r in records)
        count = sum(1 for _ in takewhile(lambda size: size <= most, sizes))
        return list(records[: min(count, self.capabilities.largest_batch)])

    def difference(self, run_id: str) -> str:
        """Say how the backend's run differs from its journal; empty where it does not."""
        return difference(self.sent(run_id), self.read(run_id), self.capabilities)

    def group(self, **fields: Any) -> RunGroup:
        """Begin the runs of a pipeline run, as the runner does."""
        return RunGroup(self.project, parent=self._pipeline_run(**fields))

    def _pipeline_run(self, **fields: Any) -> Run:
        known = {"id": new_id(), "name": "pipeline", "experiment": "conformance"}
        return Run(**{**known, "started_at": 10**18, "folder": Path(), **fields})

    def break_with(self, *faults: Fault, **changes: Any) -> None:
        """Configure the flavor with faults in its hooks; each happens `times` times.

        Args:
            *faults: What goes wrong.
            **changes: Fields that get other values, too.
        """
        module = write_faulty_flavor(self.root, self.reference, faults)
        self.configure(flavor=f"{module}:Flavor", **changes)

    def child(self, scenario: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a scenario in a fresh interpreter, as a user's own program, to its end.

        Args:
            scenario: A scenario of `trackyard.testing.scenarios`.
            *arguments: What it takes.
        """
        with self._program(scenario, *arguments) as program:
            output, errors = program.communicate(timeout=2 * PATIENCE)
        return subprocess.CompletedProcess(program.args, program.returncode, output, errors)

    @contextmanager
    def talking_child(self, scenario: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a scenario up to its first line on stdout; it waits then, and is killed here.

        Args:
            scenario: The scenario.
            *arguments: What it takes.
        """
        with self._program(scenario, *arguments) as program:
            if program.stdout is None or not program.stdout.readline():
                raise BrokenContract(f"the program failed: {program.communicate()[1][-500:]}")
            yield program

    @contextmanager
    def _program(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        paths = [str(self.root), *(path for path in sys.path if path)]
        with subprocess.Popen(
            [sys.executable, "-m", "trackyard.testing.scenarios", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as program:
            try:
                yield program
            finally:
                program.kill()


def append(run: ActiveRun, entry: Entry) -> None:
    """Journal an entry with a time of its own, which no portable call takes.

    Args:
        run: The run.
        entry: The entry.
    """
    run._tracked.append(entry)  # noqa: SLF001 - one package


def to_toml(trackers: Mapping[str, Mapping[str, Any]]) -> str:
    """Write tables of trackers as TOML."""
    tables = trackers.items()
    return "".join(toml_table(f"experiment_trackers.{json.dumps(n)}", table) for n, table in tables)


def toml_table(path: str, table: Mapping[str, Any]) -> str:
    """Write a table as TOML.

    Args:
        path: The table's name, with dots.
        table: Its keys and values.
    """
    lines = [f"{json.dumps(key)} = {_toml_value(value)}" for key, value in table.items()]
    return "\n".join([f"[{path}]", *lines, ""])


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = (f"{json.dumps(str(k))} = {_toml_value(v)}" for k, v in value.items())
        return "{ " + ", ".join(inner) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    text = value.reference if isinstance(value, Secret) else str(value)
    # JSON escapes as TOML does, but for the pairs of what lies beyond 16 bits.
    return re.sub(r"\x7f", r"\\u007F", json.dumps(text, ensure_ascii=False))


def artifact_names(records: Iterable[Record]) -> list[str]:
    """Name the artifacts among records."""
    return [record.name for record in records if isinstance(record, Artifact)]
