"""A flavor's sqlite database, or what sqlite keeps beside it, costs no record when it fails."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing

import attrs
import pytest
from left_behind import wait_until

from trackyard import Client, start_run

BEFORE, AFTER = 3, 12


@attrs.frozen
class Sqlite:
    """A flavor that keeps runs in sqlite, and how its database is read without it."""

    flavor: str
    file: str
    query: str

    def configure(self, faults, folder):
        fields = {"tracking_uri": f"sqlite:///{folder / self.file}"}
        if self.flavor == "trackio":
            fields = {"folder": str(folder), "project": "default"}
        faults.add_tracker(flavor=self.flavor, isolation="thread", flush_timeout=2.0, **fields)
        return folder / self.file

    def values(self, database):
        with closing(sqlite3.connect(database)) as connection:
            found = [value for (value,) in connection.execute(self.query)]
        if self.flavor == "trackio":
            found = [json.loads(text).get("loss") for text in found]
        return sorted(value for value in found if value is not None)


FLAVORS = {
    "trackio": Sqlite("trackio", "default.db", "select metrics from metrics"),
    "mlflow": Sqlite("mlflow", "own.db", "select value from metrics where key = 'loss'"),
}


def in_the_way(database, end):
    """Put a folder where sqlite makes a file."""
    place = database.with_name(database.name + end)
    place.unlink(missing_ok=True)
    place.mkdir()
    return place.rmdir


def gone(database, end):
    database.with_name(database.name + end).unlink(missing_ok=True)
    return lambda: None


def damaged(database, _):
    whole = database.read_bytes()
    database.write_bytes(b"nonsense" * 1000)
    return lambda: database.write_bytes(whole)


WAYS = {
    "d10 -wal in the way": (in_the_way, "-wal"),
    "d10 -shm in the way": (in_the_way, "-shm"),
    "d10 -journal in the way": (in_the_way, "-journal"),
    "d10 -wal gone": (gone, "-wal"),
    "d10 -shm gone": (gone, "-shm"),
    "d10 database gone": (gone, ""),
    "d12 damaged": (damaged, ""),
}


def check(flavor, way, faults, tmp_path, caplog, capfd):
    folder = tmp_path / "store"
    folder.mkdir()
    database = flavor.configure(faults, folder)
    with start_run("baseline") as run:
        for number in range(BEFORE):
            run.log_metric("loss", number, step=number)
        wait_until(lambda: database.exists() and flavor.values(database) == list(range(BEFORE)))
        mend = way[0](database, way[1])
        caplog.clear()
        for number in range(BEFORE, AFTER):
            run.log_metric("loss", number, step=number)
    lacking = [text for text in caplog.messages if "has not taken" in text]

    assert len(lacking) <= 1
    assert "Traceback" not in capfd.readouterr().err
    mend()
    wait_until(lambda: not any(row.is_lacking for row in Client().sync(patience=30)), 120)
    assert flavor.values(database) == list(range(AFTER))
    assert Client().list_runs()[0].status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("d10")])
@pytest.mark.parametrize("flavor", FLAVORS)
def test_d10_sqlite_files_that_are_in_the_way_or_gone(flavor, way, faults, tmp_path, caplog, capfd):
    check(FLAVORS[flavor], WAYS[way], faults, tmp_path, caplog, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("flavor", FLAVORS)
def test_d12_a_damaged_database_refuses_nothing(flavor, faults, tmp_path, caplog, capfd):
    check(FLAVORS[flavor], WAYS["d12 damaged"], faults, tmp_path, caplog, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("flavor", FLAVORS)
def test_d11_a_read_only_disk_refuses_nothing(flavor, faults, mount, caplog, capfd):
    place = mount("size=64m,mode=0700")
    kind = FLAVORS[flavor]
    database = kind.configure(faults, place)
    done = faults.python(
        "import trackyard\nwith trackyard.start_run('before') as run:\n"
        "    run.log_metric('loss', 0, step=0)\n"
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: faults.trackyard("sync").returncode == 0)
    assert kind.values(database) == [0]
    shut = subprocess.run(["mount", "-o", "remount,ro", str(place)], check=False)
    if shut.returncode:
        pytest.skip("another process has a file of the disk open")
    caplog.clear()
    with start_run("meanwhile") as run:
        for number in range(1, AFTER):
            run.log_metric("loss", number, step=number)

    assert sum("has not taken" in text for text in caplog.messages) == 1
    assert "Traceback" not in capfd.readouterr().err
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    wait_until(lambda: not any(row.is_lacking for row in Client().sync(patience=30)), 120)
    assert kind.values(database) == list(range(AFTER))
