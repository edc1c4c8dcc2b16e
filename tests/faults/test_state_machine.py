"""Whatever happens in whatever order: what was logged is delivered, put aside or counted lost."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import attrs
import player
import pytest
from evidence import FaultProject
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from matrices import first_by_default

from trackyard.delivery.reports import report_of
from trackyard.delivery.state import load_state
from trackyard.journal.blobs import LARGEST_ENTRY
from trackyard.journal.entries import decode_entries
from trackyard.journal.frames import frames_of, salt_of
from trackyard.recovery.finishing import find_pending_runs, sync_all

TRACKERS = {"natural": "ledger:Ledger", "cursor": "ledger:CursorLedger"}
TABLES = {"natural": "natural_records", "cursor": "records"}


class Player:
    """The program that has the runs; see `player`."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, player.__file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.listen()

    def tell(self, **values):
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        return self.listen()

    def listen(self):
        line = self._process.stdout.readline()
        assert line, "the player is gone"
        return json.loads(line)

    def close(self):
        self._process.kill()
        self._process.communicate()


@attrs.define
class ModelRun:
    """What is known of a run by who told it what to do.

    Attributes:
        logged: The records whose calls returned, as kind, key and value.
        cut: Those that were at the end of a file that was cut: nobody else can know of them.
        has_ended: It was told to end.
        damages: How many of its entries were spoilt.
        is_cut: Its end may have been cut as well.
    """

    id: str
    logged: set = attrs.Factory(set)
    cut: set = attrs.Factory(set)
    has_ended: bool = False
    damages: int = 0
    is_cut: bool = False


