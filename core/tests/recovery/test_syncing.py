"""Do the commands for what trackers do not have yet say what came of it?"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread

import pytest
from away import Away
from hanging import Hanging, HangingUpload
from keeper import Keeper
from recorder import Recorder

from trackyard import start_run
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import sync_all
from trackyard.system.locks import FileLock


@pytest.fixture
def away(project):
    """A tracker whose server is away during a run, and is back then."""
    project.add_tracker("local", Away, start_timeout=0.2, flush_timeout=0.2)
    (project.root / "away").touch()
    with start_run("baseline", tags={"a": "b"}) as run:
        for number in range(100):
            run.log_metric("a", number, number)
        run.log_text("text", "notes.txt")
    assert project.calls() == []
    return project


def wait_until(fact, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def sync(project, *arguments):
    result = project.trackyard("sync", "--json", *arguments)
    return result.returncode, json.loads(result.stdout)


def test_what_was_logged_while_the_server_was_away_arrives_later(away):
    (away.root / "away").unlink()
    code, (row,) = sync(away)

    assert code == 0
    assert (row["run"], row["state"], row["pending"]) == ("baseline", "complete", 0)
    assert row["delivered"] == 101
    assert away.hooks() == ["start", "log", "end"]
    assert away.logged("metrics") == [["a", float(number), number] for number in range(100)]
    assert away.logged("artifacts")[0][4] == "text"
    assert away.calls("start")[0]["tags"] == {"a": "b"}
    assert all(call["attached"] for call in away.calls())


def test_syncing_again_changes_nothing(away):
    (away.root / "away").unlink()
    sync(away)
    before = away.calls()

    assert sync(away) == (0, [])
    assert away.calls() == before
    result = away.trackyard("sync")
    assert result.stderr == "every tracker has everything\n"


def test_server_that_is_still_away_is_named(away):
    code, (row,) = sync(away, "--patience", "0")

    assert code == 1
    assert (row["state"], row["pending"]) == ("incomplete", 101)
    assert "ConnectionRefusedError: no server" in row["problem"]


def test_error_of_the_run_arrives_later(project):
    project.add_tracker("local", Away, start_timeout=0.2, flush_timeout=0.2)
    (project.root / "away").touch()
    with pytest.raises(ValueError), start_run():
        raise ValueError("odd")
    (project.root / "away").unlink()
    sync(project)

    assert project.hooks() == ["start", "fail"]
    assert project.calls("fail")[0]["failure"]["message"] == "odd"


KEYS = ["run", "id", "tracker", "state", "url", "delivered", "pending", "quarantined", "lost"]
KEYS.append("problem")


def test_rows_have_the_same_keys_whatever_came_of_a_run(away):
    (away.root / "away").unlink()
    away.add_tracker("other", Recorder)
    with start_run("alive", experiment_tracker="other"):
        _, rows = sync(away)

    assert [row["state"] for row in rows] == ["running", "complete"]
    assert [list(row) for row in rows] == [KEYS, KEYS]


def test_tracker_is_given_up_after_the_time_that_is_said(project):
    project.add_tracker("local", Hanging, hook="start", start_timeout=0.1, flush_timeout=0.1)
    with start_run("stuck"):
        pass
    begun = time.monotonic()
    # In the process that hangs the run is locked: another one looks like the next command.
    for folder in (project.root / "calls").glob("*"):
        (folder / "go on").touch()
    wait_until(lambda: project.hooks() == ["start"])
    (project.root / "calls" / "local" / "go on").unlink()
    done = project.trackyard("sync", "--json", "--timeout", "1")

    assert (done.returncode, json.loads(done.stdout)[0]["state"]) == (1, "incomplete")
    assert time.monotonic() - begun < 30


def is_being_delivered(folder):
    lock = FileLock(folder / "delivery.lock")
    is_free = lock.acquire()
    lock.release() if is_free else None
    return not is_free


def test_delivery_ends_where_the_project_is_deleted_meanwhile(away, monkeypatch):
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    found = find_project()
    (folder,) = found.home.glob("runs/*/local")
    delivering = Thread(target=sync_all, args=(found,), kwargs={"patience": 600.0}, daemon=True)
    delivering.start()
    wait_until(lambda: is_being_delivered(folder))
    shutil.rmtree(found.home)
    delivering.join(30.0)

    assert not delivering.is_alive()
    assert not found.home.exists()


def test_watch_delivers_what_comes_later_and_writes_what_has_changed(away):
    command = [sys.executable, "-m", "trackyard", "sync", "--json", "--watch"]
    command += ["--patience", "0", "--every", "0.1"]
    with subprocess.Popen(
        command, env=away.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        (first,) = json.loads(process.stdout.readline())
        (away.root / "away").unlink()
        rows = [first]
        while rows and rows[0]["state"] != "complete":
            rows = json.loads(process.stdout.readline())
        assert json.loads(process.stdout.readline()) == []
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert first["state"] == "incomplete"
    assert away.hooks() == ["start", "log", "end"]
    assert "Traceback" not in errors


def test_progress_is_shown_on_a_terminal_and_leaves_the_rows(away):
    (away.root / "away").unlink()
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "trackyard", "sync"],
        env=away.environment(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=child,
        text=True,
    ) as process:
        os.close(child)
        shown = b""
        with suppress(OSError):  # the terminal has gone
            while part := os.read(parent, 4096):
                shown += part
        output, _ = process.communicate(timeout=30)
    os.close(parent)

    assert b"local" in shown
    assert b"101/101" in shown
    assert output.split("\t")[:3] == ["baseline", "local", "complete"]


def test_upload_by_the_sdk_is_part_of_it(project):
    project.add_tracker("local", Keeper)
    with start_run("offline"):
        pass
    _, (row,) = sync(project)

    assert (row["state"], row["tracker"]) == ("uploaded", "local")
    assert project.hooks()[-1] == "sync"


def test_a_tracker_that_hangs_in_an_upload_is_asked_once(project):
    project.add_tracker("local", HangingUpload)
    for name in ("a", "b", "c"):
        with start_run(name):
            pass
    begun = time.monotonic()
    code, rows = sync(project, "--timeout", "0.5")

    assert code == 1
    assert [row["problem"] for row in rows] == [
        "tracker_sync_run: has not returned for 0.5 s",
        *["it hangs with another run"] * 2,
    ]
    assert time.monotonic() - begun < 30


# Replay


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zebra", "--to", "local"], "no run has the name, id or prefix 'zebra'"),
        (["baseline", "--to", "locl"], "no experiment tracker 'locl' is configured; did you mean"),
    ],
)
def test_replay_of_what_is_not_there_is_one_line(project, arguments, message):
    project.add_tracker("local", Recorder)
    with start_run("baseline"):
        pass
    result = project.trackyard("replay", *arguments)

    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_replay_without_a_target_is_wrong_usage(project):
    assert project.trackyard("replay", "baseline").returncode == 2
