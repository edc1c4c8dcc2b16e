"""Names, files and configurations that mean harm do none, and secrets are nowhere."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from matrices import first_by_default

from trackyard import start_run
from trackyard.recovery.finishing import find_pending_runs, sync_all

NAMES = ["../../x", "/etc/x", "C:\\x", "%2e%2e/x", "a\0b", "CON", "x.", "..", "~root", "a/../../b"]
CANARY = "canary-5f3759df-secret"


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_s1_names_are_never_paths(faults, tmp_path, name):
    faults.add_tracker(isolation="thread", flush_timeout=30)
    outside = files_below(tmp_path)
    source = faults.root / "file.txt"
    source.write_text("content")
    with start_run(name, experiment=name) as run:
        run.log_artifact(source, name)
        run.log_text("text", name)
        run.log_dict({}, name)
        run.log_param(name, name)

    inside = ("project/.trackyard", "project/backends", "project/file.txt")
    assert not [p for p in files_below(tmp_path) - outside if not p.startswith(inside)]
    assert not Path("/etc/x").exists()
    assert faults.statuses() == ["finished"]


def test_s2_artifacts_that_are_no_files_hold_nothing_up(faults, tmp_path):
    faults.add_tracker(isolation="thread", flush_timeout=30)
    fifo, loop, gone = tmp_path / "fifo", tmp_path / "loop", tmp_path / "gone"
    os.mkfifo(fifo)
    loop.mkdir()
    (loop / "again").symlink_to(loop)
    (loop / "file").write_text("content")
    gone.symlink_to(tmp_path / "nothing")
    begun = time.monotonic()
    with start_run("safe") as run:
        for path in (fifo, Path("/dev/zero"), gone, loop, tmp_path / "not there"):
            run.log_artifact(path)
        run.log_metric("after", 1)

    assert time.monotonic() - begun < 20
    assert faults.values("after") == [1.0]
    assert faults.statuses() == ["finished"]


def test_s2_a_file_that_vanishes_before_it_is_sent_was_copied(faults):
    backend = faults.add_tracker(isolation="thread", start_timeout=0.1, flush_timeout=0.1)
    (backend / "down").touch()
    source = faults.root / "model.bin"
    source.write_bytes(b"weights")
    with start_run("safe") as run:
        run.log_artifact(source)
        source.write_bytes(b"other!!")
        source.unlink()
    (backend / "down").unlink()
    sync_all(faults.project, patience=10)

    import hashlib

    assert faults.values("model.bin", kind="artifact") == [hashlib.sha256(b"weights").hexdigest()]


@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_s3_a_secret_is_in_no_file_and_no_output(faults, isolation):
    """It is in a field, in a URL, in the environment, in an exception and in a traceback."""
    faults.add_tracker(
        flavor="leaking:Leaking",
        token="env:CANARY",
        isolation=isolation,
        start_timeout=10,
        flush_timeout=3,
    )
    program = """
import os
from trackyard import start_run
secret = os.environ["CANARY"]
with start_run(tags={"note": secret}) as run:
    run.log_param("url", f"https://user:{secret}@host/path?token={secret}")
    run.log_param("api_token", secret)
    run.log_params({"nested": {"password": secret}})
    run.log_text(f"key {secret}", "note.txt")
    raise ValueError(f"the key {secret} is wrong")
"""
    done = faults.python(program, CANARY=CANARY)
    synced = faults.trackyard("sync", "--patience", "0", CANARY=CANARY)
    shown = done.stdout + done.stderr.partition("Traceback")[0] + synced.stdout + synced.stderr

    assert done.returncode == 1
    assert "ValueError" in done.stderr  # which is the user's own, and printed by Python
    assert CANARY not in shown
    found = [
        path
        for path in faults.home.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    assert [path.name for path in found if path.suffix != ".txt"] == []


def test_s4_pickles_are_not_read_by_the_journal_or_its_delivery(faults):
    faults.add_tracker(isolation="thread")
    program = """
import os, sys
read = []
sys.addaudithook(lambda event, _: read.append(event) if event.startswith("pickle.") else None)
from trackyard import start_run
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import sync_all
with start_run() as run:
    run.log_metric("loss", 1)
    run.log_dict({"a": 1}, "a.json")
