"""Does a command that a plugin brings stand beside core's own, and does a broken one harm none?"""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from trackyard.cli.main import cli
from trackyard.hooks.known import known_commands

COMMAND = """
import click
from trackyard import TrackyardError
from trackyard.contract import find_project, json_option, say, show_table

@click.command()
@click.argument("name", default="all")
@json_option
def costs(name, as_json):
    '''Show what runs cost.'''
    if name == "none":
        raise TrackyardError("there is no run 'none'; type: trackyard runs list")
    rows = [{"name": name, "cost": 3}]
    show_table(rows, {"name": "NAME", "cost": "COST"}, as_json=as_json, empty="nothing")

@click.group()
def team():
    '''What a team does.'''

@team.command()
def join():
    '''Join it.'''
    say(f"joined in {find_project().root.name}")

number = 3
"""
SUMMARY = "Name: acme-costs\nVersion: 2.1\nSummary: What runs cost.\n"


@pytest.fixture
def acme(project, install):
    """Give a function that installs a distribution with commands."""

    def install_commands(distribution="acme-costs", **commands):
        install(
            distribution,
            {"acme_costs": COMMAND},
            metadata=SUMMARY.replace("acme-costs", distribution),
            commands=commands,
        )

    return install_commands


def invoke(*arguments, **options):
    return CliRunner().invoke(cli, arguments, prog_name="trackyard", **options)


def test_it_is_typed_like_one_of_core(acme):
    acme(costs="acme_costs:costs", team="acme_costs:team")

    assert invoke("costs", "mine").stdout == "mine\t3\n"
    assert json.loads(invoke("costs", "--json").stdout) == [{"name": "all", "cost": 3}]
    assert invoke("team", "join").stdout == "joined in project\n"
    shown = invoke("costs", "-h").stdout
    assert shown.startswith("Usage: trackyard costs [OPTIONS] [NAME]")
    assert "Show what runs cost." in shown


def test_a_mistake_of_the_user_is_a_line(acme):
    acme(costs="acme_costs:costs")
    result = invoke("costs", "none")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: there is no run 'none'; type: trackyard runs list\n"


def test_the_help_lists_it_with_its_distribution_and_imports_nothing(acme, project):
    acme(costs="acme_costs:costs", broken="no_such_module:costs")
    code = (
        "import sys\nfrom trackyard.cli.main import cli\n"
        "cli(['--help'], standalone_mode=False)\nprint('acme_costs' in sys.modules)"
    )
    done = project.python(code)

    assert done.returncode == 0, done.stderr
    _, plugins = done.stdout.split("Commands of plugins:\n")
    assert plugins.splitlines()[:2] == [
        "  broken  What runs cost (acme-costs 2.1).",
        "  costs   What runs cost (acme-costs 2.1).",
    ]
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:costs", "No module named 'no_such_module'"),
        ("acme_costs:cost", "has no 'cost'; did you mean 'costs'?"),
        ("acme_costs:number", "is no command; write @click.command() above the function"),
    ],
)
def test_a_broken_one_is_a_line_and_breaks_no_other(acme, value, message):
    acme(broken=value, costs="acme_costs:costs")
    result = invoke("broken", "--anything")

    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert invoke("costs").exit_code == 0
    assert invoke("--help").exit_code == 0
    assert invoke("stack", "list").exit_code == 0


def test_a_name_that_core_has_is_refused_with_a_message(acme):
    acme(runs="acme_costs:costs", costs="acme_costs:costs")
    problem = "command 'runs' of acme-costs 2.1 is refused: Trackyard has one of that name"

    assert invoke("--help").stderr == f"Warning: {problem}\n"
    assert "what came of them" in invoke("runs", "--help").stdout
    rows = json.loads(invoke("plugins", "--json").stdout)
    (row,) = [row for row in rows if row["name"] == "runs"]
    assert row["problem"] == problem


def test_one_that_two_distributions_bring_is_refused_with_their_names(acme):
    acme(costs="acme_costs:costs")
    acme("other-costs", costs="acme_costs:costs")
    result = invoke("costs")

    assert result.exit_code == 1
    said = "is declared by acme-costs 2.1 and other-costs 2.1; do without one of them: type: "
    assert said in result.stderr
    assert "is declared by acme-costs 2.1 and other-costs 2.1" in invoke("--help").stderr


def test_a_blocked_one_is_not_there(acme, monkeypatch):
    acme(costs="acme_costs:costs")
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "acme-costs")

    assert "no command 'costs'" in invoke("costs").stderr
    assert "costs" not in invoke("--help").output


@pytest.mark.parametrize("name", sorted(known_commands()))
def test_a_known_one_that_is_missing_is_answered_with_what_to_type(acme, monkeypatch, name):
    monkeypatch.setattr("sys.path", [])  # nothing is installed
    result = invoke(name, "--help")

    assert result.exit_code == 1
    assert f"command {name!r} is not installed; type: pip install trackyard-{name}" in result.stderr


def test_a_known_one_that_is_blocked_is_not_called_missing(acme, monkeypatch):
    acme(page="acme_costs:costs")
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "acme-costs,trackyard-page")

    assert "no command 'page'" in invoke("page").stderr


def test_a_slip_is_answered_with_its_name(acme):
    acme(costs="acme_costs:costs")

    assert "no command 'cost'; did you mean 'costs'?" in invoke("cost").stderr


def test_plugins_lists_it_with_its_file(acme):
    acme(costs="acme_costs:costs", broken="no_such_module:costs")
    rows = {row["name"]: row for row in json.loads(invoke("plugins", "--json").stdout)}

    assert rows["costs"]["group"] == "trackyard.commands"
    assert rows["costs"]["file"].endswith("acme_costs.py")
    assert (rows["costs"]["problem"], rows["costs"]["distribution"]) == ("", "acme-costs")
    assert "No module named" in rows["broken"]["problem"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("trackyard cos", {"costs"}),
        ("trackyard costs --j", {"--json"}),
        ("trackyard team ", {"join"}),
        ("trackyard broken --", {"--help", "--project", "--version"}),
        ("trackyard zebra ", None),
    ],
)
def test_a_shell_completes_it_and_shows_no_error(acme, project, typed, offered):
    acme(costs="acme_costs:costs", team="acme_costs:team", broken="no_such_module:costs")
    words = typed.split(" ")
    done = project.command(
        sys.executable, "-m", "trackyard",
        _TRACKYARD_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1),
        TRACKYARD_PROGRAM="trackyard",
    )  # fmt: skip
    found = {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert done.stderr == ""
    assert offered is None or offered == found
