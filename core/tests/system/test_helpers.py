"""Does a helper find what belongs to the project after everything else?"""

from __future__ import annotations

import sys
from pathlib import Path

from trackyard.system.helpers import helper_command, helper_path


def test_folders_of_the_project_come_last_and_its_root_first_of_them(tmp_path, monkeypatch):
    root, here, library = tmp_path / "root", tmp_path / "here", tmp_path / "library"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", ["", str(root), str(here), str(library)])
    found = helper_path(root)

    assert found == [str(library), str(root), str(here)]


def test_a_helper_starts_without_the_working_directory_on_its_path():
    assert helper_command("module", "a") == [sys.executable, "-P", "-m", "module", "a"]
    assert Path(sys.executable).exists()
