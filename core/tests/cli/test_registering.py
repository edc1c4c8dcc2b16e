"""Are trackers and stacks registered, changed and removed as typed, and are mistakes answered?"""

from __future__ import annotations

import json
import tomllib

import pytest
from click.testing import CliRunner
from recorder import Recorder

from trackyard.cli.main import cli

FLAVOR = "recorder:Recorder"


def invoke(*arguments, **options):
    return CliRunner().invoke(cli, arguments, prog_name="trackyard", **options)


def tracker(*arguments):
    return invoke("experiment-tracker", *arguments)


def stack(*arguments):
    return invoke("stack", *arguments)


def written(project):
    return tomllib.loads(project.file.read_text())


# Registering a tracker


@pytest.mark.parametrize("spelling", ["--start_timeout", "--start-timeout"])
def test_tracker_is_registered_with_the_types_of_its_fields(project, spelling):
    result = tracker(
        *("register", "team", "-f", FLAVOR, "-l", "owner=ann", "--tags", "a,b", "--tags", "c"),
        *("--options", "x=1", "--token", "env:HOME", spelling, "3", "--required", "yes"),
    )

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"registered experiment tracker 'team' in {project.file}\n"
    assert written(project) == {
        "experiment_trackers": {
            "team": {
                "flavor": FLAVOR,
                "tags": ["a", "b", "c"],
                "options": {"x": "1"},
                "token": "env:HOME",
                "start_timeout": 3.0,
                "required": True,
                "labels": {"owner": "ann"},
            }
        }
    }


def test_help_shows_the_fields_of_the_flavor(project):
    text = tracker("register", "team", "-f", FLAVOR, "--help").stdout

    assert "Fields of Recorder:" in text
    assert "--token env:NAME|file:PATH|keyring:SERVICE/USER" in text
    assert "--directory PATH" in text
    assert "[default: calls]" in text
    assert "--flush-timeout NUMBER" in text


def test_literal_secret_is_refused_with_the_line_to_type_and_not_shown(project):
    result = tracker("register", "team", "-f", FLAVOR, "--token", "s3cr3t-value")

    assert result.exit_code == 2
    assert "s3cr3t" not in result.output
    line = f"trackyard experiment-tracker register team -f {FLAVOR} --token env:TOKEN"
    assert line in result.stderr.splitlines()[-2]
    assert not project.file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["team"], "Missing option '-f' / '--flavor'"),
        (["team", "-f", "nowhere:Tracker"], "No module named 'nowhere'"),
        (
            ["team", "-f", FLAVOR, "--derectory", "a"],
            f"'--derectory'. Type: trackyard experiment-tracker register team -f {FLAVOR} --help",
        ),
        (["team", "-f", FLAVOR, "--rank", "first"], "must be one of 'all', 'zero', not 'first'"),
        (["team", "-f", FLAVOR, "--options", "x"], "must be KEY=VALUE, not 'x'"),
        (["team", "-f", FLAVOR, "-l", "x"], "must be KEY=VALUE, not 'x'"),
        (["-f", FLAVOR], "Missing argument 'NAME'"),
    ],
)
def test_wrong_usage_exits_with_2_and_registers_nothing(project, arguments, message):
    result = tracker("register", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message.replace("'", "") in result.stderr.replace("'", "")
    assert not project.file.exists()


@pytest.mark.parametrize("name", ["", " a", "a\x1b[2J", "a\nb"])
def test_odd_name_is_refused_and_its_escapes_do_nothing(project, name):
    result = tracker("register", "--flavor", FLAVOR, "--", name)

    assert result.exit_code == 2
    assert "a name is a text without spaces at its ends" in result.stderr
    assert "\x1b" not in result.output


def test_name_with_an_escape_in_the_file_moves_no_cursor(project):
    project.configure(f'[experiment_trackers."a\\u001b[2J"]\nflavor = "{FLAVOR}"\n')
    for command in (["list"], ["describe", "a\x1b[2J"]):
        result = tracker(*command)

        assert result.exit_code == 0
        assert "a?[2J" in result.stdout
        assert "\x1b" not in result.output


def test_second_tracker_of_a_name_is_refused(project):
    project.add_tracker("team", Recorder)
    result = tracker("register", "team", "-f", FLAVOR)

    assert result.exit_code == 1
    assert "type: trackyard experiment-tracker update team" in result.stderr


# Changing it


def test_tracker_is_changed_and_comments_stay(project):
    header = f'# ours\n[experiment_trackers.team]\nflavor = "{FLAVOR}" # mine\n'
    project.configure(f'{header}label="a"\n')
    assert tracker("update", "team").exit_code == 2
    assert tracker("update", "team", "--tags", "x").exit_code == 0
    assert tracker("remove-attribute", "team", "label").exit_code == 0
    assert tracker("copy", "team", "other").exit_code == 0
    assert tracker("rename", "other", "third").exit_code == 0

    assert project.file.read_text() == (
        f'{header}tags = ["x"]\n\n[experiment_trackers.third]\nflavor = "{FLAVOR}"\ntags = ["x"]\n'
    )
    assert tracker("delete", "third").exit_code == 0
    assert list(written(project)["experiment_trackers"]) == ["team"]


@pytest.mark.parametrize("command", [["describe"], ["delete"], ["copy"], ["rename"]])
def test_unknown_tracker_is_answered_with_the_nearest(project, command):
    project.add_tracker("team", Recorder)
    more = ["new"] if command[0] in ("copy", "rename") else []
    result = tracker(*command, "taem", *more)

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: no experiment tracker 'taem' is configured; did you mean 'team'?\n"
    )