class Machine(RuleBasedStateMachine):
    """Runs, faults and syncs in any order."""

    def __init__(self, faults: FaultProject, play: Player) -> None:
        super().__init__()
        self.faults, self.play = faults, play
        self.runs: list[ModelRun] = []
        self.live: ModelRun | None = None
        self.count = 0

    @precondition(lambda self: self.live is None)
    @rule()
    def start(self):
        project, name = str(self.faults.root), f"run {len(self.runs)}"
        answer = self.play.tell(project=project, name=name, trackers=list(TRACKERS))
        self.live = ModelRun(answer["id"])
        self.runs.append(self.live)

    @precondition(lambda self: self.live is not None)
    @rule(times=st.integers(1, 4), is_bad=st.booleans(), forks=st.booleans())
    def log(self, times, is_bad, forks):
        for _ in range(times):
            self.count += 1
            key = "bad" if is_bad else "loss"
            call = ("log_metric", [key, self.count, self.count])
            if forks:
                self.play.tell(do="fork", call=call[0], arguments=call[1])
            else:
                self.play.tell(do=call[0], arguments=call[1])
            self.live.logged.add(("metric", key, float(self.count)))

    @precondition(lambda self: self.live is not None)
    @rule(kind=st.sampled_from(["param", "tag", "long param"]))
    def describe(self, kind):
        self.count += 1
        key, value = f"key {self.count}", str(self.count)
        if kind == "long param":
            self.play.tell(do="log_long", arguments=[key, value, LARGEST_ENTRY])
            value *= LARGEST_ENTRY
        else:
            self.play.tell(do="set_tag" if kind == "tag" else "log_param", arguments=[key, value])
        self.live.logged.add(("tag" if kind == "tag" else "param", key, value))

    @precondition(lambda self: self.live is not None)
    @rule(dies=st.booleans())
    def end(self, dies):
        status = self.play.tell(do="die" if dies else "end")["status"]
        assert status == (signal.SIGKILL if dies else 0)
        self.live.has_ended = not dies
        self.live = None

    @rule(tracker=st.sampled_from(list(TRACKERS)), order=st.sampled_from(["down", "lose", "up"]))
    def disturb(self, tracker, order):
        place = self.faults.root / "backends" / tracker
        if order == "up":
            (place / "down").unlink(missing_ok=True)
        else:
            (place / order).touch()

    @precondition(lambda self: any(run is not self.live for run in self.runs))
    @rule(seed=st.integers(0, 1000), is_end=st.booleans())
    def damage(self, seed, is_end):
        """Cut a file's end off, or spoil an entry that another one follows."""
        generator = random.Random(seed)
        run = generator.choice([run for run in self.runs if run is not self.live])
        path = generator.choice(sorted(self.folder(run).glob("*.tyj")))
        writer, number, _ = path.name.rsplit(".", 2)
        data = path.read_bytes()
        frames = frames_of(data, salt_of(run.id, writer, int(number)))
        if len(frames) < 3:
            return
        index = generator.randrange(1, len(frames) - 1)
        start = frames[index - 1].end
        if is_end:
            for frame in frames[index:]:
                for entry in decode_entries(frame.payload, self.folder(run)):
                    run.is_cut |= entry.kind == "end"
                    run.cut |= {_of(record) for record in entry.records()}
            path.write_bytes(data[: start + generator.randrange(5)])
        else:
            path.write_bytes(data[: start + 40] + b"\1" + data[start + 41 :])
            run.damages += 1

    @precondition(lambda self: any(run is not self.live for run in self.runs))
    @rule(tracker=st.sampled_from(list(TRACKERS)), seed=st.integers(0, 1000))
    def forget(self, tracker, seed):
        """What was noted of a delivery is torn."""
        run = random.Random(seed).choice([run for run in self.runs if run is not self.live])
        note = self.folder(run) / tracker / "delivery.json"
        if note.exists() and any(p.folder == self.folder(run) for p in self.pending()):
            note.write_bytes(note.read_bytes()[:20])

    @rule()
    def sync(self):
        sync_all(self.faults.project, patience=0.2)

    def pending(self):
        return find_pending_runs(self.faults.project)

    def folder(self, run: ModelRun) -> Path:
        return self.faults.home / "runs" / run.id

    def teardown(self):
        """In the end all is well again, and the books must balance."""
        if self.live is not None:
            self.end(False)
        for tracker in TRACKERS:
            self.disturb(tracker, "up")
        for _ in range(3):
            sync_all(self.faults.project, patience=5)
        assert self.pending() == []
        for run in self.runs:
            for tracker in TRACKERS:
                self.check(run, tracker)

    def check(self, run: ModelRun, tracker: str) -> None:
        with closing(sqlite3.connect(self.faults.root / "backends" / tracker / "ledger.db")) as db:
            query = (
                f"select kind, key, value from {TABLES[tracker]}"
                " where run = ? and key != 'console.log'"  # which nobody logged
            )
            rows = [(k, key, _literal(value)) for k, key, value in db.execute(query, (run.id,))]
            ((status,),) = db.execute("select status from runs where id = ?", (run.id,)).fetchall()
        quarantined = _quarantined(self.folder(run) / tracker / "quarantine.jsonl")
        lost = report_of(
            tracker, load_state(self.folder(run) / tracker), self.folder(run) / tracker
        )
        missing = run.logged - set(rows) - quarantined - run.cut

        assert len(rows) == len(set(rows)), "some came twice"
        assert set(rows) | quarantined <= run.logged, "some were never logged"
        assert all(key == "bad" for _, key, _ in quarantined)
        assert len(missing) <= lost.lost, f"{missing} are gone without a word"
        assert lost.lost <= run.damages, "more is said to be lost than is"
        assert status in ({"finished"} if run.has_ended else {"crashed"}) | (
            {"crashed"} if run.is_cut else set()
        )


def _of(record):
    kind = type(record).__name__.lower()
    return kind, record.key, record.value


def _literal(text):
    import ast

    return ast.literal_eval(text)


def _quarantined(path: Path) -> set:
    if not path.exists():
        return set()
    found = [json.loads(line)["record"] for line in path.read_text().splitlines()]
    return {
        ("metric" if "timestamp" in record else "param", record["key"], record["value"])
        for record in found
    }


@pytest.mark.slow
@pytest.mark.parametrize("examples", first_by_default([10, 25]))
def test_the_books_balance_whatever_happens(tmp_path, monkeypatch, examples):
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    places = iter(range(10_000))

    def machine():
        root = tmp_path / str(next(places))
        root.mkdir()
        faults = FaultProject(root)
        for name, flavor in TRACKERS.items():
            faults.add_tracker(name, flavor, start_timeout=0.2, flush_timeout=0.2)
        return Machine(faults, play)

    play = Player(FaultProject(tmp_path).environment(TRACKYARD_ISOLATION="thread"))
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],  # to look for a shorter example takes minutes
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        play.close()
