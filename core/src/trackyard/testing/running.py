"""How is the suite run without a test file, and what came of each check?"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from trackyard.project.fields import fields_of
from trackyard.testing.contract import check_of
from trackyard.testing.pages import page_of

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
) -> list[CheckResult]:
    """Run the suite on a flavor.

    Args:
        table: The tracker's table; `{folder}` in a text is a folder of each check's own.
        checks: Names, or parts of names, of the checks to run; all by default.
        progress: Called after each check.
        named: Whole names, as results have them, of the checks to run; all by default.
    """
    with tempfile.TemporaryDirectory(prefix="trackyard-check-") as folder:
        file = Path(folder) / "test_flavor.py"
        file.write_text(_FILE.format(table=json.dumps(table)), encoding="utf-8")
        return run_file(file, checks, progress, named)


def run_file(
    file: Path,
    checks: Sequence[str] = (),
    progress: Progress | None = None,
    named: Collection[str] = (),
) -> list[CheckResult]:
    """Run the suites of a test file, apart from the configuration of any project around it.

    Args:
        file: The test file.
        checks: Parts of names of checks; all of them by default.
        progress: Called after each check.
        named: Whole names of checks; all of them by default.
    """
    collector = _Collector(progress, named)
    arguments = [str(file), "-c", os.devnull, "--rootdir", str(file.parent), "--basetemp"]
    arguments += [str(file.parent / "checks"), "-p", "no:cacheprovider", "-p", "no:terminal"]
    arguments += ["-p", "no:faulthandler", "--import-mode=importlib", "-o", "xfail_strict=true"]
    arguments += ["-p", "no:unraisableexception"]  # it collects garbage for seconds at the end
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
    """A plugin of pytest that keeps what came of each check."""

    def __init__(self, progress: Progress | None, named: Collection[str]) -> None:
        self.results: list[CheckResult] = []
        self.error = ""
        self._progress = progress
        self._named = named
        self._left: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._named:
            items[:] = [item for item in items if item.name in self._named]
        self._left = [item.name for item in items]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, Any]:
        report = yield
        check = check_of(getattr(item, "function", None))
        if report.when == "call" or report.outcome != "passed":
            outcome, reason = _outcome_of(report, call)
            if report.when != "teardown" or outcome == "failed":
                name, sentence = item.name, check.sentence if check else ""
                module = getattr(getattr(item, "function", None), "__module__", "")
                page = page_of(module, sentence) if outcome == "failed" and check else ""
                result = CheckResult(name, sentence, outcome, reason, report.duration, page)
                self.results.append(result)
                self._left = [left for left in self._left if left != name]
                if self._progress is not None:
                    self._progress(result, self._left)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.error = str(report.longrepr)


def _outcome_of(report: Any, call: pytest.CallInfo[None]) -> tuple[Outcome, str]:
    raised = str(call.excinfo.value) if call.excinfo is not None else ""
    if hasattr(report, "wasxfail"):
        reason = str(report.wasxfail).removeprefix("reason: ")
        return ("expected failure", reason) if report.skipped else ("failed", reason)
    if report.skipped:
        return "skipped", raised.removeprefix("Skipped: ")
    if report.failed and call.excinfo is None:  # it passes, and was declared to fail
        return "failed", str(report.longrepr)
    _, _, seen = raised.partition("\nThe suite saw: ")
    return ("failed" if report.failed else "passed"), seen or raised


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
