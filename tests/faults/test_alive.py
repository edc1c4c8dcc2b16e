"""No run that lives is ended, whatever a single sign says, and what it does later is not left."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from evidence import FaultProject, kill_with_children, wait_until
from left_behind import remove
from matrices import first_by_default

from trackyard import Client, start_run
from trackyard.contract.errors import TrackyardError
from trackyard.journal.reader import is_alive
from trackyard.recovery.finishing import find_pending_runs, sync_all

LONG = """
import os, sys, time, trackyard
from pathlib import Path
with trackyard.start_run("long") as run:
    run.log_metric("loss", 0)
    if "closerange" in sys.argv:
        os.closerange(3, 256)
    print("up", flush=True)
    while not Path("go").exists():
        time.sleep(0.02)
    run.log_metric("loss", 1)
    print("on", flush=True)
    while not Path("end").exists():
        time.sleep(0.02)
"""


@contextmanager
def long_run(faults, *arguments: str):
    """Have a process with a run, which logs again by the file `go` and ends by the file `end`."""
    process = faults.start(LONG, *arguments)
    try:
        assert process.stdout.readline() == "up\n"
        wait_until(lambda: faults.values("loss") == [0])
        yield process
        if process.poll() is None:
            (faults.root / "go").touch()
            (faults.root / "end").touch()
            assert process.wait(60) == 0, process.stderr.read()
    finally:
        if process.poll() is None:
            kill_with_children(process.pid)
        process.communicate()


def note_of(folder) -> dict:
    (lock,) = folder.glob("r0-*.lock")
    return json.loads(lock.read_text())


def change_note(folder, **changes) -> None:
    (lock,) = folder.glob("r0-*.lock")
    lock.write_text(json.dumps({**note_of(folder), **changes}))


def age(folder, seconds: float) -> None:
    """Let all of a run's files look older, or younger where that is negative."""
    then = time.time() - seconds
    for path in folder.iterdir():
        os.utime(path, (then, then))


@pytest.fixture
def blind(monkeypatch):
    """A file system that shows locks on one machine only: the onlooker gets each of them."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def test_a1_a_lock_that_another_machine_cannot_see(faults, blind, caplog):
    faults.add_tracker(isolation="thread")
    with long_run(faults):
        (folder,) = faults.run_folders()
        change_note(folder, boot="another", host="node7")
        sync_all(faults.project, patience=1)

        assert faults.statuses() == ["running"]
        assert "node7" in caplog.text
        assert "whether it lives cannot be seen from here" in caplog.text
    assert faults.statuses() == ["finished"]
    assert faults.ends() == [1]


def test_a1_another_machine_that_is_silent_counts_as_dead(faults, blind):
    faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        (folder,) = faults.run_folders()
        kill_with_children(process.pid)
        process.wait()
        change_note(folder, boot="another", beats=True)
        sync_all(faults.project, patience=1)
        assert faults.statuses() == ["running"]

        age(folder, 200)
        sync_all(faults.project, patience=1)
        assert faults.statuses() == ["crashed"]


WATCHDOG = """
import sys
from trackyard.recovery import watchdog
watchdog._BEAT = 0.05
print([*watchdog.wait_for_death(int(sys.argv[1]))])
"""


def test_a9_a_watchdog_touches_lock_files_until_their_runs_end_or_the_process_does(tmp_path):
    lives, ended = tmp_path / "r0-p1.lock", tmp_path / "r0-p2.lock"
    lives.write_text("note")
    ended.touch()
    for lock in (lives, ended):
        os.utime(lock, (1, 1))
    with subprocess.Popen(["sleep", "600"]) as process:
        command = [sys.executable, "-c", WATCHDOG, str(process.pid)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as watchdog:
            watchdog.stdin.write(f"{tmp_path}\ntouch {lives}\ntouch {ended}\n")
            watchdog.stdin.flush()
            wait_until(lambda: lives.stat().st_mtime > 1)
            process.kill()
            assert watchdog.communicate(timeout=60)[0] == f"['{tmp_path}']\n"
    assert ended.stat().st_mtime == 1


@pytest.mark.slow
def test_a9_a_run_that_says_nothing_for_long_gives_signs_of_life(faults, monkeypatch):
    """Its watchdog gives them, so that no code of the step's can keep it from doing so."""
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "1")
    faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        (folder,) = faults.run_folders()
        assert note_of(folder)["beats"]
        (lock,) = folder.glob("r0-*.lock")
        os.kill(process.pid, signal.SIGSTOP)
        age(folder, 200)
        wait_until(lambda: lock.stat().st_mtime > time.time() - 100, 120)
        os.kill(process.pid, signal.SIGCONT)


