"""Names, files, settings and journals of a foreign hand lead nowhere, and secrets are not kept."""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from canary import CANARY
from evidence import wait_until
from hypothesis import HealthCheck, given, settings, strategies as st

from trackyard import start_run
from trackyard.journal.reader import JournalReader
from trackyard.recovery.finishing import sync_all
from trackyard.recovery.replay import replay_run
from trackyard.runs.folders import find_runs

NASTY = ["../../x", "/etc/x", "C:\\x", "%2e%2e/x", "a\0b", "CON", "x.", "..", ".", "", "a/../../b"]


def files_below(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", NASTY)
def test_s1_names_are_never_paths(faults, tmp_path, name):
    faults.add_tracker(isolation="thread")
    (tmp_path / "file").write_text("content")
    before = files_below(tmp_path)
    with start_run(name or "x", experiment=name or "x") as run:
        run.log_text("content", name)
        run.log_artifact(tmp_path / "file", name)
        run.log_param(name, name)
    (folder,) = faults.run_folders()
    new = files_below(tmp_path) - before

    assert all(path.startswith((str(faults.home), str(faults.root))) for path in new)
    assert not [
        path
        for path in new
        if not path.startswith(str(folder)) and path.startswith(str(faults.home / "runs") + "/")
    ]
    assert len(faults.rows("select * from natural_records where kind = 'artifact'")) >= 1
    assert faults.statuses() == ["finished"]


@given(st.text(max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_s1_any_name_of_an_artifact_stays_inside(one_run, name):
    run, folder, outside = one_run
    before = files_below(outside)
    run.log_text("content", name)

    assert all(path.startswith(str(folder)) for path in files_below(outside) - before)


@pytest.fixture
def one_run(faults, tmp_path):
    with start_run("names", experiment_tracker=None) as run:
        run.log_param("a", 1)
        (folder,) = faults.run_folders()
        yield run, folder, tmp_path


def test_s2_files_that_are_none(faults, tmp_path, caplog):
    """A link stands for what it leads to, and a device, FIFO, socket or circle holds nothing up."""
    faults.add_tracker(isolation="thread")
    folder = tmp_path / "outputs"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "link.txt").symlink_to("/etc/hostname")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        with start_run("odd files") as run:
            for path in (folder, folder / "fifo", folder / "s", "/dev/zero", folder / "gone"):
                run.log_artifact(path)
            run.log_metric("after", 1)

    kept = faults.rows("select key from natural_records where kind = 'artifact'")
    assert sorted(kept) == [("outputs/a.txt",), ("outputs/link.txt",)]
    assert faults.values("after") == [1]
    assert "is no regular file" in caplog.text
    assert "outputs/loop is a link that leads back to a folder it lies in" in caplog.text


def test_s2_a_file_that_changes_and_vanishes_while_it_is_logged(faults, tmp_path):
    """What is kept is one content, whole, and nothing raises into the step."""
    program = """
import os, sys
path, stop = sys.argv[1], sys.argv[2]
number = 0
while not os.path.exists(stop):
    number += 1
    with open(path, "wb") as file:
        file.write(b"%d" % (number % 10) * 100_000)
    if number % 3 == 0:
        os.unlink(path)
"""
    path, stop = tmp_path / "changing", tmp_path / "stop"
    process = subprocess.Popen([sys.executable, "-c", program, str(path), str(stop)])
    try:
        wait_until(path.exists)
        with start_run("changing", experiment_tracker=None) as run:
            give_up_at = time.monotonic() + 30
            for number in itertools.count():
                run.log_artifact(path, f"{number}.bin")
                is_kept = any(any(kept.glob("blobs/*")) for kept in faults.run_folders())
                if (number >= 150 and is_kept) or time.monotonic() > give_up_at:
                    break
            run.log_metric("after", 1)
    finally:
        stop.touch()
        process.wait(30)
    (folder,) = faults.run_folders()
    reader = JournalReader(folder)
    entries = [entry for _, entry in reader.read(10**6)]

    assert reader.lost == 0
    assert faults.journaled("after") == [1]
    assert [e for e in entries if e.kind == "artifact"]


def test_s3_a_secret_in_every_place_that_is_written(faults, monkeypatch):
    faults.add_tracker(flavor="away_with_secret:Guarded", isolation="thread", token="env:MINE")
    (faults.root / "away_with_secret.py").write_text("""
import attrs
from ledger import Ledger
from trackyard import flavor, secret, Secret
@flavor
class Guarded(Ledger):
    "Has a secret."
    token: Secret | None = secret(help="Not used.")
""")
    database = faults.root / "backends" / "local" / "ledger.db"
    text = (faults.root / "trackyard.toml").read_text()
    (faults.root / "trackyard.toml").write_text(f"{text.rstrip()}\ndatabase = {str(database)!r}\n")
    process = faults.python(
        """
import itertools
import os
from trackyard import start_run
key = os.environ["MINE"]
try:
    with start_run(key, tags={"tag": key}) as run:
        run.log_metric(key, 1)
        run.log_params({"p": key, key: 1, "nested": {"deep": [key]}})
        run.set_tag("t", f"https://ann:{key}@host/?token={key}")
        run.log_text(key, f"{key}.txt")
        run.log_dict({key: [key]}, "a.json")
        run.log_table({key: [key]}, "b.json")
        run.log_metric(f"odd {key}", key)
        raise ValueError(f"Authorization: Bearer {key}")
except ValueError:
    os._exit(1)  # Python itself would print it
""",
        MINE=CANARY,
        PYTHONPATH=os.pathsep.join([str(faults.root), str(Path(__file__).parent / "modules")]),
    )
    assert process.returncode == 1
    assert "'odd ***' was not logged" in process.stderr
    assert faults.statuses() == ["failed"]
    found = [p for p in faults.home.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert found == []
    assert not any(CANARY in str(path) for path in faults.home.rglob("*"))
    assert CANARY.encode() not in database.read_bytes()


def test_s4_nothing_is_unpickled_but_outputs_of_steps(faults):
    """An audit hook ends the process as soon as a class is looked up for a pickle."""
    faults.add_tracker(isolation="thread")
    payload = faults.root / "model.pkl"
    payload.write_bytes(pickle.dumps(ValueError("never")))
    process = faults.python("""
import os, sys
from pathlib import Path
from trackyard import start_run
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import sync_all
sys.addaudithook(lambda event, _: os._exit(9) if event == "pickle.find_class" else None)
with start_run("pickles") as run:
    run.log_artifact("model.pkl")
    run.log_dict({"a": Path("a")}, "a.json")
sync_all(find_project(), patience=1)
print("done")
""")

    assert (process.returncode, process.stdout) == (0, "done\n"), process.stderr


def test_s5_a_foreign_journal_is_data(faults, tmp_path):
    """Its paths, addresses and ids are not followed: what it cannot prove is counted as lost."""
    faults.add_tracker(isolation="thread", flush_timeout=0)
    backend = faults.root / "backends" / "local"
    (backend / "down").touch()
    with start_run("foreign") as run:
        for path in ("../../../../etc/passwd", "/etc/passwd"):
            for kind in ("artifact", "blob"):
                data = f'{{"name":"{path}","sha256":"{path}","size":10,"path":"{path}"}}'
                run._tracked.journal._append(f'["{kind}",1,null,{data}]'.encode())
        deep = b"[" * 100_000 + b"]" * 100_000
        run._tracked.journal._append(b'["params",1,null,{"deep":%b}]' % deep)
        run._tracked.journal._append(b'["params",1,null,["no","dict"]]')
        run.log_metric("after", 1)
    (backend / "down").unlink()
    sync_all(faults.project, patience=10)

    assert faults.values("after") == [1]
    assert faults.rows("select key from natural_records where kind = 'artifact'") == []
    assert faults.statuses() == ["finished"]
    faults.add_tracker("other", isolation="thread")
    (found,) = find_runs(faults.project, "foreign")
    report = replay_run(found, faults.project, "other", patience=10)
    assert report.is_complete
    assert faults.values("after", "other") == [1]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[experiment_trackers.local\n", "trackyard.toml"),
        ("active_stack = 5\n", "active_stack"),
        ('[experiment_trackers.local]\nflavor = "ledger:Ledger"\nodd = 1\n', "odd"),
        ('[experiment_trackers.local]\nflavor = ["x"]\n', "flavor"),
        ("a = '''" + "x" * 100_000, "trackyard.toml"),
        ('"!!python/object/apply:os.system" = "x"\n[journal]\ndurability = 7\n', "trackyard.toml"),
    ],
)
def test_s6_settings_that_cannot_be_read_are_named(faults, text, word):
    (faults.root / "trackyard.toml").write_text(text)
    process = faults.python("from trackyard import start_run\nwith start_run('a'): pass")
    listed = faults.trackyard("experiment-tracker", "list")

    assert process.returncode == 1
    assert "ConfigError" in process.stderr.splitlines()[-1] or word in process.stderr
    assert listed.returncode in (0, 1, 2)
    assert "Traceback" not in listed.stderr


@pytest.mark.slow
def test_s7_many_processes_register_trackers_at_once(faults):
    register = [sys.executable, "-m", "trackyard", "experiment-tracker", "register"]
    processes = [
        subprocess.Popen(
            [*register, f"t{number}", "-f", "ledger:Ledger", "--database", f"{number}.db"],
            cwd=faults.root,
            env=faults.environment(),
            stdout=subprocess.DEVNULL,
        )
        for number in range(5)
    ]
    assert [process.wait(120) for process in processes] == [0] * 5
    assert set(faults.project.table["experiment_trackers"]) == {f"t{n}" for n in range(5)}


def test_s8_a_home_that_others_may_write(faults, tmp_path, monkeypatch):
    """What is made there is for its owner alone, and a link in the way is not written through."""
    home = tmp_path / "shared"
    home.mkdir()
    home.chmod(0o777)
    monkeypatch.setenv("TRACKYARD_HOME", str(home))
    before = os.umask(0)
    try:
        with start_run("private", experiment_tracker=None) as run:
            run.log_metric("loss", 1)
            run.log_text("a", "a.txt")
    finally:
        os.umask(before)

    modes = {
        (path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (home / "runs").rglob("*")
    }
    assert modes == {(True, 0o700), (False, 0o600)}
    assert stat.S_IMODE((home / "runs").stat().st_mode) == 0o700


@pytest.mark.parametrize("trap", ["folder for all", "link"])
def test_s8_a_home_that_another_user_has_prepared_gets_nothing(
    faults, tmp_path, monkeypatch, caplog, trap
):
    if os.geteuid():
        pytest.skip("only root can make what belongs to another user")
    home, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    monkeypatch.setenv("TRACKYARD_HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for folder in (home, elsewhere):
        folder.mkdir()
        folder.chmod(0o777)
    if trap == "link":
        (home / "runs").symlink_to(elsewhere)
    else:
        (home / "runs").mkdir()
        (home / "runs").chmod(0o777)
    other_user = 12345
    os.chown(home / "runs", other_user, other_user, follow_symlinks=False)
    with start_run("kept", experiment_tracker=None) as run:
        run.log_metric("loss", 1)

    assert "another user made it" in caplog.text
    assert list(elsewhere.iterdir()) == []
    assert list((home / "runs").iterdir()) == []
    (kept,) = tmp_path.glob("trackyard-*")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert [path.name for path in (kept / "runs").iterdir()] == [run.id]


def test_s8_a_home_that_is_shared_on_purpose_is_used(faults, tmp_path, monkeypatch, caplog):
    """Root in a container writes into a folder of the host's user."""
    if os.geteuid():
        pytest.skip("only root can make what belongs to another user")
    home = tmp_path / "shared"
    (home / "runs").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("TRACKYARD_HOME", str(home))
    for folder in (home, home / "runs"):
        os.chown(folder, 12345, 12345)
    with start_run("kept", experiment_tracker=None) as run:
        run.log_metric("loss", 1)

    assert caplog.messages == []
    assert [path.name for path in (home / "runs").iterdir()] == [run.id]


@pytest.mark.slow
def test_s9_escapes_of_terminals_in_names_are_not_shown(faults):
    backend = faults.add_tracker(isolation="thread", flush_timeout=0, start_timeout=0)
    (backend / "down").touch()
    with start_run("\x1b]0;owned\x07\x1b[31mred") as run:
        run.log_metric("loss", 1)
    commands = (("doctor",), ("runs", "list"))
    shown = "".join(p.stdout + p.stderr for p in (faults.trackyard(*words) for words in commands))

    assert "red" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
