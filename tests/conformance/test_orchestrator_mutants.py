"""Does the suite pass a correct orchestrator, and catch each of its mutants at the right check?"""

from __future__ import annotations

import inspect
import re

import pytest
from mutants import of_orchestrators

from trackyard.testing import OrchestratorSuite
from trackyard.testing.contract import checks_of
from trackyard.testing.running import run_file

# Each mutant runs scripts of its own, and is `slow`.
# These are caught when the patience of their check is over, after a minute.
WAITING = ("IgnoresStop", "LeavesAServer", "ReadsToTheEndOfAPipe", "RunsOneAtATime", "WaitsForEver")

FILE = '''"""One mutant."""

import pytest

from trackyard.testing import OrchestratorSuite


class TestMutant(OrchestratorSuite):
    patience = 60.0

    @pytest.fixture
    def config(self):
        return {{"orchestrator": "mutants.of_orchestrators:{name}"}}
'''
MUTANTS = {
    name: value.caught_by
    for name, value in vars(of_orchestrators).items()
    if inspect.isclass(value) and hasattr(value, "caught_by")
}


def test_there_are_mutants_of_most_checks():
    assert len(MUTANTS) >= 20
    assert set(MUTANTS.values()) <= set(checks_of(OrchestratorSuite))
    assert len(set(MUTANTS.values())) >= 18


@pytest.mark.slow
def test_crash_may_be_raised_or_returned(tmp_path):
    check = "test_death_is_a_crash_of_that_step_alone"
    for name in ("CommandOrchestrator", "ReturnsTheCrash"):
        file = tmp_path / f"test_{name.lower()}.py"
        file.write_text(FILE.format(name=name), encoding="utf-8")

        results = run_file(file, [check])

        assert {result.outcome for result in results} == {"passed"}, results
        assert len(results) == 3


LATE = pytest.mark.long(reason="it is caught after a minute, and quicker ones are like it")
CASES = [
    pytest.param(name, marks=LATE if name in WAITING else pytest.mark.slow)
    for name in sorted(MUTANTS)
]


@pytest.mark.parametrize("name", CASES)
def test_mutant_is_caught_at_the_check_that_names_its_fault(name, tmp_path):
    check = MUTANTS[name]
    file = tmp_path / "test_mutant.py"
    file.write_text(FILE.format(name=name), encoding="utf-8")

    results = run_file(file, [check])

    failed = [result for result in results if result.outcome == "failed"]
    assert failed, results
    for result in failed:
        assert re.sub(r"\[.*", "", result.check) == check
        assert result.reason
