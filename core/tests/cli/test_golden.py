"""Do commands write what they are known to write, to people and to programs?"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import click
import golden as golden_files
import pytest
from checked import Deaf, Deleting
from foreign import Foreign, write
from pages import Unserving
from recorder import Recorder

from trackyard import start_run
from trackyard.cli.main import cli
from trackyard.hooks.known import known_flavors

SECONDS = {r"(?<=\t)\d+\.\d(?=\t)": "0.1"}
FLAVOR = "recorder:Recorder"
CONFIGURATION = f"""\
active_stack = "default"

[experiment_trackers.local]
flavor = "{FLAVOR}"

[experiment_trackers."team\\u001b[2J"]
flavor = "{FLAVOR}"
token = "env:TOKEN"
label = "http://ann:secret@tracker.test"
tags = ["a", "b"]
required = true
labels = {{ owner = "ann", kind = "a rather long text that does not fit into eighty columns" }}

[stacks.default]
experiment_trackers = ["local"]

[stacks.other]
experiment_trackers = ["local", "team\\u001b[2J"]
artifact_store = "s3://bucket/artifacts"
labels = {{ kind = "cloud" }}
"""


@pytest.fixture
def configured(golden_project):
    def configure():
        golden_project.configure(CONFIGURATION)

    configure()
    return configure


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.commands_by_name:  # not those of plugins
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_command_has_a_golden_file():
    missing = [
        name
        for name, _ in commands(cli)
        if not (golden_files.FOLDER / f"{name.replace(' ', '-')}.txt").exists()
    ]

    assert missing == []


@pytest.mark.parametrize("name", ["experiment-tracker", "experiment-tracker flavor", "stack"])
def test_help_of_a_group(golden, name):
    golden(name, "--help", name=f"{name.replace(' ', '-')}-help", as_json=False)


def test_help(golden):
    golden("", "--help", name="help", as_json=False)


# Flavors


def test_flavor_list(golden, install, monkeypatch):
    install(
        "acme-tracker",
        {},
        flavors={"acme": "acme:Tracker"},
        metadata="Name: acme-tracker\nVersion: 2\nSummary: Acme's own\nRequires-Dist: nothing-x\n",
    )
    site = install("long-tracker", {}, flavors={"a-rather-long-name": "acme:Tracker"})
    known = {"mlflow": known_flavors()["mlflow"]}
    monkeypatch.setattr("trackyard.registry.components.known_flavors", lambda: known)
    golden_files.run_command("experiment-tracker", "flavor", "list", on_terminal=True)
    monkeypatch.setattr("sys.path", [str(site.parent / "0"), str(site)])
    golden("experiment-tracker flavor list")


def test_flavor_describe(golden):
    golden("experiment-tracker flavor describe", "checked:Deleting")


def test_flavor_check(golden, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    golden("experiment-tracker flavor check", "recorder:Recorder", "--only", "hooks")


def test_flavor_new(golden, golden_project):
    golden(
        "experiment-tracker flavor new",
        "board",
        reset=lambda: shutil.rmtree(golden_project.root / "trackyard-board", ignore_errors=True),
    )


def test_plugins(golden, install, monkeypatch):
    site = install("acme-tracker", {}, plugins={"audit": "acme:Tracker", "csv": "csv"})
    golden_files.run_command("plugins", on_terminal=True)
    monkeypatch.setattr("sys.path", [str(site)])
    golden("plugins", replace={golden_files.path_of("csv"): "/lib/csv.py"})


# Experiment trackers


def test_register(golden, golden_project):
    arguments = ["team", "-f", FLAVOR, "--token", "env:TOKEN", "--tags", "a", "-l", "owner=ann"]
    golden(
        "experiment-tracker register",
        *arguments,
        reset=lambda: golden_project.file.unlink(missing_ok=True),
    )


def test_register_help(golden):
    name = "experiment-tracker-register-help"
    golden("experiment-tracker register", "-f", FLAVOR, "--help", name=name, as_json=False)


def test_tracker_list(golden, configured):
    golden("experiment-tracker list")


def test_tracker_list_of_none(golden):
    golden("experiment-tracker list", name="experiment-tracker-list-none")


def test_tracker_describe(golden, configured):
    golden("experiment-tracker describe", "team\x1b[2J")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("update", ["local", "--tags", "a,b", "--start-timeout", "3"]),
        ("rename", ["local", "renamed"]),
        ("copy", ["local", "copied"]),
        ("remove-attribute", ["team\x1b[2J", "tags"]),
    ],
)
def test_tracker_changes(golden, configured, command, arguments):
    golden(f"experiment-tracker {command}", *arguments, reset=configured)


def test_tracker_delete(golden, golden_project):
    text = f'[experiment_trackers.local]\nflavor = "{FLAVOR}"\n'
    golden("experiment-tracker delete", "local", reset=lambda: golden_project.configure(text))


def test_tracker_check(golden, golden_project):
    golden_project.add_tracker("local", Deleting)
    golden("experiment-tracker check", "local", patterns=SECONDS)


def test_tracker_check_that_fails(golden, golden_project):
    golden_project.add_tracker("local", Deaf)
    name = "experiment-tracker-check-failing"
    golden("experiment-tracker check", "local", name=name, patterns=SECONDS)


# Stacks


def test_stack_list(golden, configured):
    golden("stack list")


def test_stack_describe(golden, configured):
    golden("stack describe", "other")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("register", ["third", "-e", "local", "-a", "artifacts", "-l", "a=b"]),
        ("set", ["other"]),
        ("update", ["other", "--remove-experiment-tracker", "local"]),
        ("rename", ["other", "renamed"]),
        ("copy", ["other", "copied"]),
        ("remove-attribute", ["other", "artifact-store"]),
        ("delete", ["other"]),
        ("export", ["other"]),
    ],
)
def test_stack_changes(golden, configured, command, arguments):
    golden(f"stack {command}", *arguments, reset=configured)


def test_stack_import(golden, golden_project):
    exported = golden_project.root / "stack.toml"
    golden_project.configure(CONFIGURATION)
    exported.write_text(golden_files.run_command("stack", "export", "other").out)
    golden("stack import", "stack.toml", reset=lambda: golden_project.configure(""))


# Everything else


def test_run(golden, golden_project, monkeypatch):
    monkeypatch.setenv("TRACKYARD_PROGRESS", "plain")
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("sys.argv", [*sys.argv])
    golden_project.add_tracker("local", Recorder)
    (golden_project.root / "golden_train.py").write_text(
        "from trackyard import log_metric, pipeline, step\n"
        "@step(experiment_tracker='local')\n"
        "def train(rate: float): log_metric('loss', 0.25)\n"
        "@pipeline\n"
        "def training(rate: float = 0.1): train(rate)\n"
    )
    names = {r"training-\d{8}-\d{6}-[0-9a-f]{4}": "training-20260102-030405-0123"}
    golden("run", "golden_train.py:training", "--rate", "0.5", patterns=names)
    sys.modules.pop("golden_train")


def test_sync(golden, configured):
    golden("sync")


def test_replay(golden, configured):
    golden("replay", "nothing", "--to", "local")


def test_archive(golden, golden_project):
    with start_run("mine", experiment_tracker=None) as run:
        run.log_metric("loss", 1)
    golden("archive", "mine", "--output", "runs.trackyard")


def test_import(golden, golden_project):
    root = golden_project.root / "foreign"
    golden_project.add_tracker("there", Foreign, folder=str(root))
    run = {"name": "old one", "experiment": "fraud", "status": "finished", "version": "1"}
    write(root, "r1", run=run, metrics={"loss": [1, 2]}, artifacts={"a.txt": "/elsewhere"})
    golden("import", "there")


def test_ui(golden, golden_project):
    golden_project.add_tracker("local", Unserving)
    golden("ui")


def test_exec(golden):
    golden("exec", "--help", as_json=False)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("metric", ["loss", "0.5", "--step", "1"]),
        ("param", ["rate", "0.1"]),
        ("tag", ["stage", "baseline"]),
        ("artifact", ["."]),
    ],
)
def test_log_outside_a_run(golden, command, arguments):
    golden(f"log {command}", *arguments)
