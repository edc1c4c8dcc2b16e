"""Does `flavor check` remember what failed, and lead on to the first cause?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from trackyard.cli.main import cli
from trackyard.testing.remembered import remembered_of
from trackyard.testing.running import CheckResult

SILENT = """
from trackyard import flavor
from trackyard.contract import option
from trackyard.testing import MemoryTracker


@flavor
class Silent(MemoryTracker):
    color: str = {field}
"""
HELPLESS, HELPFUL = "'red'", "option('A color', default='red')"
FAULT = "test_every_field_has_help"


@pytest.fixture
def check(project, tmp_path, monkeypatch):
    """Give a function that writes the module of a flavor and checks it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(module, field, *arguments):
        (project.root / f"{module}.py").write_text(SILENT.format(field=field), encoding="utf-8")
        words = ["experiment-tracker", "flavor", "check", f"{module}:Silent", *arguments]
        return CliRunner().invoke(cli, words, prog_name="trackyard")

    return run


def checks_in(result):
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


def test_failure_leads_on_to_the_first_cause(check):
    result = check("silent_of_two", HELPLESS, "--only", "field", "--set", "color=light red")

    assert result.exit_code == 1
    assert f"mend {FAULT} first" in result.stderr
    assert '  the contract says: "' in result.stderr
    assert "  the suite saw: " in result.stderr
    assert "  read: docs/" in result.stderr
    assert result.stderr.endswith(
        "then type: trackyard experiment-tracker flavor check silent_of_two:Silent "
        "--set 'color=light red' --last-failed\n"
    )


def test_what_failed_runs_again_alone(check, tmp_path):
    assert len(checks_in(check("silent", HELPLESS, "--only", "help", "--only", "identity"))) > 1

    again = check("silent", HELPLESS, "--last-failed")
    assert again.exit_code == 1
    assert checks_in(again) == [FAULT]

    (file,) = (tmp_path / "cache").rglob("*.json")
    known = json.loads(file.read_text(encoding="utf-8"))
    assert [name for name, outcome in known["outcomes"].items() if outcome == "failed"] == [FAULT]


def test_where_nothing_failed_all_run(check):
    assert check("mended", HELPLESS, "--last-failed", "--only", "help").exit_code == 1
    result = check("helped", HELPFUL, "--last-failed", "--only", "help")

    assert result.exit_code == 0, result.output
    assert "no check failed the last time; all of them run" in result.stderr


def test_time_that_is_left_is_known_of_checks_that_ran(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    results = [CheckResult("a", "", "passed", seconds=2), CheckResult("b", "", "failed", seconds=3)]
    remembered_of("one", tmp_path).keep(results)
    remembered_of("one", tmp_path).keep([CheckResult("a", "", "failed", seconds=4)])
    known = remembered_of("one", tmp_path)

    assert known.failed == {"a", "b"}
    assert known.seconds_left(["a", "b"]) == 7
    assert known.seconds_left(["a", "new"]) is None
    assert remembered_of("one", tmp_path / "elsewhere").failed == set()


@pytest.mark.parametrize("text", ["", "[]", '{"outcomes": 1, "seconds": {}}', '{"seconds": {}}'])
def test_broken_memory_is_none(tmp_path, monkeypatch, text):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remembered_of("one", tmp_path).keep([CheckResult("a", "", "failed")])
    known = remembered_of("one", tmp_path)
    known.place.write_text(text, encoding="utf-8")

    assert remembered_of("one", tmp_path).failed == set()


def test_memory_that_cannot_be_written_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remembered_of("one", tmp_path).keep([CheckResult("a", "", "failed")])

    assert remembered_of("one", tmp_path).failed == set()


@pytest.mark.slow
def test_processes_side_by_side_find_the_same_in_the_same_order(check):
    words = ["--only", "field", "--only", "overridden", "--json"]
    alone = json.loads(check("alone", HELPLESS, *words, "--processes", "1").stdout)
    beside = json.loads(check("beside", HELPLESS, *words, "--processes", "2").stdout)

    shown = ("check", "sentence", "outcome", "page")
    assert [[row[key] for key in shown] for row in beside] == [
        [row[key] for key in shown] for row in alone
    ]
    assert {row["outcome"] for row in beside} >= {"passed", "failed"}


ENDLESS = """
import threading
from trackyard.contract import flavor, hookimpl
from trackyard.testing import MemoryTracker


@flavor
class Endless(MemoryTracker):
    @hookimpl
    def tracker_start_run(self, run):
        threading.Thread(target=threading.Event().wait, daemon=False).start()
        super().tracker_start_run(run)
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_threads_that_a_flavor_never_ends_do_not_hold_the_command_up(project, processes):
    (project.root / "endless.py").write_text(ENDLESS, encoding="utf-8")
    words = ["experiment-tracker", "flavor", "check", "endless:Endless", "--only", "threads"]
    command = [sys.executable, "-m", "trackyard", *words, "--processes", str(processes)]

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert done.returncode == 1
    assert "test_threads_are_ended" in done.stdout
    assert ("are not waited for" in done.stderr) == (processes == 1)
