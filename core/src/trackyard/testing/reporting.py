"""What does each process that runs checks add to their reports, and which checks does it leave out?

A plugin of pytest, which pytest-xdist's workers load, too.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from trackyard.testing.contract import check_of
from trackyard.testing.pages import page_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the names of the checks to run."""
    parser.addoption("--checks-named", default="[]", help="JSON of whole names; all by default.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not named.

    Args:
        config: Has the names.
        items: What was collected.
    """
    named = set(json.loads(config.getoption("--checks-named")))
    if named:
        items[:] = [item for item in items if item.name in named]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Note what the check proves and what was seen; the exception itself stays in this process.

    Args:
        item: The check.
        call: What came of it.
    """
    report = yield
    function = getattr(item, "function", None)
    found = check_of(function)
    outcome, reason = _outcome_of(report, call)
    sentence = found.sentence if found else ""
    is_of_check = outcome == "failed" and found is not None
    page = page_of(getattr(function, "__module__", ""), sentence) if is_of_check else ""
    report.seen = {
        "check": item.name,
        "sentence": sentence,
        "outcome": outcome,
        "reason": reason,
        "page": page,
    }
    return report


def _outcome_of(report: Any, call: pytest.CallInfo[None]) -> tuple[str, str]:
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
