"""Does one see of a run what was logged in it, alone and beside others?"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from pathlib import Path

import pytest
from filing import Filing
from recorder import Recorder

from trackyard import (
    Client,
    OutputError,
    RunNotFoundError,
    TrackyardError,
    flavor,
    hookimpl,
    log_metric,
    log_metrics,
    log_params,
    log_text,
    pipeline,
    set_tag,
    start_run,
    step,
)
from trackyard.project.configuration import find_project
from trackyard.runs import views
from trackyard.runs.exporting import COLUMNS, export_text
from trackyard.store import Store


@flavor
class Away(Recorder):
    """Be away."""

    @hookimpl
    def tracker_start_run(self, run):
        raise ConnectionError("nobody listens")


@step(experiment_tracker="local")
def train(rate: float) -> float:
    log_params({"rate": rate, "layers": 2, "only": rate} if rate < 0.3 else {"rate": rate})
    for number in range(50):
        log_metrics({"loss": rate / (number + 1), "acc": number / 50}, step=number)
    set_tag("team", "a")
    log_text("hello", "notes/a.txt")
    return rate


@step(experiment_tracker="local")
def evaluate(score: float) -> None:
    log_metric("acc", score)


@step
def untracked() -> None:
    pass


@pipeline
def training(rate: float = 0.1):
    evaluate(train(rate))
    untracked()


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


# One run


def test_run_shows_all_that_is_known_of_it(local):
    run = training(0.2)
    view = Client().get_run(run.name)

    assert (view.name, view.kind, view.pipeline, view.status) == (
        run.name,
        "pipeline",
        "training",
        "finished",
    )
    assert [(s.name, s.status) for s in view.steps] == [
        ("train", "finished"),
        ("evaluate", "finished"),
        ("untracked", "finished"),
    ]
    first = view.steps[0]
    assert first.params == {"rate": 0.2, "layers": 2, "only": 0.2}
    assert (first.tags, list(first.artifacts)) == ({"team": "a"}, ["notes/a.txt"])
    assert list(first.outputs) == ["output"]
    assert first.urls == {"local": f"https://tracker.test/training/{first.id}"}
    assert view.url == first.urls["local"]
    loss = view.metrics["loss"]
    assert (loss.last, loss.best, loss.best_step, loss.points) == (0.2 / 50, 0.2 / 50, 49, 50)
    assert set(view.metrics) == {"loss", "train.acc", "evaluate.acc"}
    assert view.all_params == {"rate": 0.2, "train.rate": 0.2, "layers": 2, "only": 0.2}
    assert len(view.curves["loss"]) == 50
    assert [(h.tracker, h.delivered, h.state) for h in view.health] == [("local", 106, "complete")]
    assert repr(view) == f"<Run {run.name} pipeline finished>"


def test_notebook_shows_tables_and_curves(local):
    run = training(0.2)
    text = Client().get_run(run.name)._repr_html_()

    assert ">train</a></td><td>finished</td>" in text
    assert '<a href="https://tracker.test/training/' in text
    assert "<td>layers</td><td>2</td>" in text
    assert text.count("<svg") == 3
    assert "<script" not in text


def test_run_of_a_block_shows_itself_as_its_step(local):
    def fail():
        with start_run("block", "exp", experiment_tracker="local") as run:
            run.log_metric("loss", math.nan)
            run.log_param("rate", 0.5)
            raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        fail()
    view = Client().get_run("block")

    assert (view.kind, view.pipeline, view.status) == ("run", "exp", "failed")
    assert view.error == "ValueError: odd"
    (only,) = view.steps
    assert (only.name, only.error, only.params) == ("block", "ValueError: odd", {"rate": 0.5})
    assert math.isnan(view.metrics["loss"].last)
    assert view.url == f"https://tracker.test/exp/{only.id}"


def test_run_is_found_by_name_id_and_prefix_and_the_latest_of_a_name(local):
    with start_run("same", experiment_tracker="local") as first:
        pass
    with start_run("same", experiment_tracker="local") as second:
        pass
    run = training(0.1)
    client = Client()

    assert client.get_run("same").id == second.id
    assert client.get_run(first.id).id == first.id
    assert client.get_run(run.id[:20]).id == run.id
    assert client.get_run(run.steps["train"].id).kind == "step"
    with pytest.raises(RunNotFoundError, match="several runs begin with 'sa'"):
        client.get_run("sa")
    with pytest.raises(RunNotFoundError, match="no pipeline run has the name, id or prefix 'zeb"):
        client.get_run("zebra")
    with pytest.raises(RunNotFoundError):
        client.get_run("")


def test_project_without_runs_says_so(project):
    with pytest.raises(RunNotFoundError, match=r"'zebra'; there are none in .* yet"):
        Client().get_run("zebra")


def test_exact_name_of_a_block_goes_before_the_beginning_of_a_pipelines(local):
    run = training(0.1)
    with start_run("training", experiment_tracker="local") as block:
        pass

    assert Client().get_run("training").id == block.id
    assert Client().get_run(run.name).id == run.id


@pytest.mark.slow
def test_run_whose_journal_is_gone_shows_what_the_store_knows(local):
    run = training(0.2)
    shutil.rmtree(find_project().home / "runs")
    view = Client().get_run(run.name)

    assert view.metrics["loss"].last == 0.2 / 50
    assert view.metrics["loss"].points == 50
    assert len(view.metrics["loss"].curve) == 24
    assert view.url.startswith("https://tracker.test/training/")
    assert not any(s.has_journal for s in view.steps)
    text = local.trackyard("runs", "show", run.name).stdout
    assert "its journals are not on this machine" in text
    for command in (["runs", "verify", run.name], ["replay", run.name, "--to", "local"]):
        done = local.trackyard(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"Error: the journals of run {run.name!r} are not on this machine; "
            f"type this where it ran, unless trackyard gc has deleted them\n"
        )


def test_run_that_a_tracker_lacks_says_so(project):
    project.add_tracker("away", Away, start_timeout=0.1, flush_timeout=0.1)
    with start_run("left", experiment_tracker="away") as run:
        run.log_metric("loss", 1)
    (health,) = Client().get_run("left").health

    assert (health.state, health.pending) == ("pending", 1)
    assert "away  0 delivered, 1 pending" in project.trackyard("runs", "show", "left").stdout


def test_failed_step_and_skipped_ones_are_shown(local):
    @step(experiment_tracker="local", retries=1)
    def fails() -> int:
        raise ZeroDivisionError("no")

    @step
    def after(number: int) -> None:
        pass

    @pipeline
    def failing():
        after(fails())

    with pytest.raises(ZeroDivisionError):
        failing()
    (summary,) = Client().list_runs()
    view = Client().get_run(summary.id)

    assert [(s.name, s.status, s.attempt, s.error) for s in view.steps] == [
        ("fails", "failed", 2, "ZeroDivisionError: no"),
        ("after", "skipped", 1, None),
    ]
    assert view.error == "ZeroDivisionError: no"


# Several runs


def test_runs_are_compared_by_params_that_differ_and_metrics(local):
    first, second = training(0.1), training(0.4)
    with start_run("block", experiment_tracker="local") as block:
        block.log_param("rate", 0.1)
        block.log_metric("other", math.nan)
    comparison = Client().compare_runs(first.name, second.name, block.id)

    assert comparison.runs == (first.name, second.name, "block")
    assert {p.key: p.values for p in comparison.params} == {
        "rate": (0.1, 0.4, 0.1),
        "train.rate": (0.1, 0.4, None),
        "layers": (2, None, None),
        "only": (0.1, None, None),
    }
    by_key = {metric.key: metric for metric in comparison.metrics}
    assert by_key["loss"].best_run == first.name
    assert by_key["evaluate.acc"].best_run == second.name
    assert by_key["other"].best_run is None
    assert [m and m.last for m in by_key["loss"].runs] == [0.1 / 50, 0.4 / 50, None]
    assert repr(comparison) == "<Comparison of 3 runs: 4 params differ, 4 metrics>"
    assert "<td>layers</td><td>2</td><td>–</td><td>–</td>" in comparison._repr_html_()
    assert comparison._repr_html_().count("<polyline") == 6


def test_params_that_are_the_same_are_not_shown(local):
    first, second = training(0.1), training(0.1)
    comparison = Client().compare_runs(first.name, second.name)

    assert comparison.params == ()
    assert comparison.same_params["layers"] == 2
    assert "no param differs; 4 are the same" in (
        local.trackyard("runs", "compare", first.name, second.name).stdout
    )


def test_one_run_is_not_compared(local):
    result = local.trackyard("runs", "compare", "a")

    assert result.returncode == 2
    assert "two runs or more are needed; type: trackyard runs compare A B" in result.stderr


# Addresses


@pytest.mark.slow
def test_address_is_printed(project):
    project.add_tracker("local", Recorder)
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    with start_run("a", experiment_tracker=["local", "filed"]) as run:
        pass
    assert project.trackyard("runs", "url", "a").stdout == f"{run.urls['local']}\n"
    assert project.trackyard("runs", "url", "a", "--tracker", "filed").stdout == (
        f"https://filed.test/{run.id}\n"
    )
    result = project.trackyard("runs", "url", "a", "--tracker", "field")
    assert (result.returncode, result.stdout) == (1, "")
    assert "no address on experiment tracker 'field'; it has 'filed', 'local'" in result.stderr


def test_page_is_opened_in_the_browser(local):
    browser = local.root / "browser"
    browser.write_text('#!/bin/sh\necho "$1" >> opened\n')
    browser.chmod(0o700)
    with start_run("a", experiment_tracker="local") as run:
        pass
    result = local.trackyard("runs", "open", "a", BROWSER=f"{browser} %s")

    assert (result.returncode, result.stdout) == (0, f"opened {run.url}\n")
    assert (local.root / "opened").read_text() == f"{run.url}\n"


@flavor
class Elsewhere(Recorder):
    """Give an address that is none of a page, or one that nothing serves."""

    label: str = "file:///etc/passwd"

    @hookimpl
    def tracker_url(self, run):
        return self.label


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///etc/passwd", "file:///etc/passwd is no address of a page"),
        ("http://127.0.0.1:9/#/a", "nothing serves 127.0.0.1:9 yet; type: trackyard ui --run a"),
    ],
)
def test_address_that_is_no_page_is_not_opened(project, monkeypatch, address, message):
    from click.testing import CliRunner

    from trackyard.cli.main import cli

    project.add_tracker("local", Elsewhere, label=address)
    with start_run("a", experiment_tracker="local"):
        pass
    monkeypatch.setenv("BROWSER", "false")
    result = CliRunner().invoke(cli, ["runs", "open", "a"])

    assert result.exit_code == 1
    assert message in result.stderr


# Export


def test_run_is_exported_as_json_with_every_point(local):
    run = training(0.2)
    (exported,) = json.loads("".join(export_text([Client().get_run(run.name)], "json")))

    assert (exported["name"], exported["status"]) == (run.name, "finished")
    assert len(exported["points"]["loss"]) == 50
    assert exported["points"]["loss"][3]["value"] == 0.2 / 4
    assert exported["points"]["loss"][3]["step"] == 3


def test_odd_numbers_are_exported(local):
    with start_run("odd", experiment_tracker="local") as run:
        run.log_metric("loss", math.nan)
        run.log_metric("loss", math.inf)
    view = Client().get_run("odd")
    (exported,) = json.loads("".join(export_text([view], "json")))
    rows = list(csv.DictReader(io.StringIO("".join(export_text([view], "csv")))))

    assert [point["value"] for point in exported["points"]["loss"]] == ["nan", "inf"]
    assert [row["number"] for row in rows if row["kind"] == "metric"] == ["nan", "inf"]


@pytest.mark.slow
def test_runs_are_exported_as_csv_and_parquet(local):
    from pyarrow import parquet

    run = training(0.2)
    with start_run('b,\n"', experiment_tracker="local") as block:
        block.log_param("text", "a,\nb")
        block.log_metric("loss", 1.5, step=2.5)
    for name in ("all.csv", "all.parquet"):
        result = local.trackyard("runs", "export", run.id, block.id, "-o", name)
        assert (result.returncode, result.stdout) == (0, f"wrote 2 run(s) to {name}\n")
    with Path("all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table("all.parquet")

    assert tuple(rows[0]) == tuple(table.column_names) == COLUMNS
    assert len(rows) == table.num_rows == 1 + 3 + 1 + 100 + 1 + 1 + 2
    (point,) = [r for r in table.to_pylist() if r["run"] == block.name and r["kind"] == "metric"]
    assert (point["key"], point["number"], point["training_step"]) == ("loss", 1.5, 2.5)
    assert point["timestamp"].year >= 2026
    (param,) = [r for r in rows if r["run"] == block.name and r["kind"] == "param"]
    assert param["value"] == "a,\nb"


def test_parquet_needs_a_file_and_pyarrow(local, monkeypatch):
    run = training(0.2)
    result = local.trackyard("runs", "export", run.id, "--format", "parquet")
    assert (result.returncode, "type: --output FILE.parquet" in result.stderr) == (2, True)

    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(TrackyardError, match="type: pip install 'trackyard\\[parquet\\]'"):
        Client().export_runs(run.id, file="a.parquet")
    with pytest.raises(TrackyardError, match="give a format: 'csv', 'json', 'parquet'"):
        Client().export_runs(run.id, file="a.xlsx")


# Deletion


def test_deleted_run_is_gone_here_with_its_steps(local):
    kept, gone = training(0.1), training(0.2)
    client = Client()
    client.delete_run(gone.name)

    assert [run.id for run in client.list_runs()] == [kept.id]
    with pytest.raises(RunNotFoundError):
        client.get_run(gone.id)
    folders = {folder.name for folder in (find_project().home / "runs").iterdir()}
    assert not folders & {gone.id, *(s.id for s in gone.steps.values())}
    assert client.get_pipeline_run(kept.id).steps["train"].outputs["output"].load() == 0.1


def test_outputs_are_deleted_when_that_is_asked_for(local, project):
    kept, gone = training(0.1), training(0.2)
    paths = {run.id: Path(run.steps["train"].outputs["output"].uri) for run in (kept, gone)}
    result = project.trackyard("runs", "delete", gone.name, "--yes", "--outputs")

    assert result.returncode == 0, result.stderr
    assert paths[kept.id].exists()
    assert not paths[gone.id].exists()


def test_outputs_that_another_run_reuses_are_deleted_by_force_alone(local, project):
    @step(cache=True, experiment_tracker=None)
    def prepare():
        return 1

    @pipeline
    def cached():
        prepare()

    first, second = cached(), cached()
    path = Path(first.steps["prepare"].outputs["output"].uri)
    assert second.steps["prepare"].status == "cached"
    result = project.trackyard("runs", "delete", first.name, "--yes", "--outputs")
    assert result.returncode == 1
    assert f"reused by '{second.name}'" in result.stderr
    assert path.exists()

    Client().delete_run(first.name, is_forced=True, with_outputs=True)
    assert not path.exists()


def test_a_file_outside_of_the_artifact_store_is_deleted_by_no_row(local, project):
    gone = training(0.1)
    mine = project.root / "mine.txt"
    mine.write_text("1")
    store = Store.of(find_project())
    for uri in (str(mine), f"{gone.steps['train'].outputs['output'].uri}/../../../../mine.txt"):
        with store.writing() as session:
            session.execute("UPDATE outputs SET uri = :uri", {"uri": uri})
        with pytest.raises(OutputError, match="does not lie in"):
            Client().delete_run(gone.name, with_outputs=True)
        assert mine.exists()
        assert Client().get_run(gone.id)


def test_run_that_a_tracker_lacks_is_deleted_by_force_alone(project):
    project.add_tracker("away", Away, start_timeout=0.1, flush_timeout=0.1)
    with start_run("left", experiment_tracker="away") as run:
        run.log_metric("loss", 1)
    result = project.trackyard("runs", "delete", "left", "--yes")
    assert result.returncode == 1
    assert f"type: trackyard runs delete {run.id} --force" in result.stderr
    assert Client().get_run("left")

    result = project.trackyard("runs", "delete", "left", "--yes", "--force")
    assert (result.returncode, result.stdout) == (0, "deleted run 'left'\n")
    assert Client().list_runs() == []


def test_running_run_is_not_deleted(local):
    with (
        start_run("alive", experiment_tracker="local") as run,
        pytest.raises(TrackyardError, match="'alive' is running"),
    ):
        Client().delete_run(run.id, is_forced=True)


def test_nobody_is_asked_where_there_is_no_terminal(local):
    with start_run("a", experiment_tracker="local"):
        pass
    result = local.trackyard("runs", "delete", "a")

    assert result.returncode == 2
    assert "type: trackyard runs delete --yes a" in result.stderr
    assert len(Client().list_runs()) == 1


# The same by the client


def test_client_verifies_replays_and_collects(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    project.add_tracker("new", Filing, directory=str(project.root / "new"))
    with start_run("a", experiment_tracker="filed") as run:
        run.log_metric("loss", 1)
    client = Client()

    assert [(v.tracker, v.state) for v in client.verify_run("a")] == [("filed", "same")]
    assert [(p.state, p.lost) for p in client.plan_replay("a", to="new")] == [("new", 0)]
    for _ in range(2):
        assert [r.is_complete for r in client.replay_run("a", to="new")] == [True]
    assert {v.tracker: v.state for v in client.verify_run("a")} == {"filed": "same", "new": "same"}
    assert client.doctor().is_well
    assert client.collect_garbage(is_dry_run=True) == []
    assert [c.state for c in client.collect_garbage(older_than=0)] == ["deleted"]
    assert [r.status for r in client.list_runs()] == ["finished"]
    assert client.get_run("a").metrics["loss"].last == 1
    client.delete_run("a")
    assert client.list_runs() == []


def test_client_syncs_what_a_tracker_lacks(project):
    project.add_tracker("away", Away, start_timeout=0.1, flush_timeout=0.1)
    with start_run("left", experiment_tracker="away") as run:
        run.log_metric("loss", 1)
    client = Client()
    (row,) = client.sync(patience=0.1)

    assert (row.run, row.tracker, row.state, row.pending) == ("left", "away", "incomplete", 1)
    assert repr(row).startswith("<SyncRow left on away incomplete, 1 pending: ")
    with start_run("alive", experiment_tracker="away"):
        assert [r.state for r in client.sync(patience=0.1) if r.run == "alive"] == ["running"]


@pytest.mark.slow
def test_terminal_escapes_in_names_reach_no_terminal(local):
    with start_run("\x1b[2Ja", "\x1b[2Jb", experiment_tracker="local") as run:
        run.log_param("\x1b[2J", "\x1b[2J")
        run.log_metric("\x1b[2J", 1)
        run.log_text("x", "\x1b[2J.txt")
    for command in (["list"], ["show", run.id], ["compare", run.id, run.id], ["url", run.id]):
        result = local.trackyard("runs", *command)
        assert result.returncode == 0, result.stderr
        assert "\x1b" not in result.stdout + result.stderr
    assert "\x1b" not in local.trackyard("runs", "export", run.id).stdout


@pytest.mark.parametrize("since", ["soon", "2026-13-45", "7x", "9999-12-31", "9999999999999d"])
def test_odd_time_is_wrong_usage(project, since):
    result = project.trackyard("runs", "list", "--since", since)

    assert result.returncode == 2
    assert "is no date such as 2026-01-31, and no time such as 7d" in result.stderr


@pytest.mark.parametrize("option", ["--limit", "--page"])
def test_number_that_no_database_takes_is_wrong_usage(project, option):
    result = project.trackyard("runs", "list", option, str(10**20))

    assert result.returncode == 2
    assert "is not in the range 1<=x<=1000000" in result.stderr


def test_pipeline_run_has_params_curves_and_health_of_its_steps(local):
    run = training(0.2)
    for seen in (run, Client().get_pipeline_run(run.name)):
        first = seen.steps["train"]
        assert first.params["layers"] == 2
        assert first.curves["loss"].values[3] == 0.2 / 4
        assert [(h.tracker, h.state) for h in first.health] == [("local", "complete")]
        assert seen.steps["untracked"].health == ()
        assert seen._repr_html_().count("<svg") == 3
        assert first._repr_html_().count("<svg") == 2
    shutil.rmtree(find_project().home / "runs")
    gone = Client().get_pipeline_run(run.name).steps["train"]
    assert (gone.curves, gone.params, gone.health) == ({}, {}, ())
    assert gone.metrics["loss"] == 0.2 / 50


def test_picture_of_a_pipeline_run_has_all_points_also_beside_steps_without_a_journal(local):
    view = Client().get_run(training(0.2).name)
    series = views.series_of(view, "loss")

    assert any(not step.has_journal for step in view.steps)
    assert len(series.values) == 50
    assert series.steps == list(range(50))


def test_params_of_a_block_are_those_of_its_run(project):
    with start_run("block") as run:
        run.log_params({"rate": 0.1})

    view = Client().get_run("block")
    assert view.params == view.steps[0].params == view.all_params == {"rate": 0.1}