def test_a9_where_nobody_gives_signs_of_life_a_silent_run_is_ended_by_name_alone(
    faults, blind, caplog
):
    faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        (folder,) = faults.run_folders()
        with pytest.raises(TrackyardError, match="its process lives"):
            Client().sync(dead="long")
        kill_with_children(process.pid)
        process.wait()
        change_note(folder, boot="another")
        age(folder, 86400)
        sync_all(faults.project, patience=1)
        assert faults.statuses() == ["running"]
        assert f"if it is dead, type: trackyard sync --dead {folder.name}" in caplog.text

        (row,) = Client().sync(dead=folder.name)
        assert row.state == "complete"
        assert faults.statuses() == ["crashed"]


@pytest.mark.parametrize("isolation", first_by_default(["thread", "process"]))
def test_a2_a_step_closes_the_file_that_holds_the_lock(faults, isolation):
    faults.add_tracker(isolation=isolation)
    with long_run(faults, "closerange"):
        (folder,) = faults.run_folders()
        assert is_alive(folder)
        sync_all(faults.project, patience=5)
        assert faults.statuses() == ["running"]
    assert faults.trackyard("sync").returncode == 0
    assert faults.statuses() == ["finished"]
    assert faults.values("loss") == [0, 1]


@pytest.mark.slow
def test_a3_a_stamp_from_the_future_stops_no_recovery(faults, monkeypatch):
    faults.add_tracker(isolation="thread")
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    with long_run(faults) as process:
        kill_with_children(process.pid)
        process.wait()
        stamp = faults.home / "recovery.stamp"
        stamp.touch()
        os.utime(stamp, (time.time() + 86400,) * 2)
        assert faults.trackyard("runs", "list").returncode == 0
        wait_until(lambda: faults.statuses() == ["crashed"], 60)


def test_a3_files_from_the_future_are_no_sign_of_life(faults, blind):
    faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        (folder,) = faults.run_folders()
        kill_with_children(process.pid)
        process.wait()
        change_note(folder, boot="another", beats=True)
        age(folder, -86400)
        sync_all(faults.project, patience=1)
        assert faults.statuses() == ["crashed"]


@pytest.mark.slow
def test_a4_a_project_is_renamed_while_its_run_lives(faults, tmp_path, caplog):
    faults.add_tracker(isolation="thread")
    caplog.set_level("WARNING")
    with start_run("moved") as run:
        for number in range(100):
            run.log_metric("loss", number)
        faults.home.rename(tmp_path / "elsewhere")
        for number in range(100, 3000):
            run.log_metric("loss", number)
        run.log_text("late", "late.txt")
    (folder,) = (tmp_path / "elsewhere" / "runs").iterdir()

    assert faults.journaled("loss", folder) == list(range(3000))
    assert [entry.kind for entry in faults.journal(folder)][-1] == "end"
    assert "was moved" in caplog.text
    assert faults.run_folders() == []
    (tmp_path / "elsewhere").rename(faults.home)
    assert faults.trackyard("sync").returncode == 0
    assert faults.values("loss") == list(range(3000))
    assert faults.statuses() == ["finished"]


