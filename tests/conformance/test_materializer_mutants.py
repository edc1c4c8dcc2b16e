"""Does the suite pass a correct format, and catch each of its mutants at the right check?"""

from __future__ import annotations

import inspect
import math

import pytest
from company_format import Signal, SignalMaterializer
from matrices import first_by_default
from mutants import of_materializers

from trackyard.testing import MaterializerSuite
from trackyard.testing.contract import checks_of
from trackyard.testing.running import run_file

FILE = '''"""One mutant."""

import math

import pytest
from company_format import Signal
from mutants.of_materializers import {name}

from trackyard.testing import MaterializerSuite


class TestMutant(MaterializerSuite):
    @pytest.fixture
    def materializer(self):
        return {name}()

    @pytest.fixture
    def values(self):
        odd = Signal("Zoë", "µV", (math.nan, -0.0, math.inf, 5e-324, 0.1 + 0.2))
        return getattr({name}, "examples", [Signal("", "", ()), odd])
'''
MUTANTS = {
    name: value.caught_by
    for name, value in vars(of_materializers).items()
    if inspect.isclass(value) and hasattr(value, "caught_by")
}


class TestSignal(MaterializerSuite):
    """The correct twin passes every check."""

    @pytest.fixture
    def materializer(self):
        return SignalMaterializer()

    @pytest.fixture
    def values(self):
        return [Signal("", "", ()), Signal("Zoë", "µV", (math.nan, -0.0, math.inf, 5e-324))]


def test_there_are_mutants_of_most_checks():
    checks = set(checks_of(MaterializerSuite)) - {"test_no_check_is_overridden_or_deleted"}

    assert len(MUTANTS) >= 20
    assert set(MUTANTS.values()) == checks


@pytest.mark.parametrize("name", first_by_default(sorted(MUTANTS), 2))
def test_mutant_is_caught_at_the_check_that_names_its_fault(name, tmp_path):
    file = tmp_path / "test_mutant.py"
    file.write_text(FILE.format(name=name), encoding="utf-8")

    (result,) = run_file(file, [MUTANTS[name]])

    assert result.outcome == "failed"
    assert result.reason
