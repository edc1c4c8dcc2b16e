"""Is a database that many begin to use at once there whole, or not at all?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from threading import Event, Thread

import pytest

from trackyard_mlflow.stores import new_client


def release(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchall()


def test_a_new_database_appears_when_it_is_whole(tmp_path):
    path, is_made, seen = tmp_path / "mlflow.db", Event(), []

    def watch():
        while not path.exists() and not is_made.wait(0.001):
            pass
        seen.append(release(path))

    watcher = Thread(target=watch)
    watcher.start()
    client = new_client(f"sqlite:///{path}")
    is_made.set()
    watcher.join()

    assert seen == [release(path)]
    assert [experiment.name for experiment in client.search_experiments()] == ["Default"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_database_that_another_process_made_meanwhile_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "mlflow.db"
    other = new_client(f"sqlite:///{tmp_path / 'other.db'}")
    run = other.create_run("0")
    link = type(path).hardlink_to

    def quicker(self, target):
        link(self, tmp_path / "other.db")
        link(self, target)

    monkeypatch.setattr(type(path), "hardlink_to", quicker)
    client = new_client(f"sqlite:///{path}")

    assert client.get_run(run.info.run_id).info.run_id == run.info.run_id