@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_a4_nothing_is_made_where_a_renamed_project_was(faults, tmp_path, isolation, capsys):
    faults.add_tracker(isolation=isolation)
    with start_run("moved") as run:
        print("before")
        run.log_metric("loss", 0)
        wait_until(lambda: faults.values("loss") == [0])
        faults.home.rename(tmp_path / "elsewhere")
        print("after")
        run.log_metric("loss", 1)
        run.log_text("late", "late.txt")
        with start_run("child", nested=True) as child:
            child.log_metric("loss", 2)
    assert capsys.readouterr().out == "before\nafter\n"

    assert not faults.home.exists()
    assert run.folder == tmp_path / "elsewhere" / "runs" / run.id
    (tmp_path / "elsewhere").rename(faults.home)
    assert faults.trackyard("sync").returncode == 0
    assert sorted(faults.values("loss")) == [0, 1, 2]
    assert set(faults.statuses()) == {"finished"}
    printed = [line.partition(" out ")[2] for line in console_of(faults.home / "runs" / run.id)]
    assert [line for line in printed if line] == ["before", "after"]


MOVING = """
import pathlib, sys, trackyard
from trackyard.tracking import lifecycle

what, way, kind = sys.argv[1:]

def move():
    path = pathlib.Path(what)
    path.rename("../elsewhere")
    if way == "linked":
        pathlib.Path("../theirs").mkdir()
        path.symlink_to("../theirs")

def move_and_load(load=lifecycle.load_plugins):
    move()
    return load()

@trackyard.step
def first() -> int:
    return 1

@trackyard.step
def moving(one: int) -> int:
    move()
    return one + 1

@trackyard.step
def logging(one: int, two: int) -> int:
    trackyard.log_metric("loss", 1)
    return one + two

@trackyard.pipeline
def between_steps():
    one = first()
    logging(one, moving(one))

if kind == "pipeline":
    print(between_steps().steps["logging"].outputs["output"].load())
else:
    lifecycle.load_plugins = move_and_load  # its project was found, and its folder is not made
    with trackyard.start_run("moved") as run:
        run.log_metric("loss", 1)
    print(3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["block", "pipeline"])
@pytest.mark.parametrize(
    ("what", "way"),
    [("../project", "renamed"), (".trackyard", "renamed"), (".trackyard", "linked")],
)
def test_a4_a_project_is_renamed_before_a_run_is_made_in_it(faults, tmp_path, what, way, kind):
    toml = faults.root / "trackyard.toml"
    toml.write_text("[stacks.default]\nexperiment_trackers = []\n")
    done = faults.python(MOVING, what, way, kind)
    assert done.stdout == "3\n", done.stderr

    home = tmp_path / "elsewhere" / ("" if what == ".trackyard" else ".trackyard")
    (folder,) = (home / "runs").iterdir()
    assert faults.journaled("loss", folder) == [1]
    if way == "linked":
        assert list((tmp_path / "theirs").iterdir()) == []
    else:
        assert not faults.home.exists()
    faults.root.mkdir(exist_ok=True)
    assert "finished" in faults.trackyard("runs", "list", TRACKYARD_HOME=str(home)).stdout


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a4_a_project_is_renamed_while_a_start_is_in_flight(
    faults, tmp_path, isolation, monkeypatch
):
    """The run's description names places of the project as they were; the reader's own count."""
    backend = faults.add_tracker(
        flavor="ledger:StartingLedger", isolation=isolation, start_timeout=0.0, flush_timeout=0.0
    )
    toml = faults.root / "trackyard.toml"
    toml.write_text(toml.read_text().replace(f"{faults.root}/", ""))
    there = FaultProject(tmp_path / "elsewhere")
    with start_run("moved") as run:
        run.log_metric("loss", 0)
        wait_until((backend / "starting").exists)
        faults.root.rename(there.root)
        monkeypatch.chdir(there.root)
        run.log_metric("loss", 1)
    (there.root / "backends/local/go").touch()

    # The worker that began the start may still have the run.
    wait_until(lambda: there.trackyard("sync").returncode == 0, 60)
    assert there.values("loss") == [0, 1]
    assert there.statuses() == ["finished"]
    assert there.ends() == [1]
    assert there.trackyard("runs", "list").stdout.split("\t")[2] == "finished"


def console_of(folder) -> list[str]:
    files = sorted((folder / "console").iterdir())
    return [line for file in files for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_a5_a_copy_of_a_project_whose_run_lives_is_left_alone(faults, tmp_path):
    faults.add_tracker(isolation="thread")
    copy = tmp_path / "copy"
    with long_run(faults):
        shutil.copytree(faults.home, copy)
        listed = faults.trackyard("runs", "list", TRACKYARD_HOME=str(copy))
        done = faults.trackyard("sync", TRACKYARD_HOME=str(copy))

        assert "running" in listed.stdout
        assert "is a copy that is left alone" in done.stderr + done.stdout
        assert faults.statuses() == ["running"]
    assert faults.statuses() == ["finished"]
    assert faults.ends() == [1]


def test_a5_a_dead_run_that_was_moved_to_another_disk_is_finished(faults, tmp_path):
    faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        kill_with_children(process.pid)
        process.wait()
        shutil.copytree(faults.home, tmp_path / "copy")
        remove(faults.home)
        shutil.copytree(tmp_path / "copy", faults.home)
        remove(tmp_path / "copy")
        assert faults.trackyard("sync").returncode == 0
        assert faults.statuses() == ["crashed"]


@pytest.mark.slow
def test_a6_a_project_that_is_mounted_twice(faults, mount, tmp_path):
    faults.add_tracker(isolation="thread")
    place = mount("size=1m")
    with long_run(faults):
        command = ["mount", "--bind", str(faults.home), str(place)]
        subprocess.run(command, check=True)
        try:
            done = faults.trackyard("sync", TRACKYARD_HOME=str(place))
            assert done.returncode == 0
            assert faults.statuses() == ["running"]
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    assert faults.statuses() == ["finished"]


def test_a7_process_1_of_another_container_is_not_the_one_that_wrote(faults):
    """Its number is taken here, by another process."""
    faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        (folder,) = faults.run_folders()
        kill_with_children(process.pid)
        process.wait()
        change_note(folder, process=1, started=1)
        sync_all(faults.project, patience=1)
        assert faults.statuses() == ["crashed"]


def test_a7_process_1_of_a_container_whose_processes_cannot_be_seen(faults, blind):
    faults.add_tracker(isolation="thread")
    with long_run(faults):
        (folder,) = faults.run_folders()
        change_note(folder, process=1, space=1)
        sync_all(faults.project, patience=1)
        assert faults.statuses() == ["running"]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", first_by_default(["process", "thread"]))
def test_a8_the_runs_own_end_replaces_that_of_recovery(faults, isolation):
    faults.add_tracker(isolation=isolation)
    with long_run(faults) as process:
        take_for_dead(faults)
        assert faults.statuses() == ["crashed"]
        (faults.root / "go").touch()
        assert process.stdout.readline() == "on\n"
    faults.trackyard("sync")

    assert faults.values("loss") == [0, 1]
    assert faults.statuses() == ["finished"]
    assert "finished" in faults.trackyard("runs", "list").stdout


def test_a8_what_stands_behind_the_end_of_recovery_is_pending(faults):
    orders = faults.add_tracker(isolation="thread")
    with long_run(faults) as process:
        take_for_dead(faults)
        (orders / "down").touch()
        (faults.root / "go").touch()
        assert process.stdout.readline() == "on\n"
        wait_until(lambda: list((faults.home / "pending").iterdir()))
        kill_with_children(process.pid)
        process.wait()
    (orders / "down").unlink()
    (run,) = find_pending_runs(faults.project)

    assert not run.is_alive
    assert faults.trackyard("sync").returncode == 0
    assert faults.values("loss") == [0, 1]
    assert faults.statuses() == ["crashed"]


def test_a8_a_worker_that_outlives_its_runner_takes_the_end_of_recovery(faults, monkeypatch):
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "1")
    faults.add_tracker(isolation="process")
    with long_run(faults) as process:
        process.kill()  # its worker lives on
        process.wait()
        wait_until(lambda: faults.statuses() == ["crashed"])
    assert faults.ends() == [1]


def take_for_dead(faults) -> None:
    """Have recovery end a run that lives: nothing is left that says so."""
    (folder,) = faults.run_folders()
    for path in [*folder.glob("*.lock"), *folder.glob("*/delivery.lock")]:
        path.unlink()
    sync_all(faults.project, patience=5)