sync_all(find_project(), patience=5)
print(read)
"""
    assert faults.python(program).stdout.splitlines()[-1] == "[]"


def edited(folder, change):
    path = folder / "run.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


FORGERIES = {
    "a folder elsewhere": lambda values: values["trackers"][0].update(folder="../../../evil"),
    "a parent elsewhere": lambda values: values["run"].update(parent_id="../../evil"),
    "a flavor of another kind": lambda values: values["trackers"][0]["table"].update(flavor="os:x"),
    "a list": lambda values: values.update(run=[]),
    "no trackers": lambda values: values.update(trackers="none"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_s5_a_run_that_was_forged_harms_nothing_and_holds_up_no_other(faults, forgery, tmp_path):
    backend = faults.add_tracker(isolation="thread", start_timeout=0.1, flush_timeout=0.1)
    (backend / "down").touch()
    for name in ("forged", "sound"):
        with start_run(name) as run:
            run.log_metric("loss", 1)
    forged, _ = faults.run_folders()
    edited(forged, FORGERIES[forgery])
    (backend / "down").unlink()
    before = files_below(tmp_path)
    done = faults.trackyard("sync", "--json", "--patience", "0.2")

    assert "Traceback" not in done.stderr
    assert "sound" in [row[0] for row in faults.rows("select name from runs")]
    new = [path for path in files_below(tmp_path) - before if "evil" in path]
    assert new == []


CONFIGURATIONS = {
    "no TOML": "experiment_trackers = [",
    "a wrong type": "[experiment_trackers.local]\nflavor = 7",
    "an unknown key": "[experiment_trackers.local]\nflavor = 'ledger:Ledger'\nnothing = 1",
    "not UTF-8": b"\xff\xfe",
    "very deep": "a = " + "[" * 5000 + "]" * 5000,
    "very long": "# " + "x" * 5_000_000 + "\nactive_stack = 1",
}


@pytest.mark.parametrize("configuration", first_by_default(CONFIGURATIONS))
def test_s6_a_configuration_that_is_wrong_is_one_message_with_its_place(faults, configuration):
    text = CONFIGURATIONS[configuration]
    (faults.root / "trackyard.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = faults.trackyard("experiment-tracker", "list")
    program = "from trackyard import start_run\nwith start_run(): pass"
    run = faults.python(program)

    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 2000
    assert run.returncode == 1
    assert "ConfigError" in run.stderr
    assert "trackyard.toml" in run.stderr.splitlines()[-1]


@pytest.mark.slow
def test_s7_registrations_at_once_lose_none(faults):
    program = """
import sys
from trackyard.cli.main import cli
for number in range(4):
    name = f"tracker-{sys.argv[1]}-{number}"
    cli(["experiment-tracker", "register", name, "--flavor", "ledger:Ledger",
         "--database", "x.db"], standalone_mode=False)
"""
    processes = [faults.start(program, str(number)) for number in range(6)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    text = (faults.root / "trackyard.toml").read_text()

    assert text.count("[experiment_trackers.") == 24


def test_s8_folders_and_files_are_private_whatever_the_umask_says(faults):
    program = "import os; os.umask(0)\nfrom trackyard import start_run\n"
    program += "with start_run(experiment_tracker=None) as run:\n    run.log_metric('loss', 1)"
    assert faults.python(program).returncode == 0
    runs = faults.home / "runs"

    for path in (runs, *runs.rglob("*")):
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


ESCAPES = "\x1b]0;owned\x07\x1b[2Jname"


def test_s9_names_with_control_characters_are_shown_without_their_effect(faults):
    faults.add_tracker(isolation="thread", start_timeout=0.1, flush_timeout=0.1)
    (faults.root / "backends" / "local" / "down").touch()
    with start_run(ESCAPES) as run:
        run.log_metric(ESCAPES, 1)
    shown = faults.trackyard("sync", "--patience", "0").stdout + faults.trackyard("runs").stdout

    assert "name" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert find_pending_runs(faults.project)
