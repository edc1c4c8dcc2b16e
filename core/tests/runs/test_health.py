"""Does one see of each tracker what it has, what it has not, and what was changed for it?"""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
from recorder import Recorder

from trackyard import (
    Capabilities,
    RejectedRecords,
    flavor,
    hookimpl,
    log_metric,
    pipeline,
    start_run,
    step,
)
from trackyard.delivery.reports import TrackerReport
from trackyard.journal.descriptions import load_description
from trackyard.journal.entries import Entry
from trackyard.journal.writer import JournalWriter
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import find_pending_runs, sync_run
from trackyard.runs.health import added_up, health_lines, health_of, joined


@flavor
class Narrow(Recorder):
    """Take short names alone, and no metric that is called bad."""

    capabilities: ClassVar[Capabilities] = Capabilities(key_pattern="[a-z]+", not_a_number="drop")

    @hookimpl
    def tracker_log(self, run, batch):
        bad = [metric for metric in batch.metrics if metric.key == "bad"]
        if bad:
            raise RejectedRecords(bad, "no bad ones")
        super().tracker_log(run, batch)


@flavor
class Away(Recorder):
    """Be away."""

    @hookimpl
    def tracker_start_run(self, run):
        raise ConnectionError("nobody listens")


def report(tracker, **values):
    counts = {"url": None, "delivered": 1, "pending": 0, "quarantined": 0, "changes": {}}
    return TrackerReport(tracker, **{"is_complete": True, **counts, **values})


def test_pipeline_run_ends_with_a_line_for_each_tracker(project, capsys):
    project.add_tracker("local", Recorder)
    project.add_tracker("narrow", Narrow)
    project.add_tracker("away", Away, start_timeout=0.2, flush_timeout=0.2)

    @step(experiment_tracker=["local", "narrow", "away"])
    def train() -> None:
        for key in ("loss", "bad", "a b"):
            log_metric(key, 1.0)
        log_metric("loss", float("nan"))

    @pipeline
    def training() -> None:
        train()

    training()
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]

    assert "local   4 delivered" in lines
    assert "narrow  2 delivered, 1 quarantined, 2 changed" in lines
    assert "changed: keys were renamed (1)" in lines
    assert "changed: values that are not a number were left out (1)" in lines
    (away,) = [line for line in lines if line.startswith("away")]
    assert away.startswith("away    0 delivered, 4 pending  tracker_start_run: ConnectionError")


def test_what_the_journal_lost_is_counted_for_each_tracker(project):
    project.add_tracker("away", Away, start_timeout=0.2, flush_timeout=0.2)
    with start_run("damaged", experiment_tracker="away") as run:
        for step_ in range(50):
            run.log_metric("loss", 1.0, step=step_)
    folder = find_project().home / "runs" / run.id
    (segment,) = folder.glob("r0-*.tyj")
    text = segment.read_bytes()
    middle = text.index(b'"metrics"', 2000)
    segment.write_bytes(text[:middle] + b"#" + text[middle + 1 :])
    writer = JournalWriter(folder, "child")
    writer.append(Entry("dropped", time.time_ns(), None, {"count": 7}))
    writer.close()
    description = load_description(folder)
    (health,) = health_of(folder, description)

    assert (health.pending, health.lost, health.state) == (49, 8, "pending")
    project.file.write_text("")
    project.add_tracker("away", Recorder)
    table = {**description.trackers[0].table, "flavor": "recorder:Recorder"}
    (pending,) = find_pending_runs(find_project())
    pending.description.trackers[0].table.update(table)
    (delivered,) = sync_run(pending, find_project())

    assert (delivered.delivered, delivered.pending, delivered.lost) == (49, 0, 8)
    (health,) = health_of(folder, description)
    assert (health.delivered, health.lost, health.is_well) == (49, 8, False)


def test_health_of_several_runs_is_added_up():
    left = report("a", is_complete=False, pending=2, changes={"x": 1}, problem="away", url="u")
    healths = joined([report("a", lost=1, changes={"x": 2, "y": 1}), left, report("b")])

    assert [h.tracker for h in healths] == ["a", "b"]
    first, second = healths
    assert (first.state, first.delivered, first.pending, first.lost) == ("pending", 2, 2, 1)
    assert (first.changed, first.changes) == (4, {"x": 3, "y": 1})
    assert (first.url, first.problem, first.is_well) == ("u", "away", False)
    assert second.is_well
    assert added_up(healths) == healths


def test_run_that_an_sdk_keeps_offline_says_what_to_type():
    (health,) = joined([report("wandb", is_kept_offline=True)])

    assert health.state == "offline"
    assert health_lines([health]) == ["wandb  1 delivered, kept offline until: trackyard sync"]


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb"])
def test_names_and_errors_stay_on_their_line(text):
    (written,) = health_lines(joined([report(text, is_complete=False, problem=text)]))

    assert written.isprintable()


def test_health_is_shown_on_a_line_and_as_a_table():
    (health,) = joined([report("local")])

    assert repr(health) == "<TrackerHealth local complete>"
    assert "<td>delivered</td><td>1</td>" in health._repr_html_()


def test_block_ends_with_a_line_for_a_tracker_that_has_not_everything(project, caplog):
    project.add_tracker("narrow", Narrow)
    with start_run("refused", experiment_tracker="narrow") as run:
        run.log_metrics({"loss": 1.0, "bad": 2.0})

    assert caplog.messages[-1] == (
        "experiment tracker 'narrow' has 1 record(s); 1 were refused "
        "(to send them again type: trackyard sync --refused)"
    )


def test_block_says_nothing_but_its_address_where_all_is_well(project, caplog, capfd):
    project.add_tracker("local", Recorder)
    with start_run("well", experiment_tracker="local") as run:
        run.log_metric("loss", 1.0)

    assert caplog.messages == []
    assert capfd.readouterr() == ("", f"run well  https://tracker.test/default/{run.id}\n")
