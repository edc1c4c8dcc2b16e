"""Does `trackyard init` write a configuration that fits what is there, and no secret?"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from trackyard import Client
from trackyard.cli.main import cli
from trackyard.hooks.known import known_flavors

FLAVOR = """
import attrs
from trackyard.contract import Secret, flavor, hookimpl, option, secret

@flavor
class Tracker:
    '''Track runs in {name}.'''

    tracking_uri: str = option("Server", env="{prefix}_TRACKING_URI", default="")
    api_key: Secret | None = secret("Key", env="{prefix}_API_KEY")
    tracking_token: Secret | None = {token}
    workspace: str = option(env="{prefix}_WORKSPACE", default="")

    @hookimpl
    def tracker_start_run(self, run): ...
"""


@pytest.fixture(autouse=True)
def _no_signs(monkeypatch):
    monkeypatch.delenv("TRACKYARD_DISABLE_PLUGINS")
    for known in known_flavors().values():
        for variable in known.variables:
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def flavors(install, monkeypatch):
    """Give a function that makes these flavors the installed ones."""

    def install_flavors(*names):
        CliRunner().invoke(cli, ["init", "--help"])  # what it imports is imported before
        for module in ("importlib_metadata", "tomlkit", "trackyard.recovery.finishing", "difflib"):
            importlib.import_module(module)
        paths = []
        for name in names:
            token = "attrs.field(init=False, default=None)"
            if name == "mlflow":
                token = 'secret(env="MLFLOW_TRACKING_TOKEN")'
            source = FLAVOR.format(name=name, prefix=name.upper(), token=token)
            target = {name: f"fake_{name}:Tracker"}
            paths.append(install(f"trackyard-{name}", {f"fake_{name}": source}, flavors=target))
        monkeypatch.setattr("sys.path", [str(path) for path in paths])

    return install_flavors


def init(*arguments):
    return CliRunner().invoke(cli, ["init", *arguments], prog_name="trackyard")


def written(project):
    return tomllib.loads(project.file.read_text())


def test_variables_of_sdks_become_fields_and_secrets_references(project, flavors, monkeypatch):
    flavors("comet", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:pass-word@host:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "very-secret")
    monkeypatch.setenv("COMET_API_KEY", "very-secret")
    monkeypatch.setenv("COMET_WORKSPACE", 'ac"me')
    result = init()

    assert (result.exit_code, result.stderr) == (0, "")
    assert written(project) == {
        "experiment_trackers": {
            "comet": {"flavor": "comet", "api_key": "env:COMET_API_KEY", "workspace": 'ac"me'},
            "mlflow": {
                "flavor": "mlflow",
                "tracking_uri": "http://host:5000",
                "tracking_token": "env:MLFLOW_TRACKING_TOKEN",
            },
        },
        "stacks": {"default": {"experiment_trackers": ["comet", "mlflow"]}},
    }
    for secret in ("very-secret", "pass-word", "ann"):
        assert secret not in project.file.read_text()
    monkeypatch.undo()
    monkeypatch.chdir(project.root)
    assert Client().active_stack.experiment_trackers == ("comet", "mlflow")


def test_without_signs_it_is_a_tracker_that_needs_no_account(project, flavors):
    flavors("comet", "mlflow")
    init()

    assert written(project)["experiment_trackers"] == {"local": {"flavor": "mlflow"}}
    assert "# Track runs in mlflow." in project.file.read_text()


def test_what_it_writes(golden_project, golden, flavors, monkeypatch):
    flavors("mlflow")
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    golden("init", reset=lambda: golden_project.file.unlink(missing_ok=True))


def test_without_a_flavor_it_says_what_to_install(project, flavors):
    flavors()
    result = init()

    assert written(project) == {"stacks": {"default": {"experiment_trackers": []}}}
    assert "Type: pip install trackyard-mlflow" in project.file.read_text()
    assert "type: pip install trackyard-mlflow" in result.stderr


def test_variable_of_a_flavor_that_is_missing_is_noted(project, flavors, monkeypatch):
    flavors("mlflow")
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    result = init()

    assert result.stderr == (
        "Note: WANDB_API_KEY is set; to use it, type: pip install trackyard-wandb\n"
    )
    assert "# WANDB_API_KEY speaks for wandb" in project.file.read_text()
    assert "very-secret" not in project.file.read_text()


def test_a_strangers_flavor_says_which_variables_speak_for_it(project, flavors, monkeypatch):
    flavors("acme", "mlflow")
    monkeypatch.setenv("ACME_WORKSPACE", "ours")
    monkeypatch.setenv("ACME_API_KEY", "very-secret")
    init()

    assert written(project)["experiment_trackers"] == {
        "acme": {"flavor": "acme", "api_key": "env:ACME_API_KEY", "workspace": "ours"}
    }


def test_a_broken_flavor_hides_nothing(project, flavors, install, monkeypatch):
    flavors("mlflow")
    site = install("trackyard-wandb", {}, flavors={"wandb": "nowhere:Tracker"})
    monkeypatch.setattr("sys.path", [*sys.path, str(site)])
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("MLFLOW_WORKSPACE", "theirs")
    init()

    assert "# wandb cannot be used: " in project.file.read_text()
    trackers = written(project)["experiment_trackers"]
    assert trackers == {"mlflow": {"flavor": "mlflow", "workspace": "theirs"}}


def test_json_says_what_was_found(project, flavors, monkeypatch):
    flavors("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    came = json.loads(init("--json").stdout)

    assert came == {
        "file": str(project.file),
        "experiment_trackers": ["mlflow"],
        "found": [{"flavor": "mlflow", "is_installed": True, "variables": ["MLFLOW_TRACKING_URI"]}],
        "lines": [],
    }


@pytest.fixture
def acme(install, monkeypatch):
    """Install a package that knows the frameworks `acme` and `broken`."""
    module = {"acme_lines": 'ACME = """\nfrom acme import Logger\ntrain(logger=Logger())\n"""\n'}
    texts = {"acme": "acme_lines:ACME", "broken": "acme_lines:NOTHING"}
    site = install("trackyard-acme", module, frameworks=texts)
    monkeypatch.setattr("sys.path", [str(site), *sys.path])


def test_framework_gets_its_lines_with_a_new_project_and_alone_in_one(project, acme):
    first, second = init("--framework", "acme"), init("--framework", "acme")

    assert project.file.exists()
    assert first.stdout.splitlines()[-2:] == ["from acme import Logger", "train(logger=Logger())"]
    assert second.stdout.splitlines() == ["from acme import Logger", "train(logger=Logger())"]
    lines = json.loads(init("--framework", "acme", "--json").stdout)["lines"]
    assert lines == second.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "said"), [("acmee", "did you mean 'acme'"), ("broken", "from trackyard-acme cannot")]
)
def test_framework_without_lines_is_said_and_nothing_is_written(project, acme, name, said):
    result = init("--framework", name)

    assert result.exit_code == 1
    assert said in result.stderr
    assert not project.file.exists()


def test_framework_says_what_to_install_where_no_package_knows_any(project, flavors):
    flavors("mlflow")

    assert "type: pip install trackyard-integrations" in init("--framework", "acme").stderr


@pytest.mark.parametrize("file", ["trackyard.toml", "pyproject.toml"])
def test_what_is_there_stays(project, flavors, file):
    flavors("mlflow")
    text = "[stacks.a]\n" if file == "trackyard.toml" else "[tool.trackyard.stacks.a]\n"
    (project.root / file).write_text(text)
    result = init()

    assert result.exit_code == 1
    assert f"{file} is there already; type: trackyard config show" in result.stderr
    assert (project.root / file).read_text() == text


def test_project_above_is_noted(project, flavors, monkeypatch):
    flavors("mlflow")
    project.configure("")
    (project.root / "inner").mkdir()
    monkeypatch.chdir(project.root / "inner")
    result = init()

    assert result.exit_code == 0
    assert result.stderr == f"Note: {project.file} holds no longer in this folder and below.\n"


def test_terminal_is_asked_two_questions_at_most(project, install):
    for name in ("comet", "mlflow"):
        token = "attrs.field(init=False, default=None)"
        source = FLAVOR.format(name=name, prefix=name.upper(), token=token)
        install(
            f"trackyard-{name}", {f"fake_{name}": source}, flavors={name: f"fake_{name}:Tracker"}
        )
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trackyard", "init"],
        cwd=project.root,
        env=project.environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, b"zebra\nmlflow\nhttp://ann:pw@localhost:5001\n")
    seen = b""
    try:
        while more := os.read(ours, 4096):
            seen += more
    except OSError:
        pass
    os.close(ours)

    assert process.wait(60) == 0, seen.decode()
    assert b"no flavor 'zebra' is installed" in seen
    tracker = written(project)["experiment_trackers"]["local"]
    assert tracker == {"flavor": "mlflow", "tracking_uri": "http://localhost:5001"}