def test_tracker_of_a_stack_is_renamed_there_and_not_deleted(project):
    project.add_tracker("team", Recorder)
    stack("register", "prod", "-e", "team")
    assert "type: trackyard stack update prod --remove-experiment-tracker team" in (
        tracker("delete", "team").stderr
    )
    tracker("rename", "team", "crew")

    assert written(project)["stacks"]["prod"]["experiment_trackers"] == ["crew"]


def test_json_of_a_tracker_is_what_the_client_gives(project):
    project.add_tracker("team", Recorder, label="a")
    document = json.loads(tracker("describe", "team", "--json").stdout)

    assert set(document) == {
        *("name", "flavor", "is_active", "stacks", "labels", "options", "fields", "place")
    }
    assert json.loads(tracker("list", "--json").stdout) == [document]


# Stacks


def test_first_stack_is_active_and_another_is_set(project):
    project.add_tracker("a", Recorder)
    project.add_tracker("b", Recorder)
    assert stack("register", "one", "-e", "b", "-e", "a").exit_code == 0
    assert "type: trackyard stack set two" in stack("register", "two", "-e", "a").stderr
    assert json.loads(stack("describe", "--json").stdout)["name"] == "one"
    stack("set", "two")
    assert json.loads(stack("describe", "--json").stdout)["name"] == "two"
    assert stack("list").stdout == "one\tno\tb, a\tlocal\t\ntwo\tyes\ta\tlocal\t\n"
    assert "type: trackyard stack set one" in stack("delete", "two").stderr


def test_stack_is_changed(project):
    project.add_tracker("a", Recorder)
    project.add_tracker("b", Recorder)
    stack("register", "one", "-e", "a", "-l", "x=1")
    stack("update", "one", "--add-experiment-tracker", "b", "-a", "s3://bucket", "-l", "y=2")
    stack("update", "one", "--remove-experiment-tracker", "a")
    stack("rename", "one", "main")

    assert written(project)["active_stack"] == "main"
    assert written(project)["stacks"] == {
        "main": {
            "experiment_trackers": ["b"],
            "artifact_store": "s3://bucket",
            "labels": {"x": "1", "y": "2"},
        }
    }
    stack("remove-attribute", "main", "artifact-store")
    assert "artifact_store" not in written(project)["stacks"]["main"]
    assert stack("delete", "main").exit_code == 0
    assert "active_stack" not in written(project)


