"""Does each shell complete commands and names, once completion is installed?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recorder import Recorder

BASH = """
source ~/.bashrc
COMP_WORDS=(trackyard {words}) COMP_CWORD={last}
_trackyard_completion trackyard
echo "${{COMPREPLY[@]}}"
"""
ZSH = "source ~/.zshrc; print -r -- $_comps[trackyard]"
LINES = {"plug": "plugins", "runs expo": "export", "experiment-tracker describe te": "team"}


@pytest.fixture
def shell(project, tmp_path):
    """Give a function that installs completion for a shell and runs a script in it."""
    project.add_tracker("team", Recorder)
    home = tmp_path / "home"
    home.mkdir()
    scripts = str(Path(sys.executable).parent)
    places = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "ZDOTDIR": str(home)}
    environment = project.environment(PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}", **places)

    def run(name, *command):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} is installed; type: apt-get install {name}")
        install = [sys.executable, "-m", "trackyard", "completion", "install", "--shell", name]
        subprocess.run(install, cwd=project.root, env=environment, check=True)
        done = subprocess.run(
            command, cwd=project.root, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.split()

    return run


@pytest.mark.parametrize("line", LINES)
def test_bash_completes(shell, line):
    words = line.split()
    script = BASH.format(words=line, last=len(words))

    assert shell("bash", "bash", "--norc", "-c", script) == [LINES[line]]


def test_zsh_knows_what_completes_also_where_nothing_has_started_its_completion(shell):
    assert shell("zsh", "zsh", "-f", "-c", ZSH) == ["_trackyard_completion"]


@pytest.mark.parametrize("line", LINES)
def test_fish_completes(shell, line):
    written = shell("fish", "fish", "-c", f'complete -C "trackyard {line}"')

    assert written[0] == LINES[line]
