"""Which project counts where nobody names one in a call?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trackyard import Client, ConfigError, start_run
from trackyard.project.configuration import find_project

SCRIPT = """
import trackyard
@trackyard.step
def one() -> int: return 1
@trackyard.pipeline
def counting(): one()
if __name__ == "__main__":
    counting()
"""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Make a project with a script, another project, and a folder that is in none."""
    monkeypatch.delenv("TRACKYARD_PROJECT", raising=False)
    for name in ("scripts", "other", "none"):
        (tmp_path / name / "below").mkdir(parents=True)
    for name in ("scripts", "other"):
        (tmp_path / name / "trackyard.toml").write_text("")
    (tmp_path / "scripts" / "below" / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path / "none")
    return tmp_path


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_variable_names_the_project_of_commands_and_calls(folders, monkeypatch):
    monkeypatch.setenv("TRACKYARD_PROJECT", str(folders / "other" / "below"))

    assert find_project().root == folders / "other"
    with start_run("here") as run:
        run.log_metric("m", 1)
    assert [found.name for found in Client().list_runs()] == ["here"]
    assert (folders / "other" / ".trackyard" / "runs").is_dir()
    assert not (folders / "none" / ".trackyard").exists()


def test_variable_that_names_no_folder_is_an_error(folders, monkeypatch):
    monkeypatch.setenv("TRACKYARD_PROJECT", "nowhere")

    with pytest.raises(ConfigError, match=r"TRACKYARD_PROJECT: .*nowhere is no folder"):
        find_project()


@pytest.mark.parametrize("by", ["python", "run"])
def test_project_of_the_script_counts_where_the_folder_has_none(folders, by):
    script = str(folders / "scripts" / "below" / "train.py")
    command = [script] if by == "python" else ["-m", "trackyard", "run", script]

    done = run(sys.executable, *command)

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].endswith(f" in {folders / 'scripts'}")
    assert (folders / "scripts" / ".trackyard" / "store.db").exists()
    assert not (folders / "none" / ".trackyard").exists()


BLOCK = """
import trackyard
with trackyard.start_run("block"):
    pass
"""


def test_a_block_says_which_project_counts_where_it_is_not_the_folders(folders, monkeypatch):
    script = folders / "scripts" / "below" / "block.py"
    script.write_text(BLOCK)
    for name in ("scripts", "other"):
        (folders / name / "trackyard.toml").write_text(
            "[experiment_trackers.memory]\nflavor = 'trackyard.testing:MemoryTracker'\n"
        )
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")

    away = run(sys.executable, str(script)).stderr
    monkeypatch.chdir(folders / "other" / "below")
    here = run(sys.executable, str(script)).stderr

    assert away.startswith(f"run block in {folders / 'scripts'}  "), away
    assert here.startswith("run block  "), here


def test_project_of_the_working_directory_counts_before_the_scripts(folders, monkeypatch):
    monkeypatch.chdir(folders / "other" / "below")

    done = run(sys.executable, str(folders / "scripts" / "below" / "train.py"))

    assert done.stderr.splitlines()[0].endswith(f" in {folders / 'other'}")


def test_script_that_is_installed_chooses_no_project(folders, monkeypatch):
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", f"{sys.prefix}/bin/tool", raising=False
    )

    assert find_project().root == folders / "none"


def test_option_names_the_project(folders):
    listed = run(sys.executable, "-m", "trackyard", "--project", "../other", "runs", "list")
    wrong = run(sys.executable, "-m", "trackyard", "--project", "../no", "runs", "list")

    assert f"no run is stored in {folders / 'other'}" in listed.stdout + listed.stderr
    assert wrong.returncode == 2
    assert "there is no folder '../no'" in wrong.stderr


def test_option_reaches_what_a_command_starts(folders):
    code = "from trackyard.project.configuration import find_project; print(find_project().root)"
    command = ["-m", "trackyard", "--project", "../other", "exec", "--", sys.executable, "-c", code]

    assert Path(run(sys.executable, *command).stdout.split()[-1]) == Path(
        os.path.normpath(folders / "other")
    )
