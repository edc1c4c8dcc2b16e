"""Does the SDK work where there is no tracker, and in programs that know nothing of Trackyard?"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trackyard.contract.records import Metric, Record
from trackyard.journal.reader import JournalReader
from trackyard.project.configuration import in_project
from trackyard.testing.contract import check, expect
from trackyard.testing.process_state import changes, process_state
from trackyard.testing.requirements import can_be_read, implements
from trackyard.testing.servers import no_connections
from trackyard.testing.workbench import Workbench
from trackyard.tracking.blocks import start_run

LogNatively = Callable[[str, float], object] | None
WriteFiles = Callable[[Path, Sequence[Metric]], object] | None
# What belongs to everybody, and is no SDK's to say.
_OTHERS = ("PATH", "HOME", "USER", "SHELL", "TMPDIR", "LD_", "DYLD_", "PYTHON", "TRACKYARD_")
_VARIABLES = "tracker_command_variables"
_OWN = (".trackyard", "trackyard.toml")


class ProgramChecks:
    """A flavor as a source of records only, and an SDK in programs of others."""

    @check(
        "As a source of records only, the SDK works without account, network or prompt, and what "
        "it logs is in the journal, once.",
        implements("tracker_capture_alone", "tracker_activate_run"),
    )
    def test_source_alone_gives_its_records(
        self, workbench: Workbench, log_natively: LogNatively
    ) -> None:
        if log_natively is None:
            pytest.skip("the suite has no fixture log_natively")
        with no_connections() as tried:
            run_id = _log_alone(workbench, log_natively, (2.0, 3.0))
        values = [metric.value for metric in _metrics(workbench, run_id, "native")]
        expect(values == [2.0, 3.0], f"of native calls with 2.0 and 3.0 the journal has {values}")
        expect(not tried, f"as a source alone it connects to {tried[0] if tried else ''}")

    @check(
        "As a source of records only, all that it writes goes into run.folder, and nothing of the "
        "process stays changed.",
        implements("tracker_capture_alone", "tracker_activate_run"),
    )
    def test_source_alone_leaves_nothing_behind(
        self, workbench: Workbench, log_natively: LogNatively
    ) -> None:
        if log_natively is None:
            pytest.skip("the suite has no fixture log_natively")
        _log_alone(workbench, log_natively, (1.0,))  # the first imports the SDK
        before, files = process_state(), _files(workbench.root)
        _log_alone(workbench, log_natively, (2.0,))
        after = process_state()
        for drawn in ("the state of random", "the state of numpy.random"):
            after[drawn] = before[drawn]  # the SDK's own calls may draw, as they do alone
        changed = changes(before, after)
        expect(not changed, f"a run of which it was a source alone changes {changed}")
        new = sorted(set(_files(workbench.root)) - set(files))
        expect(not new, f"it writes beside run.folder: {', '.join(new[:5])}")

    @check("tracker_read_files gives what is behind a position, each point once.",
           implements("tracker_read_files"))  # fmt: skip
    def test_files_are_read_from_a_position(
        self, workbench: Workbench, write_files: WriteFiles, tmp_path: Path
    ) -> None:
        if write_files is None:
            pytest.skip("the suite has no fixture write_files")
        files, position = tmp_path / "foreign", ""
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        points = [Metric("loss", n / 4, n, 2 * 10**18 + n * 10**9) for n in range(5)]
        found: list[Record] = []
        with in_project(workbench.project):
            parts: tuple[list[Metric], ...] = (points[:2], [], points[2:4], points[4:], [])
            for part in parts:
                if part:
                    write_files(files, part)
                outcome = hooks.read_native(run, position, files)
                expect(outcome.kind == "done", f"reading files gives {outcome.reason}")
                if outcome.value is None:
                    continue
                records, position = outcome.value
                expect(bool(part) or not records, f"where nothing is new, it reads {records[:2]}")
                found += records
            again = hooks.read_native(run, "", files).value
        values = [(m.key, m.value, m.step) for m in found if isinstance(m, Metric)]
        wanted = [(m.key, m.value, m.step) for m in points]
        expect(values == wanted, f"of {wanted} it has read {values}")
        count = len([r for r in again[0] if isinstance(r, Metric)]) if again else 0
        expect(count == len(points), f"from the start, of {len(points)} points {count} are read")

    @check("tracker_read_files: what is not there yet is nothing, and the files stay as they are.",
           implements("tracker_read_files"))  # fmt: skip
    def test_files_need_not_be_there_and_stay_as_they_are(
        self, workbench: Workbench, write_files: WriteFiles, tmp_path: Path
    ) -> None:
        if write_files is None:
            pytest.skip("the suite has no fixture write_files")
        files, run = tmp_path / "foreign", workbench.new_run()
        with in_project(workbench.project):
            hooks = workbench.tracker_hooks()
            outcome = hooks.read_native(run, "", files)
            seen = f"where there are no files, it gives {outcome.reason or outcome.value}"
            expect(outcome.kind == "done" and not (outcome.value or ([], ""))[0], seen)
            expect(not files.exists(), "where there are no files, it makes some")
            write_files(files, [Metric("loss", 0.5, 1, 2 * 10**18)])
            before = _files(files)
            hooks.read_native(run, "", files)
        expect(_files(files) == before, "reading changes the files")

    @check(
        "tracker_command_variables gives texts, of the SDK's own variables, at once and without a "
        "start; it sets none.",
        implements("tracker_command_variables"),
    )
    def test_variables_of_a_command_are_the_sdks(self, workbench: Workbench) -> None:
        run, environment = workbench.new_run(), dict(os.environ)
        with in_project(workbench.project), no_connections() as tried:
            found = workbench.instance().tracker_command_variables(
                **_wanted(workbench.flavor, run=run)
            )
        expect(dict(os.environ) == environment, "it changes the environment of this process")
        expect(not tried, f"it connects to {tried[0] if tried else ''}")
        if found is None:
            return
        texts = [v for v in (*found, *found.values()) if not isinstance(v, str) or "\0" in v]
        expect(not texts, f"these are no texts: {texts}")
        others = [name for name in found if name.startswith(_OTHERS)]
        expect(not others, f"these variables are not the SDK's: {', '.join(others)}")

    @check("By tracker_command_variables, a command's native calls land in the run.",
           implements("tracker_command_variables"), can_be_read)  # fmt: skip
    def test_native_calls_of_a_command_land_in_the_run(
        self, workbench: Workbench, native_program: Sequence[str] | None
    ) -> None:
        if native_program is None:
            pytest.skip("the suite has no fixture native_program")
        run, hooks = workbench.new_run(), workbench.tracker_hooks()
        with in_project(workbench.project):
            outcome = hooks.start_run(run)
            expect(outcome.kind == "done", f"the start gives {outcome.reason}")
            environment = {**os.environ, **hooks.command_variables(run)}
            done = subprocess.run(
                native_program,
                env=environment,
                cwd=workbench.root,
                check=False,
                capture_output=True,
                text=True,
            )
            expect(done.returncode == 0, f"the program fails: {done.stderr.strip()[-300:]}")
            hooks.end_run(run)
        values = workbench.read_now(run).values("native")
        expect(values == [2.0], f"of a program that logs 2.0 the backend has {values}")


def _log_alone(
    workbench: Workbench, log_natively: Callable[[str, float], object], values: Sequence[float]
) -> str:
    with start_run(
        "check", "conformance", experiment_tracker=None, capture=workbench.reference
    ) as run:
        for value in values:
            log_natively("native", value)
    return run.id


def _metrics(workbench: Workbench, run_id: str, key: str) -> list[Metric]:
    reader = JournalReader(workbench.project.home / "runs" / run_id)
    entries = [entry for _, entry in iter_entries(reader)]
    records = [record for entry in entries for record in entry.records()]
    return [record for record in records if isinstance(record, Metric) and record.key == key]


def iter_entries(reader: JournalReader) -> list[Any]:
    """Read everything that a journal holds."""
    found: list[Any] = []
    while entries := reader.read(1000):
        found += entries
    return found


def _files(folder: Path) -> dict[str, str]:
    """Give the digests of all files, but for those of a project's own."""
    paths = [path for path in [folder, *folder.rglob("*")] if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith(_OWN) and "__pycache__" not in name
    }


def _wanted(flavor: type, **given: Any) -> dict[str, Any]:
    """Leave out the arguments that the hook does not ask for."""
    import inspect

    hook: Any = vars(flavor).get(_VARIABLES) or getattr(flavor, _VARIABLES)
    names = inspect.signature(hook).parameters
    return {name: value for name, value in given.items() if name in names}
