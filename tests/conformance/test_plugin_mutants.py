"""Does the suite pass correct cross-cutting plugins, and catch each mutant at the right check?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from matrices import first_by_default
from mutants import of_plugins

from trackyard.testing import PluginSuite
from trackyard.testing.contract import checks_of
from trackyard.testing.running import run_file

FILE = '''"""One mutant."""

import pytest
from mutants import of_plugins

from trackyard.testing import PluginSuite


class TestMutant(PluginSuite):
    @pytest.fixture
    def plugin(self):
        return of_plugins.{name}()

    @pytest.fixture
    def patience(self):
        return 0.5
'''

MUTANTS = {
    name: value.caught_by for name, value in vars(of_plugins).items() if hasattr(value, "caught_by")
}


@pytest.mark.slow
class TestStopwatch(PluginSuite):
    """A plugin that observes runs passes."""

    @pytest.fixture
    def plugin(self):
        return of_plugins.Stopwatch()

    @pytest.fixture
    def patience(self):
        return 0.5


@pytest.mark.slow
class TestRedactor(PluginSuite):
    """So does one that filters, and hears of ends."""

    @pytest.fixture
    def plugin(self):
        return of_plugins.Redactor()


@pytest.fixture
def given_back():
    folder = Path.cwd()
    yield
    os.chdir(folder)


@pytest.mark.usefixtures("given_back")
@pytest.mark.parametrize("name", first_by_default(sorted(MUTANTS), 2))
def test_mutant_is_caught_at_the_check_that_names_its_fault(name, tmp_path):
    file = tmp_path / "test_mutant.py"
    file.write_text(FILE.format(name=name), encoding="utf-8")

    (result,) = run_file(file, [MUTANTS[name]])

    assert result.outcome == "failed", result
    assert result.sentence == checks_of(PluginSuite)[MUTANTS[name]]
