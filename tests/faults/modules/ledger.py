"""Trackers that keep runs in sqlite, in the two ways in which backends are idempotent.

A test gives orders by files beside the database: `down` refuses every call, `lose` lets the next
batch in and loses the answer. A key that begins with `bad` is refused for good.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

import attrs

from trackyard.contract import Artifact, Capabilities, Metric, Param, Tag, flavor, hookimpl

SCHEMA = """
create table if not exists runs (
    id text primary key, name text, status text, failure text, cursor integer, process integer,
    group_id text, step text, ends integer default 0, starts integer default 0
);
create table if not exists records (
    run text, kind text, key text, value text, step text, timestamp integer, process integer
);
create table if not exists natural_records (
    run text, kind text, key text, value text, step text, timestamp integer, process integer,
    primary key (run, kind, key, value, step, timestamp)
);
"""


@flavor
class Ledger:
    """Keep each run in sqlite; a record that comes twice is one row."""

    database: Path = attrs.field(converter=Path)

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True)
    table: ClassVar[str] = "natural_records"

    @hookimpl
    def tracker_start_run(self, run):
        with self.connected() as connection:
            connection.execute(
                "insert into runs (id, name, status, process, group_id, step)"
                " values (?, ?, 'running', ?, ?, ?) on conflict (id) do nothing",
                (run.id, run.name, os.getpid(), run.group, run.step),
            )
            connection.execute("update runs set starts = starts + 1 where id = ?", (run.id,))

    @hookimpl
    def tracker_url(self, run):
        return f"https://ledger.test/{run.id}"

    @hookimpl
    def tracker_log(self, run, batch):
        with self.connected() as connection:
            self.write(connection, run, batch)
        self.lose_the_answer()

    @hookimpl
    def tracker_end_run(self, run):
        self.end(run, "finished", "")

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.end(run, failure.status, f"{failure.kind}: {failure.message}")

    def write(self, connection, run, batch):
        rows = list(rows_of(run, batch))
        if any(key.startswith("bad") for _, _, key, *_ in rows):
            raise ValueError("a key that begins with bad is refused")
        connection.executemany(
            f"insert or replace into {self.table} values (?, ?, ?, ?, ?, ?, ?)", rows
        )

    def end(self, run, status, failure):
        with self.connected() as connection:
            connection.execute(
                "update runs set status = ?, failure = ?, ends = ends + 1 where id = ?",
                (status, failure, run.id),
            )

    def lose_the_answer(self):
        order = self.database.with_name("lose")
        if order.exists():
            order.unlink()
            raise ConnectionResetError("the answer is lost")

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of a call is kept, or nothing."""
        if self.database.with_name("down").exists():
            raise ConnectionRefusedError("the ledger is down")
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            connection.execute("pragma synchronous = off")
            connection.executescript(SCHEMA)
            with connection:
                yield connection


@flavor
class WaitingLedger(Ledger):
    """Opens no file for a batch until there is an order that is called `go`."""

    @hookimpl
    def tracker_log(self, run, batch):
        self.database.with_name("waiting").mkdir(exist_ok=True)  # which takes no descriptor
        while not self.database.with_name("go").exists():
            time.sleep(0.005)
        super().tracker_log(run, batch)


@flavor
class StartingLedger(Ledger):
    """Begins to start a run, and goes on when there is an order that is called `go`."""

    @hookimpl
    def tracker_start_run(self, run):
        order = self.database.with_name("go")  # of where the project was when it began
        self.database.with_name("starting").mkdir(exist_ok=True)
        while self.database.with_name("starting").exists() and not order.exists():
            time.sleep(0.005)
        super().tracker_start_run(run)


@flavor
class CursorLedger(Ledger):
    """Keep each run in sqlite; a record that comes twice stands there twice, but for the cursor."""

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True, idempotence="cursor")
    table: ClassVar[str] = "records"

    @hookimpl
    def tracker_start_run(self, run):
        super().tracker_start_run(run)
        with self.connected() as connection:
            return connection.execute("select cursor from runs where id = ?", (run.id,)).fetchone()[
                0
            ]

    @hookimpl
    def tracker_log(self, run, batch):
        with self.connected() as connection:
            self.write(connection, run, batch)
            connection.execute(
                "update runs set cursor = ? where id = ?", (batch.last_sequence, run.id)
            )
        self.lose_the_answer()


def rows_of(run, batch):
    for record in (*batch.metrics, *batch.params, *batch.tags, *batch.artifacts):
        match record:
            case Metric(key, value, step, timestamp):
                kind = "metric"
            case Param(key, value):
                kind, step, timestamp = "param", None, 0
            case Tag(key, value):
                kind, step, timestamp = "tag", None, 0
            case Artifact(name=key, path=path, step=step, timestamp=timestamp):
                kind, value = "artifact", hashlib.sha256(path.read_bytes()).hexdigest()
        yield run.id, kind, key, repr(value), repr(step), timestamp, os.getpid()
