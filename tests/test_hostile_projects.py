"""Two projects full of hostile folders: whatever looks at them runs nothing and asks nobody."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from looking import calls_for_runs, commands_for_runs, recording_server
from matrices import first_by_default

SECRET = "canary-51aa-of-the-environment"
CANARY = (
    "import traceback\nfrom pathlib import Path\n"
    "Path({place!r}).write_text(''.join(traceback.format_stack()))\n"
)
# What acts, and does what the configuration says.
ACTS = {
    *("gc", "import", "replay", "runs delete", "runs end", "runs note", "runs rename", "runs tag"),
    *("runs verify", "store upgrade", "sync"),
}
ACTING_CALLS = {
    *("collect_garbage", "delete_run", "end_run", "plan_replay", "rename_run", "replay_run"),
    *("import_runs", "set_note", "set_tags", "sync", "verify_import"),
    "verify_run",
}
COMMANDS = {
    "archive": "crashed second --output runs.trackyard",
    "config show": "",
    "doctor": "",
    "experiment-tracker describe": "notes",
    "experiment-tracker list": "",
    "runs compare": "crashed second",
    "runs download": "crashed report.txt",
    "runs export": "crashed second --format csv",
    "runs list": "",
    "runs logs": "crashed",
    "runs show": "crashed",
    "runs url": "crashed",
    "stack describe": "",
    "stack export": "",
    "stack list": "",
    "store rebuild": "",
    # These look at no run, and still at the project.
    "plugins": "",
    "experiment-tracker flavor list": "",
    "completion show": "",
}
CALLS = {
    "active_stack": "client.active_stack",
    "archive_runs": "client.archive_runs('crashed', file='runs.trackyard')",
    "compare_runs": "client.compare_runs('crashed', 'second')",
    "doctor": "client.doctor()",
    "export_runs": "client.export_runs('crashed', file='runs.csv')",
    "export_stack": "client.export_stack()",
    "get_experiment_tracker": "client.get_experiment_tracker('notes')",
    "get_output": "client.get_output('making.make.output').load()",
    "get_pipeline_run": "client.get_pipeline_run(client.list_pipeline_runs('making')[0].name)"
    ".steps['make'].outputs['output'].load()",
    "get_run": "[step.curves for step in client.get_run('crashed').steps]",
    "get_run_url": "client.get_run_url('crashed')",
    "get_stack": "client.get_stack()",
    "list_experiment_trackers": "client.list_experiment_trackers()",
    "list_outputs": "client.list_outputs()",
    "list_pipeline_runs": "client.list_pipeline_runs()",
    "list_runs": "client.list_runs()",
    "list_stacks": "client.list_stacks()",
    "show_config": "client.show_config()",
    "list_flavors": "client.list_flavors(load=True)",
    "count_runs": "client.count_runs('metrics.loss < 5')",
    "list_columns": "client.list_columns()",
    "search_runs": "client.search_runs('metrics.loss < 5', order_by='metrics.loss')",
}
LOOKING = """
import json, sys
from trackyard import Client
from trackyard.cli.main import cli
commands, calls = json.loads(sys.argv[1])
for words in commands:
    try:
        cli(words, standalone_mode=False)
    except (Exception, SystemExit) as error:
        print("tried", words, repr(error), file=sys.stderr)
for call in calls:
    try:
        client = Client()
        eval(call)
    except Exception as error:
        print("tried", call, repr(error), file=sys.stderr)
print("looked at everything")
"""
# What somebody ran before the folder was mailed.
MADE = """
import os, sys
os.environ["TRACKYARD_WATCHDOG"] = "0"  # it would be somebody's own, and late
sys.path.append(os.getcwd())  # this process's alone: a helper of somebody's may be late, too
from own import Odd
from trackyard import pipeline, start_run, step
@step
def make():
    return Odd()
@step
def die(value):
    os._exit(1)
@pipeline(name="making")
def making():
    make()
@pipeline(name="dying")
def dying():
    die(make())
making()
if os.fork() == 0:
    dying()
os.wait()
with start_run("second") as run:
    run.log_metric("loss", 2)
with start_run("crashed") as run:
    run.log_metric("loss", 1)
    run.log_text("text", "report.txt")
    os._exit(0)
