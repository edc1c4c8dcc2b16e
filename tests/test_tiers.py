"""Which tests a command runs, and in how many processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from matrices import first_by_default
from tiers import workers

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
PLUGINS = ["-p", "xdist.plugin", "-p", "tiers", "-p", "order"]
TESTS = """
import pytest

def test_default(): pass

@pytest.mark.slow
def test_slow(): pass

@pytest.mark.long(reason="all pairs")
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_long(count): pass
"""


@pytest.fixture
def run(tmp_path):
    """Give a function that runs pytest with this repository's settings on two small files."""
    options = "addopts = " + " ".join(f"'{option}'" for option in SETTINGS["addopts"])
    markers = "\n    ".join(SETTINGS["markers"])
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{options}\nmarkers =\n    {markers}\n")
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "test_two.py").write_text("def test_default(): pass\n")

    def run(*arguments: str, code: int = 0, **variables: str) -> tuple[list[str], str]:
        """Give the tests that ran, and all that was said."""
        hidden = ("PYTEST_", "COVERAGE_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        process = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", *PLUGINS, *arguments],
            cwd=tmp_path,
            env={
                **kept,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONPATH": str(Path(__file__).parent / "plugins"),
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == code, process.stdout + process.stderr
        ran = r"::(test_\S+) PASSED|PASSED test_\w+\.py::(test_\S+)"
        said = process.stdout + process.stderr
        return sorted(map("".join, re.findall(ran, said))), said

    return run


@pytest.mark.parametrize(
    ("arguments", "expected", "left_out"),
    first_by_default(
        [
            (["test_one.py"], ["test_default"], 3),
            (["test_one.py", "-m", "slow"], ["test_slow"], None),
            (["test_one.py::test_slow"], ["test_slow"], None),
            (["test_one.py", "test_two.py::test_default"], ["test_default"] * 2, 3),
            (["test_one.py", "-m", "long"], ["test_long[1]", "test_long[2]"], None),
            (["test_one.py::test_long"], ["test_long[1]", "test_long[2]"], None),
            (["test_one.py::test_long[2]"], ["test_long[2]"], None),
        ],
        3,
    ),
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_slower_tiers_run_where_they_are_asked_for(run, arguments, expected, left_out):
    ran, said = run(*arguments, "-n0")

    assert ran == expected
    assert (f"{left_out} tests were left out" in said) == (left_out is not None)


def test_all_tiers_run_with_an_empty_mark(run):
    ran, _ = run("-m", "", "-n0")

    assert ran == ["test_default"] * 2 + ["test_long[1]", "test_long[2]", "test_slow"]


def test_a_folder_runs_on_all_cores_and_says_what_was_left_out(run):
    ran, said = run()

    assert ran == ["test_default"] * 2
    assert f"created: {workers()}/" in said
    assert "3 tests were left out" in said


@pytest.mark.parametrize("processes", ["-n0", "-n1"])
def test_a_pytest_that_a_test_starts_has_none_of_the_options_of_the_run(run, tmp_path, processes):
    inner = "import os\ndef test_inner(): assert 'PYTEST_ADDOPTS' not in os.environ\n"
    (tmp_path / "test_one.py").write_text(inner)

    ran, _ = run(processes, "test_one.py", PYTEST_ADDOPTS="-m 'not slow'")

    assert ran == ["test_inner"]


def test_a_test_of_the_long_tier_says_why(run, tmp_path):
    (tmp_path / "test_two.py").write_text(TESTS.replace('(reason="all pairs")', ""))

    _, said = run("-n0", code=pytest.ExitCode.USAGE_ERROR)

    assert "test_long[1]: write long(reason=...)" in said


@pytest.mark.parametrize(
    "arguments", first_by_default([["test_one.py"], ["-s"], ["--pdb"]]), ids="".join
)
def test_what_a_person_looks_at_runs_in_one_process(run, arguments):
    _, said = run(*arguments)

    assert "created:" not in said
    assert "left out" in said


@pytest.mark.slow
def test_what_takes_long_begins_first_and_then_files_of_many_tests(run, tmp_path):
    lasting = "import pytest\n@pytest.mark.slow(takes_long=True)\ndef test_two(): pass\n"
    (tmp_path / "test_two.py").write_text(lasting)
    (tmp_path / "test_three.py").write_text("def test_three(): pass\n")

    _, said = run("-m", "", "-n1")
    files = re.findall(r" PASSED (\S+\.py)::", said)

    assert files == ["test_two.py", *["test_one.py"] * 4, "test_three.py"]
