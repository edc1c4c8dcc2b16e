"""Is a configuration that has not changed parsed once, and one that has changed seen at once?"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import pytest
from recorder import Recorder

from trackyard import start_run
from trackyard.project.configuration import find_project


@pytest.fixture
def parsed():
    """Collect how often this thread parses TOML, as the interpreter itself tells."""
    calls: list[str] = []

    def note(frame, event, _):
        if event == "call" and frame.f_code is tomllib.loads.__code__:
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    yield calls
    sys.setprofile(before)


def test_second_run_parses_nothing(project, parsed):
    project.add_tracker("local", Recorder)
    for _ in range(2):
        with start_run("a"):
            pass
        first, count = parsed[:], len(parsed)
        parsed.clear()

    assert count == 0, first


@pytest.mark.parametrize("name", ["trackyard.toml", "pyproject.toml"])
def test_change_counts_at_once_whatever_times_and_size_the_file_has(project, name):
    prefix = "tool.trackyard." if name == "pyproject.toml" else ""
    file = project.root / name

    def write(value):
        file.write_text(f"[{prefix}experiment_trackers.a]\nflavor = '{value}'\n")
        os.utime(file, (1e9, 1e9))
        return find_project().table["experiment_trackers"]["a"]["flavor"]

    assert [write("one"), write("two"), write("one")] == ["one", "two", "one"]


def test_new_file_and_the_environment_count_at_once(project, monkeypatch):
    (project.root / "below").mkdir()
    monkeypatch.chdir(project.root / "below")
    assert find_project().root == project.root / "below"
    (project.root / "trackyard.toml").write_text("active_stack = 'a'\n")
    assert find_project().root == project.root
    Path("trackyard.toml").write_text("active_stack = 'b'\n")
    assert find_project().table["active_stack"] == "b"

    monkeypatch.setenv("TRACKYARD_PROJECT", str(project.root))
    monkeypatch.setenv("TRACKYARD_HOME", "elsewhere")
    assert find_project().table["active_stack"] == "a"
    assert find_project().home == project.root / "elsewhere"


def test_who_changes_what_was_read_changes_it_for_nobody_else(project):
    (project.root / "trackyard.toml").write_text("[stacks.a]\nexperiment_trackers = ['b']\n")
    find_project().table["stacks"]["a"]["experiment_trackers"].append("c")

    assert find_project().table["stacks"]["a"]["experiment_trackers"] == ["b"]
