"""Does a helper find what belongs to the project after everything else?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trackyard.system.helpers import bare_command, helper_command, helper_path


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


def test_a_bare_helper_has_no_packages_until_it_adds_them(tmp_path):
    module = tmp_path / "bare.py"
    module.write_text(
        "import sys\n"
        "def main():\n"
        "    from trackyard.system.helpers import add_packages\n"
        "    assert 'site' not in sys.modules\n"
        "    add_packages()\n"
        "    import attrs\n"
        "    print(sys.argv[1:], sys.prefix)\n"
    )
    command = bare_command("bare", "told")
    found = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert found.stdout == f"['told'] {sys.prefix}\n"
