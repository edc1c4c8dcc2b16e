"""Does code that was written for one SDK give any other tracker all that it logs, once?"""

from __future__ import annotations

import csv
import io
import json

import pytest
from all_flavors import FLAVORS, stored
from click.testing import CliRunner
from native_code import CODE, LOSSES, PARAMS

from trackyard import Client, start_run
from trackyard.cli.main import cli
from trackyard.testing.workbench import to_toml

NAMES = list(CODE)
# Comet's SDK asks for this machine's address, and leaves the socket open.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket")


def pairs():
    """Give all pairs: one by default, each SDK and each tracker once in `slow`, the rest `long`."""
    for row, code in enumerate(NAMES):
        for column, tracker in enumerate(NAMES):
            marks = []
            if (code, tracker) != ("wandb", "tensorboard"):
                is_once = (column - row) % len(NAMES) in (0, 1)
                marks = [pytest.mark.slow if is_once else pytest.mark.long(reason="all 36 pairs")]
            yield pytest.param(code, tracker, marks=marks)


def command(*arguments):
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def shown(run):
    """What a run has logged, without what Trackyard adds by itself."""
    view = Client().get_run(run)
    artifacts = {n: a for n, a in view.artifacts.items() if not n.startswith("console.log")}
    return view, artifacts


def assert_journal_has_all(run_id, code):
    """All of the first run is there: its numbers with steps, its params, and each artifact."""
    view, artifacts = shown(run_id)
    curve = view.curves["loss"]
    assert list(zip(curve.steps, curve.values, strict=True)) == LOSSES
    wanted = {**PARAMS, **dict.fromkeys(CODE[code].params, 0.5)}
    assert {key: str(view.all_params[key]) for key in wanted} == {
        key: str(value) for key, value in wanted.items()
    }
    assert tuple(sorted(artifact.kind for artifact in artifacts.values())) == CODE[code].kinds


def assert_tracker_has_it_once(run_id, tracker):
    """The backend itself holds what the journal has: every value, step, time and file, once."""
    (found,) = Client().verify_run(run_id, tracker)
    assert (found.state, found.differences) == ("same", ()), list(found.differences)
    assert (found.pending, found.quarantined) == (0, 0)
    view, artifacts = shown(run_id)
    there = stored(run_id, tracker)
    points = {key: len(there.metrics[key]) for key in view.curves}
    assert points == {key: len(curve.values) for key, curve in view.curves.items()}
    if not found.native:  # its own calls have names of their own for files
        assert set(artifacts) <= set(there.artifacts)


def assert_commands_show_it(run_id, child_id):
    shown = json.loads(command("runs", "show", run_id, "--json"))
    (loss,) = [one for step in shown["steps"] for one in step["metrics"] if one["key"] == "loss"]
    assert (loss["points"], loss["last"]) == (len(LOSSES), LOSSES[-1][1])
    assert [child["id"] for child in shown["children"]] == [child_id]
    compared = json.loads(command("runs", "compare", run_id, child_id, "--json"))
    (loss,) = [metric["runs"] for metric in compared["metrics"] if metric["key"] == "loss"]
    assert [(one["points"], one["last"]) for one in loss] == [(len(LOSSES), -0.125), (1, 2.0)]
    rows = csv.DictReader(io.StringIO(command("runs", "export", run_id, "--format", "csv")))
    points = [row for row in rows if (row["kind"], row["key"]) == ("metric", "loss")]
    found = [(float(point["training_step"]), float(point["number"])) for point in points]
    assert found == LOSSES


@pytest.mark.parametrize(("code", "tracker"), list(pairs()))
def test_code_for_one_sdk_reaches_the_tracker_of_another(place, tmp_path, code, tracker):
    capture = [] if code == tracker else [code]
    with start_run("matrix", experiment_tracker=tracker, capture=capture) as run:
        CODE[code].body(tmp_path)

    assert_journal_has_all(run.id, code)
    (child,) = Client().get_run(run.id).children
    assert child.metrics["loss"].last == 2.0
    for run_id in (run.id, child.id):
        assert_tracker_has_it_once(run_id, tracker)
    assert_commands_show_it(run.id, child.id)

    with (place.root / "trackyard.toml").open("a") as file:
        again = {"flavor": code, "flush_timeout": 60.0, **FLAVORS[code].table(place)}
        if code == "tensorboard":  # two trackers with one folder would both write into it
            again["log_dir"] = "other"
        file.write(to_toml({"again": again}))
    for run_id in (run.id, child.id):
        for target in (tracker, code, "again"):
            command("replay", run_id, "--to", target)
            assert_tracker_has_it_once(run_id, target)
