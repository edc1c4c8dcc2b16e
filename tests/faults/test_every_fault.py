"""Whatever stands before a real MLflow server: all arrives that can, once, and `sync` says so."""

from __future__ import annotations

import json
import time

import attrs
import pytest
from click.testing import CliRunner
from matrices import cut

from trackyard import start_run
from trackyard.cli.main import cli
from trackyard.project.configuration import find_project
from trackyard.testing import FAULTS, FaultyProxy

PLACES = ("start", "log-batch", "artifact", "end")
LENGTHS = ("once", "for 6 s", "always for one record")
SECONDS = 6
POINTS = 30


@attrs.frozen
class Cell:
    """A run behind a proxy, and its neighbour."""

    project: object
    proxy: FaultyProxy
    name: str
    store: str

    def where(self, place, run=None):
        """Give what the requests have in them that get the fault."""
        return {
            "start": rf'/runs/create\n[\s\S]*"{self.name}"',
            "log-batch": r"/runs/log-batch\n[\s\S]*victim",
            "artifact": r"^PUT .*victim\.txt",
            "end": r"/runs/update\n[\s\S]*" + (_remote_id(run) if run else ""),
        }[place]

    def run(self, name, before_end=lambda run: None):
        with start_run(name, experiment=self.name) as run:
            for step in range(POINTS):
                run.log_metric("loss", step, step=step)
            run.log_metric("victim", 1.0, step=0)
            run.log_text("victim", "victim.txt")
            run.log_param("rate", 0.1)
            run.log_metric("behind", 1.0, step=0)
            run.log_text("behind", "behind.txt")
            before_end(run)

    def sync(self, patience=6):
        """Give the exit code and the rows by name of their run, as a program gets them.

        On a busy machine the runs' own delivery may still be at it.
        """
        end = time.monotonic() + 60
        while True:
            code, rows = self._sync_once(patience)
            is_busy = any("delivering it" in row["problem"] for row in rows.values())
            if not is_busy or time.monotonic() > end:
                return code, rows

    def _sync_once(self, patience):
        result = CliRunner().invoke(cli, ["sync", "--json", "--patience", str(patience)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result.exit_code, {row["run"]: row for row in json.loads(result.stdout)}

    def sync_until(self, place):
        """Sync again where a busy machine leaves more pending than the fault does."""
        of_neighbour = 0 if place in ("start", "end") else 1
        for patience in (1, 2, 4, 8, 16):
            code, rows = self.sync(patience)
            most = dict.fromkeys(rows, of_neighbour) | {self.name: _at_most_pending(place)}
            if all(row["pending"] <= most[name] for name, row in rows.items()):
                break
        return code, rows

    def held(self, name):
        """Give what the server itself holds of the only run of a name."""
        found = self.project.run(name, self.store)
        client, id_ = self.project.client(self.store), found.info.run_id
        points = {
            key: sorted((p.step, p.value) for p in client.get_metric_history(id_, key))
            for key in ("loss", "victim", "behind")
        }
        return {
            **points,
            "params": found.data.params,
            "files": sorted(f.path for f in client.list_artifacts(id_)),
            "status": found.info.status,
        }


WHOLE = {
    "loss": [(step, float(step)) for step in range(POINTS)],
    "victim": [(0, 1.0)],
    "behind": [(0, 1.0)],
    "params": {"rate": "0.1"},
    "files": ["behind.txt", "victim.txt"],
    "status": "FINISHED",
}
# What is not there of a run for as long as its record gets the fault.
LACKING = {"log-batch": {"victim": []}, "artifact": {"files": ["behind.txt"]}}


def _remote_id(run):
    path = find_project().home / "runs" / run.id / "team" / "mlflow.json"
    return json.loads(path.read_text())["run_id"]


@pytest.fixture
def cell(mlflow_project, mlflow_server, tmp_path):
    with FaultyProxy(mlflow_server.url) as proxy:
        mlflow_project.configure(
            f'[experiment_trackers.team]\nflavor = "mlflow"\ntracking_uri = "{proxy.url}"\n'
            "start_timeout = 4\nflush_timeout = 1\n"
        )
        name = "x" + "".join(c for c in tmp_path.name if c.isalnum())
        yield Cell(mlflow_project, proxy, name, mlflow_server.url)


def cells():
    """Give all cells: one by default, each pair of two axes in `slow`, all in `long`."""
    every = cut([*FAULTS], PLACES, LENGTHS, seed=14)
    by_default = [cell for cell in every if not cell.marks]
    return [
        pytest.param(*cell.values, marks=pytest.mark.slow) if cell in by_default[1:] else cell
        for cell in every
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "place", "length"), cells())
def test_n13_any_fault_at_any_moment_loses_nothing_and_holds_up_nobody(cell, fault, place, length):
    limits = {"once": {"times": 1}, "for 6 s": {"seconds": SECONDS}}.get(length, {})
    rules = []

    def begin(run=None):
        rules.append(cell.proxy.fault(FAULTS[fault], cell.where(place, run), **limits))

    if place == "end":
        cell.run(cell.name, before_end=begin)
    else:
        begin()
        cell.run(cell.name)
    if length == "always for one record":
        cell.run(f"{cell.name}-neighbour")
        code, rows = cell.sync_until(place)
        is_taken = FAULTS[fault].after
        is_late = FAULTS[fault].kind == "delay"  # and is waited for
        if is_late or (is_taken and place == "start"):  # the next try finds the run
            assert code == 0
            assert cell.held(cell.name) == WHOLE
        else:
            _is_said_truly(cell, place, code, rows, is_taken=is_taken)
    elif length == "for 6 s":
        time.sleep(max(0.0, rules[0].until - time.monotonic()))
    if length == "once":
        if not rules[0].met:  # a machine that is busy has sent nothing of that within the run
            cell.sync()
        assert rules[0].met
    cell.proxy.mend()
    code, rows = cell.sync()

    assert code == 0, rows
    assert all(row["state"] == "complete" for row in rows.values())
    assert cell.held(cell.name) == WHOLE


def _is_said_truly(cell, place, code, rows, *, is_taken):
    """While one record gets the fault, all others are there, and sync says what is not.

    What the server has taken without being able to say so is there, and counts as pending.
    """
    row = rows[cell.name]
    assert (code, row["state"]) == (1, "incomplete")
    assert row["problem"]
    assert row["pending"] == _at_most_pending(place)
    if place in ("start", "end"):
        assert cell.held(f"{cell.name}-neighbour") == WHOLE
    else:
        assert cell.held(cell.name) == {**WHOLE, **({} if is_taken else LACKING[place])}


def _at_most_pending(place):
    """How many records the fault keeps back."""
    return {"start": POINTS + 5, "end": 0}.get(place, 1)
