"""Do the commands say what they do, and does a mistake look like one?"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from trackyard.cli import output
from trackyard.cli.commands import COMMANDS
from trackyard.cli.main import cli


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments, prog_name="trackyard")


# Help and mistakes


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command(option):
    result = invoke(option)

    assert result.exit_code == 0
    assert result.output.startswith("Usage: trackyard [OPTIONS] COMMAND [ARGS]...")
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", result.output, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = invoke(name, "--help")

    assert result.exit_code == 0
    assert f"Usage: trackyard {name}" in result.output


def test_version_is_that_of_the_distribution():
    assert invoke("--version").output == f"trackyard, version {version('trackyard')}\n"


def test_no_command_shows_the_help():
    result = invoke()

    assert "Usage: trackyard" in result.output
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("plugin", "no command 'plugin'; did you mean 'plugins'?"),
        ("zebra", "no command 'zebra'; type: trackyard --help"),
    ],
)
def test_unknown_command_is_answered_with_the_nearest_name(name, hint):
    result = invoke(name)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert hint in result.stderr


@pytest.mark.parametrize("arguments", [["--zebra"], ["plugins", "--zebra"], ["ui", "--port", "0"]])
def test_wrong_usage_exits_with_2(arguments):
    assert invoke(*arguments).exit_code == 2


@pytest.mark.parametrize("command", ["module", "script"])
def test_module_and_script_are_the_same(project, command):
    script = str(Path(sys.executable).with_name("trackyard"))
    arguments = [sys.executable, "-m", "trackyard"] if command == "module" else [script]
    result = project.command(*arguments, "plugins", "--json")

    assert result.returncode == 0
    assert isinstance(json.loads(result.stdout), list)


def test_mistake_of_the_user_is_one_line_and_no_traceback(project):
    project.configure("[stack]")
    result = project.trackyard("ui")

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (f"Error: {project.file}: stack: unknown key; did you mean 'stacks'?\n")


# Flavors


def test_flavors_are_listed_as_lines_in_a_pipe(install):
    install("acme-tracker", {}, flavors={"acme": "acme:Tracker"}, version="2.5")
    result = invoke("experiment-tracker", "flavor", "list")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("acme\t")]

    assert line.split("\t") == [
        "acme",
        "installed",
        "acme-tracker",
        "2.5",
        "",
        "",
        "acme-tracker here",
        "",
    ]


def test_flavors_are_listed_as_json(install):
    install("acme-tracker", {}, flavors={"acme": "acme:Tracker"}, version="2.5")
    rows = json.loads(invoke("experiment-tracker", "flavor", "list", "--json").stdout)

    assert {
        "name": "acme",
        "status": "installed",
        "distribution": "acme-tracker",
        "version": "2.5",
        "sdk": "",
        "sdk_version": "",
        "summary": "acme-tracker here",
        "problem": "",
        "variables": [],
    } in rows


def test_blocked_flavor_is_listed_as_such(install, monkeypatch):
    install("acme-tracker", {}, flavors={"acme": "acme:Tracker"})
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "acme")
    rows = json.loads(invoke("experiment-tracker", "flavor", "list", "--json").stdout)

    assert [row["status"] for row in rows if row["name"] == "acme"] == ["blocked"]


def test_known_flavor_that_is_missing_is_listed_with_what_to_type(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    monkeypatch.setattr("sys.path", [])
    rows = json.loads(invoke("experiment-tracker", "flavor", "list", "--json").stdout)

    assert {
        "name": "mlflow",
        "status": "not installed",
        "distribution": "trackyard-mlflow",
        "version": "",
        "sdk": "",
        "sdk_version": "",
        "summary": "",
        "problem": "type: pip install trackyard-mlflow",
        "variables": ["MLFLOW_TRACKING_URI"],
    } in rows


@pytest.mark.parametrize(
    ("modules", "requires", "status", "problem"),
    [
        ({}, "acme-sdk-not-there>=1", "SDK missing", "type: pip install acme-sdk-not-there"),
        ({}, "pytest", "broken", "No module named 'acme'"),
        ({"acme": "class Tracker: ..."}, "pytest", "broken", "is not a flavor class; write @track"),
    ],
)
def test_flavor_that_cannot_be_used_says_why(install, modules, requires, status, problem):
    metadata = f"Name: acme-tracker\nVersion: 1\nRequires-Dist: attrs\nRequires-Dist: {requires}\n"
    install("acme-tracker", modules, flavors={"acme": "acme:Tracker"}, metadata=metadata)
    arguments = ["--load"] if status == "broken" else []
    result = invoke("experiment-tracker", "flavor", "list", "--json", *arguments)
    (row,) = [row for row in json.loads(result.stdout) if row["name"] == "acme"]

    assert (row["status"], row["sdk"]) == (status, requires.partition(">")[0])
    assert problem in row["problem"]


def test_unknown_command_of_a_group_exits_with_2():
    assert invoke("experiment-tracker", "flavour").exit_code == 2


# Tables

ROWS = [{"name": "a\x1b[2J", "hooks": ["b", "c"], "hidden": 1}, {"name": "d\ne", "hooks": []}]
COLUMNS = {"name": "NAME", "hooks": "HOOKS"}


def test_table_in_a_pipe_is_lines_with_tabs(capsys):
    output.show_table(ROWS, COLUMNS, as_json=False, empty="nothing")

    assert capsys.readouterr().out == "a?[2J\tb, c\nd?e\t\n"


def test_table_on_a_terminal_has_no_blanks_at_the_end_of_a_line(capsys):
    rows = [{"name": "a", "hooks": ["b"]}, {"name": "long name", "hooks": []}]
    output.show_on_terminal(["NAME", "HOOKS"], [[r["name"], "".join(r["hooks"])] for r in rows])
    output.show_on_terminal([], [["a", "b" * 90], ["long", "c"]])

    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["NAME       HOOKS", "a          b", "long name"]
    assert [line for line in lines if line != line.rstrip()] == []


def test_table_as_json_holds_every_key(capsys):
    output.show_table(ROWS, COLUMNS, as_json=True, empty="nothing")

    assert json.loads(capsys.readouterr().out) == ROWS


def test_table_on_a_terminal_has_heads(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    output.show_table(ROWS, COLUMNS, as_json=False, empty="nothing")
    out = capsys.readouterr().out

    assert "NAME" in out
    assert "b, c" in out
    assert "\x1b[2J" not in out


def test_empty_table_says_so_on_stderr(capsys):
    output.show_table([], COLUMNS, as_json=False, empty="nothing")
    assert capsys.readouterr() == ("", "nothing\n")

    output.show_table([], COLUMNS, as_json=True, empty="nothing")
    assert capsys.readouterr() == ("[]\n", "")
