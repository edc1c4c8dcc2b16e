"""Does a pipeline run keep its steps, and does the store have all rows in the end, whatever fails?

Each fault begins before the run, between two steps or in the last one, and is mended after the run.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import postgresql
import psycopg
import pytest

from trackyard import Client, log_metric, pipeline, step
from trackyard.project.configuration import find_project
from trackyard.store import Store

MOMENTS = ("start", "between", "end")
FINISHED = {"first": "finished", "second": "finished"}
# Seconds that a fault may hold up a run, how often: as it is met and at the run's end, and what
# other processes may add to that.
LONGEST, OFTEN, BUSY = 2.0, 2, 1.0


class Sqlite:
    """The project's own store, and what can happen to its file."""

    FAULTS = ("locked", "read-only", "refused", "deleted", "renamed table", "garbage", "cut")

    def __init__(self, project, _):
        self.file = project.root / ".trackyard" / "store.db"
        self._held = None
        self._mounted = []

    def _mount(self, place, *options):
        command = ["mount", *options, str(place)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting needs root and the right to mount")
        self._mounted.append(place)

    def close(self):
        for place in self._mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)
        self._mounted.clear()

    def _execute(self, *statements):
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def fail(self, fault):
        match fault:
            case "locked":
                self._held = sqlite3.connect(self.file, isolation_level=None)
                self._held.execute("BEGIN IMMEDIATE")
            case "read-only":
                self._mount(self.file, "--bind", str(self.file))
                subprocess.run(["mount", "-o", "remount,ro,bind", str(self.file)], check=True)
            case "refused":  # an error of a class that nobody thought of
                for kind in ("INSERT", "UPDATE"):
                    self._execute(
                        f"CREATE TRIGGER no_{kind} BEFORE {kind} ON runs "
                        "BEGIN SELECT RAISE(FAIL, 'refused by a trigger'); END"
                    )
            case "deleted":
                self._execute("PRAGMA foreign_keys = ON", "DELETE FROM runs")
            case "renamed table":
                self._execute("ALTER TABLE metrics RENAME TO kept")
            case "garbage":
                self.file.write_bytes(os.urandom(100_000))
            case "cut":
                os.truncate(self.file, self.file.stat().st_size // 2)

    def mend(self, fault):
        match fault:
            case "locked":
                self._held.close()
            case "read-only":
                self.close()
            case "refused":
                self._execute("DROP TRIGGER no_INSERT", "DROP TRIGGER no_UPDATE")
            case "renamed table":
                self._execute("ALTER TABLE kept RENAME TO metrics")
            case "garbage" | "cut":  # as the message says
                for path in self.file.parent.glob("store.db*"):
                    path.rename(path.with_name(f"old-{path.name}"))


FULL = """CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$"""


class Postgresql:
    """A team's database, and what its server's keepers do to it."""

    FAULTS = ("read-only", "failover", "full", "revoked", "deleted", "renamed table", "cut")

    def __init__(self, project, url):
        self._admin = url
        self._outside = url.rpartition("/")[0] + "/postgres"
        self._name = url.rpartition("/")[2]
        self._worker = f"worker_{uuid4().hex}"
        self._execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        self._execute("CREATE ROLE {worker} LOGIN; GRANT ALL ON SCHEMA public TO {worker}")
        project.configure(f'store = "{url.replace("trackyard@", f"{self._worker}@")}"\n')

    def _execute(self, statements):
        with psycopg.connect(self._admin, autocommit=True) as connection:
            for statement in statements.format(worker=self._worker).split(";"):
                connection.execute(statement)

    def _throw_out(self):
        with psycopg.connect(self._outside, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [self._name],
            )

    def _open(self, is_open):
        with psycopg.connect(self._outside, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS {is_open}')

    def close(self):
        self._open(True)

    def fail(self, fault):
        match fault:
            case "read-only":
                self._execute("ALTER ROLE {worker} SET default_transaction_read_only = on")
                self._throw_out()
            case "failover":
                self._open(False)
                self._throw_out()
            case "full":
                with psycopg.connect(self._admin, autocommit=True) as connection:
                    connection.execute(FULL)
                for table in ("runs", "metrics"):
                    self._execute(
                        f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} "
                        "FOR EACH ROW EXECUTE FUNCTION no_room()"
                    )
            case "revoked":
                self._execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {worker}")
                self._execute("ALTER TABLE runs OWNER TO trackyard")
            case "deleted":
                self._execute("DELETE FROM runs")
            case "renamed table":
                self._execute("ALTER TABLE metrics RENAME TO kept")
            case "cut":
                self._throw_out()

    def mend(self, fault):
        match fault:
            case "read-only":
                self._execute("ALTER ROLE {worker} RESET default_transaction_read_only")
                self._throw_out()
            case "failover":
                self._open(True)
            case "full":
                self._execute("DROP FUNCTION no_room CASCADE")
            case "revoked":
                self._execute("ALTER TABLE runs OWNER TO {worker}")
                self._execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO {worker}")
            case "renamed table":
                self._execute("ALTER TABLE kept RENAME TO metrics")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


def seconds_held_up():
    """Give the seconds that this thread has waited for anything but a processor."""
    waited = 0.0
    with suppress(OSError):  # Linux alone says how long a thread stood in the queue
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return time.monotonic() - time.thread_time() - waited


ALL = [
    (kind, fault, moment)
    for kind in (Sqlite, Postgresql)
    for fault in kind.FAULTS
    for moment in MOMENTS
]
# Each kind of fault stands at one moment by default or in the slow tier.
DEFAULT = [(Sqlite, "locked", "start"), (Postgresql, "read-only", "between")]
SLOW = [cell for index, cell in enumerate(ALL) if index % 4 == 0 and cell not in DEFAULT]
LONG = [pytest.mark.long(reason=f"all {len(ALL)} faults at all moments")]
CELLS = [
    *DEFAULT,
    *(pytest.param(*cell, marks=pytest.mark.slow) for cell in SLOW),
    *(pytest.param(*cell, marks=LONG) for cell in ALL if cell not in (*DEFAULT, *SLOW)),
]


@pytest.mark.parametrize(("kind", "fault", "moment"), CELLS)
def test_no_step_is_lost_and_every_row_arrives(kind, fault, moment, project, database, caplog):
    @step
    def first() -> int:
        log_metric("loss", 0.5)
        if armed and moment == "between":
            store.fail(fault)
        return 1

    @step
    def second(value: int) -> int:
        log_metric("loss", 0.25)
        if armed and moment == "end":
            store.fail(fault)
        return value + 1

    @pipeline
    def training():
        return second(first())

    armed = []
    with closing(kind(project, database)) as store:
        assert training().status == "finished"  # the tables are there
        usual = seconds_held_up()
        assert training().status == "finished"
        usual = seconds_held_up() - usual
        armed.append(fault)
        if moment == "start":
            store.fail(fault)
        held_up = seconds_held_up()
        run = training()
        held_up = seconds_held_up() - held_up
        assert run.status == "finished"
        assert {name: step.status for name, step in run.steps.items()} == FINISHED
        assert run.steps["second"].outputs["output"].load() == 2
        assert held_up < usual + OFTEN * LONGEST + BUSY
        store.mend(fault)
        if fault in ("garbage", "cut") and moment != "start":
            return  # what the file had is gone with it
        Client().sync()
        known = Store.of(find_project())
        row = known.find_pipeline_run(run.name)
        steps = {row.name: row.status for row in known.list_step_runs(row.id)}
        known.close()
        assert (row.status, steps) == ("finished", FINISHED)
        assert len([r for r in caplog.records if "the store is away" in r.message]) <= 1