@pytest.mark.parametrize("command", ["register", "update"])
def test_a_stack_says_whose_calls_are_captured_and_no_other_flavor_is_taken(project, command):
    tracker("register", "a", "--flavor", "trackyard.testing:MemoryTracker")
    if command == "update":
        stack("register", "one", "-e", "a", "--capture", "trackio")
    sources = ["--capture", "wandb", "--capture", "tensorboard=logs"]
    assert stack(command, "one", *sources).exit_code == 0
    assert written(project)["stacks"]["one"]["capture"] == ["wandb", "tensorboard=logs"]
    assert json.loads(stack("describe", "--json").stdout)["capture"] == [
        "wandb",
        "tensorboard=logs",
    ]

    answer = stack("update", "one", "--capture", "wnadb")
    assert answer.exit_code != 0
    assert "wandb" in answer.stderr
    assert written(project)["stacks"]["one"]["capture"] == ["wandb", "tensorboard=logs"]


@pytest.mark.parametrize("spelling", ["--max-workers", "--max_workers"])
def test_orchestrator_of_a_stack_is_set_up(project, spelling):
    stack("register", "one", "-o", "process", spelling, "3")
    assert written(project)["stacks"]["one"]["max_workers"] == 3

    shown = stack("update", "one", "--help").stdout
    assert "Fields of ProcessOrchestrator:\n  --max-workers INTEGER" in shown
    assert "--hook-timeout" not in shown
    stack("update", "one", spelling, "4")
    assert json.loads(stack("describe", "one", "--json").stdout)["options"] == {"max_workers": 4}

    refused = stack("update", "one", "-o", "local")
    typed = "trackyard stack remove-attribute one max_workers"
    assert refused.exit_code == 2
    assert f"'local' does not take 'max_workers'; type first: {typed}\n" in refused.stderr
    assert invoke(*typed.split()[1:]).exit_code == 0
    assert stack("update", "one", "-o", "local").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["-e", "zebra"], "no experiment tracker 'zebra' is configured; configured are 'team'", 1),
        (["-o", "process", "--max-workers", "x"], "must be a whole number, not 'x'", 2),
        (["-o", "process", "--max-workers", "0"], "max_workers: must be 1 or more, not 0", 1),
        (["--max-workers", "2"], "No such option '--max-workers'", 2),
        (["-o", "locl"], "no orchestrator 'locl' is installed; did you mean 'local'?", 2),
    ],
)
def test_stack_of_what_is_not_there_is_refused(project, arguments, message, code):
    project.add_tracker("team", Recorder)
    before = project.file.read_text()
    result = stack("register", "one", *arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert project.file.read_text() == before


def test_stack_moves_to_another_project(project, tmp_path, monkeypatch):
    project.add_tracker("team", Recorder, token="env:TOKEN")
    stack("register", "prod", "-e", "team")
    assert stack("export", "prod", str(tmp_path / "prod.toml")).exit_code == 0
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    result = stack("import", str(tmp_path / "prod.toml"))

    assert result.stdout == "registered stack 'prod' with 'team'\n"
    found = tomllib.loads((other / "trackyard.toml").read_text())
    assert found["experiment_trackers"]["team"]["token"] == "env:TOKEN"
    assert found["stacks"] == {"prod": {"experiment_trackers": ["team"]}}


def test_pyproject_is_edited_where_it_holds_the_configuration(project):
    file = project.root / "pyproject.toml"
    file.write_text('[project]\nname = "a"\n\n[tool.trackyard]\n\n[tool.ruff]\nline-length = 9\n')
    tracker("register", "team", "-f", FLAVOR)
    stack("register", "prod", "-e", "team")
    found = tomllib.loads(file.read_text())

    assert found["tool"]["ruff"] == {"line-length": 9}
    assert found["tool"]["trackyard"] == {
        "active_stack": "prod",
        "experiment_trackers": {"team": {"flavor": FLAVOR}},
        "stacks": {"prod": {"experiment_trackers": ["team"]}},
    }
    assert not project.file.exists()
