"""Does `config show --origin` tell where each value comes from, and does completion work?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorder import Recorder

import trackyard
from trackyard import Client
from trackyard.cli.main import cli

FLAVOR = "recorder:Recorder"


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments, prog_name="trackyard")


@pytest.fixture
def origins(project):
    def find(*arguments):
        rows = json.loads(invoke("config", "show", "--json", *arguments).stdout)
        return {row["key"]: (row["value"], row["origin"], row["place"]) for row in rows}

    return find


def test_each_value_names_its_origin(project, origins, monkeypatch, tmp_path):
    users = tmp_path / "nothing" / "trackyard" / "trackyard.toml"
    users.parent.mkdir(parents=True)
    users.write_text(f'store = "env:STORE_URL"\n[experiment_trackers.mine]\nflavor = "{FLAVOR}"\n')
    project.configure(
        f'active_stack = "b"\n[experiment_trackers.team]\nflavor = "{FLAVOR}"\nlabel = "a"\n'
        'token = "env:TOKEN"\ntags = ["x"]\n'
        '[stacks.a]\n[stacks.b]\nexperiment_trackers = ["team"]\n'
        '[journal]\ndurability = "record"\n'
    )
    monkeypatch.setenv("TRACKYARD_TRACKER__TEAM__TAGS", "y,z")
    monkeypatch.setenv("TRACKYARD_STACK__A__ORCHESTRATOR", "process")
    file = str(project.file)
    found = origins()

    assert found["active_stack"] == ("b", "project file", file)
    assert found["home"] == (str(project.root / ".trackyard"), "default", "")
    assert found["experiment_trackers.team.label"] == ("a", "project file", file)
    assert found["experiment_trackers.team.token"] == ("env:TOKEN", "project file", file)
    assert found["experiment_trackers.team.tags"] == (
        ["y", "z"],
        "variable",
        "TRACKYARD_TRACKER__TEAM__TAGS",
    )
    assert found["experiment_trackers.team.directory"] == ("calls", "default", "")
    assert found["experiment_trackers.mine.flavor"] == (FLAVOR, "user file", str(users))
    assert found["stacks.a.orchestrator"] == (
        "process",
        "variable",
        "TRACKYARD_STACK__A__ORCHESTRATOR",
    )
    assert found["stacks.b.experiment_trackers"] == (["team"], "project file", file)
    assert found["journal.durability"] == ("record", "project file", file)
    assert found["journal.sync_interval"][1:] == ("default", "")
    assert found["store"] == ("env:STORE_URL", "user file", str(users))
    assert [v.key for v in Client().show_config()] == list(found)


def test_active_stack_comes_from_the_first_that_says_something(project, origins, monkeypatch):
    assert origins()["active_stack"] == ("default", "default", "")

    (project.root / "pyproject.toml").write_text(
        '[tool.trackyard]\nactive_stack = "a"\n[tool.trackyard.stacks.a]\n'
        "[tool.trackyard.stacks.b]\n[tool.trackyard.stacks.c]\n"
    )
    pyproject = str(project.root / "pyproject.toml")
    assert origins()["active_stack"] == ("a", "pyproject", pyproject)

    monkeypatch.setenv("TRACKYARD_ACTIVE_STACK", "b")
    assert origins()["active_stack"] == ("b", "variable", "TRACKYARD_ACTIVE_STACK")
    assert origins("--stack", "c")["active_stack"] == ("c", "command line", "--stack")


def test_home_may_be_moved(project, origins, monkeypatch):
    monkeypatch.setenv("TRACKYARD_HOME", "elsewhere")

    assert origins()["home"] == (str(project.root / "elsewhere"), "variable", "TRACKYARD_HOME")


def test_flavor_that_is_not_there_hides_nothing_that_is_written(project, origins):
    project.configure('[experiment_trackers.a]\nflavor = "nowhere"\nfield = 1\n')

    assert origins()["experiment_trackers.a.field"][:2] == (1, "project file")


def test_passwords_are_left_out(project, origins):
    project.configure(
        'store = "postgresql://ann:pass-word@host/db"\n'
        f'[experiment_trackers.a]\nflavor = "{FLAVOR}"\nlabel = "http://ann:pass-word@host"\n'
    )
    assert "pass-word" not in str(origins())


def test_unknown_stack_is_answered(project):
    project.configure("[stacks.default]\n")
    result = invoke("config", "show", "--stack", "defualt")

    assert result.exit_code == 1
    assert "no stack 'defualt' is configured; did you mean 'default'?" in result.stderr


def test_config_show_as_written(golden_project, golden, monkeypatch):
    golden_project.add_tracker("local", Recorder, directory="calls")
    monkeypatch.setenv("TRACKYARD_TRACKER__LOCAL__LABEL", "a\x1b[2J")
    golden("config show", "--origin")


# Completion


@pytest.fixture
def shell_home(golden_project, monkeypatch):
    """Give an empty home folder below the project, where nothing else is written."""
    home = golden_project.root / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.delenv("ZDOTDIR", raising=False)
    monkeypatch.setenv("SHELL", "/bin/bash")
    return home


def test_completion_is_installed_once(shell_home, golden):
    rc = shell_home / ".bashrc"
    rc.write_text("# mine")
    golden("completion install")
    text = rc.read_text()

    assert text.startswith("# mine\n# Trackyard's completion\n[ -f ")
    assert text.count("Trackyard") == 1


def test_bash_completes_commands(shell_home):
    assert invoke("completion", "install", "--shell", "bash").exit_code == 0
    code = (
        "COMP_WORDS=(trackyard experiment-tracker re); COMP_CWORD=2; "
        "_trackyard_completion trackyard; echo ${COMPREPLY[@]}"
    )
    bin_folder = Path(sys.executable).parent
    result = subprocess.run(
        ["bash", "-c", f". ~/.bashrc; {code}"],
        env={"HOME": str(shell_home), "PATH": f"{bin_folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout.split() == ["register", "rename", "remove-attribute"], result.stderr


def completed(line):
    """Give what bash offers for the last word of a line."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(
        cli, prog_name="trackyard", env={**variables, "_TRACKYARD_COMPLETE": "bash_complete"}
    )
    assert result.stderr == ""
    assert isinstance(result.exception, SystemExit | None), result.exception
    return [offer.partition(",")[2] for offer in result.stdout.split()]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("experiment-tracker describe ", ["team", "mine"]),
        ("experiment-tracker update team --labe", ["--label", "--label"]),
        ("experiment-tracker register x -f zebra --js", ["--json"]),
        ("stack set ", ["prod"]),
        ("stack update prod --max-", ["--max-workers"]),
        ("stack register other -e te", ["team"]),
        ("stack register other -o pro", ["process"]),
        ("run there_is_no.py:training --stack p", ["prod"]),
        ("runs show ", ["baseline"]),
        ("replay baseline --to m", ["mine"]),
        ("ui ", ["team", "mine"]),
    ],
)
def test_shell_is_offered_names(project, line, names):
    project.configure(
        f'[experiment_trackers.team]\nflavor = "{FLAVOR}"\n'
        f'[experiment_trackers.mine]\nflavor = "{FLAVOR}"\n'
        f'[experiment_trackers."a\\nb"]\nflavor = "{FLAVOR}"\n'
        '[stacks.prod]\norchestrator = "process"\n'
    )
    with trackyard.start_run("baseline", experiment_tracker=None):
        trackyard.log_metric("loss", 1)

    assert completed(f"trackyard {line}") == names


@pytest.mark.parametrize("line", ["stack set ", "runs show ", "stack update a --max", "ui "])
def test_shell_is_shown_no_error(project, line):
    project.file.write_text("[")

    assert completed(f"trackyard {line}") == []


@pytest.mark.parametrize(
    ("shell", "file", "script"),
    [
        ("zsh", ".zshrc", ".config/trackyard/completion.zsh"),
        ("fish", None, ".config/fish/completions/trackyard.fish"),
    ],
)
def test_other_shells_have_their_own_files(shell_home, shell, file, script):
    came = json.loads(invoke("completion", "install", "--shell", shell, "--json").stdout)

    assert came["script"] == str(shell_home / script)
    assert came["file"] == (file and str(shell_home / file))
    assert "_TRACKYARD_COMPLETE" in (shell_home / script).read_text()


def test_unknown_shell_is_answered_with_what_to_type(shell_home, golden, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    golden("completion show", as_json=False)
