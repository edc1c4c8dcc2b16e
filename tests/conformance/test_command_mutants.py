"""Does the suite pass a correct command, and catch each of its mutants at the right check?"""

from __future__ import annotations

import pytest
from mutants.of_commands import CAUGHT_BY

from trackyard.testing import CommandSuite
from trackyard.testing.contract import checks_of
from trackyard.testing.running import run_file

pytestmark = pytest.mark.slow  # each check types a command

FILE = '''"""One mutant."""

from trackyard.testing import CommandSuite


class TestMutant(CommandSuite):
    command = "{name}"
    mistake = ["none"]
'''


@pytest.fixture(autouse=True)
def _installed(tmp_path, monkeypatch):
    """Install the mutants, and the example that is their correct twin."""
    info = tmp_path / "site/mutants-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mutants\nVersion: 1.0\n")
    lines = [f"{name} = mutants.of_commands:{name}" for name in CAUGHT_BY]
    text = "\n".join(["[trackyard.commands]", *lines, "slowest = company_commands:slowest"])
    (info / "entry_points.txt").write_text(f"{text}\n")
    monkeypatch.syspath_prepend(info.parent)


def checked(name, tmp_path, checks=()):
    file = tmp_path / "test_mutant.py"
    file.write_text(FILE.format(name=name), encoding="utf-8")
    return run_file(file, checks)


def test_the_example_passes_every_check(tmp_path):
    results = checked("slowest", tmp_path)

    assert {result.outcome for result in results} == {"passed"}, results
    assert {result.check.partition("[")[0] for result in results} == set(checks_of(CommandSuite))


@pytest.mark.parametrize("name", sorted(CAUGHT_BY))
def test_mutant_is_caught_at_the_check_that_names_its_fault(name, tmp_path):
    results = checked(name, tmp_path, [CAUGHT_BY[name]])

    assert "failed" in {result.outcome for result in results}, results
