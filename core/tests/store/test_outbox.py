"""Is what a driver writes at once one transaction, and does no call in it cost another?"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from trackyard.store import PipelineRunRow, StepRunRow, Store
from trackyard.store.outbox import Outbox


@pytest.fixture
def store(tmp_path):
    store = Store.in_folder(tmp_path)
    yield store
    store.close()


@pytest.fixture
def outbox(store):
    return Outbox(store, lambda owed: None)


def commits_in(store, write):
    """Count the transactions of what is written."""
    statements: list[str] = []
    connection = store.database._open()
    connection.set_trace_callback(statements.append)
    write()
    connection.set_trace_callback(None)
    return statements.count("COMMIT")


def seen_by_others(tmp_path):
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        return sorted(name for (name,) in connection.execute("SELECT name FROM runs"))


def add(outbox, id, call="write"):
    getattr(outbox, call)("add_pipeline_run", PipelineRunRow(id, id, "fit", "local", "running", 1))


def test_what_is_held_is_written_with_what_comes_next(store, outbox, tmp_path):
    def write():
        add(outbox, "a", "hold")
        add(outbox, "b", "hold")
        assert seen_by_others(tmp_path) == []
        add(outbox, "c")

    assert commits_in(store, write) == 1
    assert seen_by_others(tmp_path) == ["a", "b", "c"]
    assert outbox.is_empty


def test_what_is_held_is_written_where_nothing_comes(outbox, tmp_path):
    add(outbox, "a", "hold")
    outbox.release()

    assert seen_by_others(tmp_path) == ["a"]


def test_a_call_that_the_store_refuses_does_not_hold_up_those_beside_it(outbox, tmp_path):
    add(outbox, "a", "hold")
    outbox.hold("add_step_run", StepRunRow("s", "a", "s", 1, 0, object(), 1))
    add(outbox, "b")

    assert seen_by_others(tmp_path) == ["a", "b"]


def test_nothing_of_a_transaction_is_there_where_the_store_is_away(store, outbox, tmp_path):
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.database._open().execute("PRAGMA busy_timeout = 1")
        add(outbox, "a", "hold")
        add(outbox, "b")
        assert not outbox.is_empty
        other.execute("ROLLBACK")

    assert outbox.settle(5)
    assert seen_by_others(tmp_path) == ["a", "b"]