"""
ODD = """
from pathlib import Path
from trackyard import flavor, hookimpl
@flavor
class Kept:
    @hookimpl
    def tracker_start_run(self, run):
        pass
class Odd:
    def __reduce__(self):
        return Path.write_text, (Path({place!r}), "executed")
"""


def test_every_command_and_call_that_looks_is_tried_here():
    assert commands_for_runs() - ACTS - COMMANDS.keys() == set()
    assert calls_for_runs() - ACTING_CALLS - CALLS.keys() == set()


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    with recording_server() as recording:
        yield recording


def run(root: Path, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a project as one user or another, whose keys are their own."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("TRACKYARD", "COV"))}
    config = str(root.parent / f"config-of-{user}")
    environment = {**kept, "XDG_CONFIG_HOME": config, "MY_CLOUD_SECRET": SECRET, "PYTHONPATH": ""}
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def be_hostile(root: Path, address: str, place: Path) -> None:
    """Make a project that somebody mailed, of each kind of folder and file one that is hostile."""
    root.mkdir()
    (root / "trackyard.toml").write_text(
        '[experiment_trackers.kept]\nflavor = "own:Kept"\nisolation = "thread"\n'
    )
    (root / "own.py").write_text(ODD.format(place=str(place)))
    made = run(root, "somebody", "-c", MADE)
    assert made.returncode == 0, made.stderr
    place.unlink(missing_ok=True)
    (root / "trackyard.toml").write_text("")
    home = root / ".trackyard"
    tables = {
        "mlflow": {
            "flavor": "mlflow",
            "tracking_uri": address,
            "tracking_token": "env:MY_CLOUD_SECRET",
        },
        "notes": {"flavor": "notes:Tracker"},
    }
    described = [*home.glob("runs/*/run.json")]
    assert len(described) >= 1
    for file in described:
        values = json.loads(file.read_text())
        values["trackers"] = [
            {"name": name, "folder": name, "table": table, "place": "x"}
            for name, table in tables.items()
        ]
        file.write_text(json.dumps(values))
        for folder in ("pending", "offline"):
            (home / folder).mkdir(exist_ok=True)
            (home / folder / file.parent.name).touch()
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("create table experiments (experiment_id, name, artifact_location)")
        database.execute("insert into experiments values (1, 'Default', ?)", (address,))
    for name in ("notes", "evil", "own", "logging", "json", "mlflow", "sqlalchemy"):
        (root / f"{name}.py").write_text(CANARY.format(place=str(place)))


def be_configured(root: Path, address: str) -> None:
    """Add a configuration that names classes, a secret and an address."""
    (root / "trackyard.toml").write_text(
        '[experiment_trackers.notes]\nflavor = "notes:Tracker"\n'
        f'[experiment_trackers.mlflow]\nflavor = "mlflow"\ntracking_uri = "{address}"\n'
        'tracking_token = "env:MY_CLOUD_SECRET"\n'
        '[stacks.default]\norchestrator = "evil:Queue"\nexperiment_trackers = ["notes", "mlflow"]\n'
    )


@pytest.mark.parametrize(
    "is_configured", first_by_default([True, False]), ids=["configured", "a folder alone"]
)
def test_looking_at_a_hostile_project_runs_nothing_and_asks_nobody(tmp_path, server, is_configured):
    address, seen = server
    root, place = tmp_path / "project", tmp_path / "executed"
    be_hostile(root, address, place)
    if is_configured:
        be_configured(root, address)
    before = {path for path in (root / ".trackyard").rglob("*") if path.name == "delivery.json"}
    words = [[*name.split(), *arguments.split()] for name, arguments in COMMANDS.items()]
    looked = run(root, "me", "-c", LOOKING, json.dumps([words, [*CALLS.values()]]))

    assert "looked at everything" in looked.stdout, looked.stderr
    time.sleep(1)  # for what would have begun in the background
    assert not place.exists(), place.read_text()
    assert seen == []
    assert SECRET not in looked.stdout + looked.stderr
    refused = [line for line in looked.stderr.splitlines() if line.startswith("tried ")]
    assert not any("no pipeline run has the name" in line for line in refused), refused
    assert "which runs code when it is loaded" in looked.stderr
    after = {path for path in (root / ".trackyard").rglob("*") if path.name == "delivery.json"}
    assert after == before
    shutil.rmtree(root)
