"""How is the suite run without a test file, and what came of each check?"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from trackyard.project.fields import fields_of

Outcome = Literal["passed", "failed", "skipped", "expected failure"]

_FILE = '''"""The conformance of one flavor, without a test file of its own."""

import json

import pytest

from trackyard.testing import FlavorSuite
from trackyard.testing.running import in_folder


class TestFlavor(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return in_folder(json.loads({table!r}), tmp_path / "backend")
'''


@attrs.frozen
class CheckResult:
    """What came of one check.

    Attributes:
        check: Its name, with its parameters in brackets.
        sentence: The sentence of the contract that it proves.
        outcome: `passed`, `failed`, `skipped` or `expected failure`.
        reason: What was seen where it failed, or why it does not apply.
        seconds: How long it took.
        page: What to read where it failed: a page of the documentation, and its section.
    """

    check: str
    sentence: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    page: str = ""


# Called after each check, with what came of it and the names of those that are left.
Progress = Callable[[CheckResult, Sequence[str]], None]


def check_flavor(
    table: Mapping[str, Any],
    checks: Sequence[str] = (),
    progress: Progress | None = None,
    named: Collection[str] = (),
    processes: int = 1,
) -> list[CheckResult]:
    """Run the suite on a flavor.

    Args:
        table: The tracker's table; `{folder}` in a text is a folder of each check's own.
        checks: Names, or parts of names, of the checks to run; all by default.
        progress: Called after each check.
        named: Whole names, as results have them, of the checks to run; all by default.
        processes: How many run checks side by side.
    """
    with tempfile.TemporaryDirectory(prefix="trackyard-check-") as folder:
        file = Path(folder) / "test_flavor.py"
        file.write_text(_FILE.format(table=json.dumps(table)), encoding="utf-8")
        return run_file(file, checks, progress, named, processes)


def run_file(
    file: Path,
    checks: Sequence[str] = (),
    progress: Progress | None = None,
    named: Collection[str] = (),
    processes: int = 1,
) -> list[CheckResult]:
    """Run the suites of a test file, apart from the configuration of any project around it.

    Args:
        file: The test file.
        checks: Parts of names of checks; all of them by default.
        progress: Called after each check.
        named: Whole names of checks; all of them by default.
        processes: How many run checks side by side; one where pytest-xdist is not installed.
    """
    collector = _Collector(progress)
    # Without the second of the folders pytest looks at all that lies in each folder above the file.
    folder = str(file.parent)
    arguments = [str(file), "-c", os.devnull, "--rootdir", folder, "--confcutdir", folder]
    arguments += ["--basetemp", f"{folder}/checks"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:terminal"]
    arguments += ["-p", "no:faulthandler", "--import-mode=importlib", "-o", "xfail_strict=true"]
    arguments += ["-p", "no:unraisableexception"]  # it collects garbage for seconds at the end
    arguments += ["-p", "trackyard.testing.reporting", f"--checks-named={json.dumps([*named])}"]
    if processes > 1 and importlib.util.find_spec("xdist") is not None:
        arguments += ["-p", "xdist", "-n", str(processes), "--dist", "worksteal"]
    if checks:
        arguments += ["-k", " or ".join(checks)]
    with _plain_pytest():
        pytest.main(arguments, plugins=[collector])
    if collector.error:
        raise RuntimeError(f"the checks cannot be run: {collector.error}")
    return collector.results


def in_folder(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Let `{folder}` in the texts of a table mean a folder.

    Args:
        table: The fields of a tracker.
        folder: The folder.
    """
    return {
        key: value.replace("{folder}", str(folder)) if isinstance(value, str) else value
        for key, value in table.items()
    }


def table_for(flavor: type, reference: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a tracker's table for a check: what was given, and paths in a folder of its own.

    Args:
        flavor: The flavor's class.
        reference: Its name or dotted path.
        given: Fields as they would stand in `trackyard.toml`.
    """
    paths = {
        field.name: f"{{folder}}/{field.name}"
        for field in fields_of(flavor)
        if field.annotation in (Path, Path | None)
    }
    return {"flavor": reference, **paths, **given}


class _Collector:
    """A plugin of pytest that keeps what came of each check, in whichever process it ran."""

    def __init__(self, progress: Progress | None) -> None:
        self.found: list[CheckResult] = []
        self.error = ""
        self._progress = progress
        self._order: list[str] = []
        self._left: list[str] = []

    @property
    def results(self) -> list[CheckResult]:
        """What came of the checks, in the order of the suite."""
        places = {name: place for place, name in enumerate(self._order)}
        return sorted(self.found, key=lambda result: places.get(result.check, -1))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:  # the controller of pytest-xdist has none
            self._begin([item.name for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        if not self._order:  # the same in each worker
            self._begin([_name_in(id_) for id_ in ids])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seen = getattr(report, "seen", None) or _died(report)  # a process that ended says nothing
        if report.when in ("setup", "teardown") and report.outcome == "passed":
            return
        if report.when == "teardown" and seen["outcome"] != "failed":
            return
        result = CheckResult(**seen, seconds=report.duration)
        self.found.append(result)
        self._left = [left for left in self._left if left != result.check]
        if self._progress is not None:
            self._progress(result, self._left)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.error = str(report.longrepr)

    def _begin(self, names: list[str]) -> None:
        self._order, self._left = names, list(names)


def _name_in(id_: str) -> str:
    """Give an item's name: what stands behind its file and its class."""
    return id_.split("::", 2)[-1]


def _died(report: pytest.TestReport) -> dict[str, str]:
    reason = f"the process that ran it ended: {report.longrepr}"
    return {"check": _name_in(report.nodeid), "sentence": "", "outcome": "failed", "reason": reason}


@contextmanager
def _plain_pytest() -> Iterator[None]:
    """Keep other plugins and options of pytest out, and modules that the checks import."""
    ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    before = {name: os.environ.get(name) for name in ours}
    path, modules = list(sys.path), set(sys.modules)
    os.environ.update(ours)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if name.startswith("test_"):  # the next file may have the same name
                del sys.modules[name]
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
