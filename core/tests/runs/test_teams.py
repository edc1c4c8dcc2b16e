"""Does a colleague on another machine see, tag and end the runs of a team?

A machine is a folder here; both use one database, and trackers that both can reach.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import postgresql
import pytest
from filing import Filing
from left_behind import remove, wait_until

from trackyard import (
    Client,
    ConfigError,
    TrackyardError,
    current_run,
    log_metric,
    log_params,
    pipeline,
    start_run,
    step,
)
from trackyard.project.configuration import find_project
from trackyard.store import Store
from trackyard.store.lives import beat
from trackyard.tracking.pulse import pulse


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


class Team:
    """Two machines of a team."""

    def __init__(self, url, root, monkeypatch):
        self.filed = root / "filed"
        self._root = root
        self._monkeypatch = monkeypatch
        text = f'store = "{url}"\n[experiment_trackers.team]\nflavor = "filing:Filing"\n'
        text += f'directory = "{self.filed}"\n'
        text += '[experiment_trackers.other]\nflavor = "filing:Filing"\n'
        text += f'directory = "{root / "other"}"\n'
        text += '[stacks.default]\nexperiment_trackers = ["team"]\n'
        for name in ("one", "two"):
            (root / name).mkdir()
            (root / name / "trackyard.toml").write_text(text)
        assert Filing.__module__ == "filing"
        self.go_to("one")

    def go_to(self, machine):
        self._monkeypatch.chdir(self._root / machine)

    def leave_without_a_trace(self):
        """Go on on the second machine, when the first one is gone with its disk."""
        self.go_to("two")
        remove(self._root / "one")

    def say_of_the_store(self, text):
        """Have this machine's own file say more of the store than its URL."""
        file = Path("trackyard.toml")
        first, rest = file.read_text().split("[experiment_trackers.team]", 1)
        url = re.search('"(.*?)"', first)[1]
        said = f'[store]\nurl = "{url}"\n{text}\n'
        file.write_text(f"{said}[experiment_trackers.team]{rest}")

    def on_tracker(self, run_id):
        return json.loads((self.filed / f"{run_id}.json").read_text())


@pytest.fixture
def team(database, tmp_path, monkeypatch):
    return Team(database, tmp_path, monkeypatch)


def test_a_colleague_tags_a_run_whose_machine_is_gone(team):
    with start_run("mine") as run:
        log_metric("loss", 0.5)
    team.leave_without_a_trace()
    client = Client()
    (sent,) = client.set_tags(run.id, {"reviewed": "yes"})
    assert (sent.state, sent.problem) == ("sent", "")
    client.set_note(run.id, "the good one")
    client.rename_run(run.id, "theirs")
    tags = team.on_tracker(run.id)["tags"]
    assert (tags["reviewed"], tags["trackyard.note"]) == ("yes", "the good one")
    assert tags["trackyard.status"] == "finished"
    view = client.get_run(run.id)
    assert (view.name, view.note, view.tags) == ("theirs", "the good one", {"reviewed": "yes"})


def test_what_a_colleague_says_is_seen_where_the_journal_is(team):
    with start_run("mine") as run:
        pass
    team.go_to("two")
    Client().set_tags(run.id, {"reviewed": "yes"})
    Client().rename_run(run.id, "theirs")
    team.go_to("one")
    view = Client().get_run(run.id)
    assert (view.name, view.tags["reviewed"]) == ("theirs", "yes")


def test_a_step_is_tagged_from_another_machine(team):
    @step(experiment_tracker="team")
    def fit():
        log_params({"rate": 0.1})

    @pipeline
    def training():
        fit()

    run = training()
    team.leave_without_a_trace()
    step_id = run.steps["fit"].id
    (sent,) = Client().set_tags(step_id, {"good": "yes"})
    assert sent.state == "sent"
    assert team.on_tracker(step_id)["tags"]["good"] == "yes"
    assert Client().get_run(run.id).steps[0].tags["good"] == "yes"


def beaten(run_id):
    """Wait until a run has given a sign of life, have it give no more, and give its store."""
    store = Store.of(find_project())
    query = "SELECT id FROM runs WHERE (id = :id OR group_id = :id) AND heartbeat_at IS NULL"
    wait_until(lambda: not store.execute(query, {"id": run_id}))
    for id_ in [*pulse()._runs]:
        pulse().end(id_)
    wait_until(lambda: pulse()._thread is None)
    return store


def fall_silent(store, run_id):
    """Have a run's last sign of life be an hour old, as of a machine that is gone."""
    with store.writing() as session:
        session.execute(
            "UPDATE runs SET heartbeat_at = heartbeat_at - 3600000000000 "
            "WHERE id = :id OR group_id = :id",
            {"id": run_id},
        )


def test_a_run_that_falls_silent_is_unreachable_and_is_ended_by_hand(team):
    with start_run("mine") as run:
        log_metric("loss", 0.5)
        store = beaten(run.id)
        team.go_to("two")
        client = Client()
        assert client.get_run(run.id).status == "running"
        with pytest.raises(TrackyardError, match="gave a sign of life"):
            client.end_run(run.id)
        fall_silent(store, run.id)
        assert client.get_run(run.id).status == "unreachable"
        assert [r.status for r in client.list_runs("default") if r.id == run.id] == ["unreachable"]
        said = [f.advice for f in client.doctor().problems if f.subject == "mine"]
        assert f"if its machine is gone, type: trackyard runs end {run.id}" in said
        with pytest.raises(TrackyardError, match="goes on on another machine"):
            client.delete_run(run.id)
        (ended,) = client.end_run(run.id, "killed")
        assert (ended.state, ended.problem) == ("sent", "")
        assert client.get_run(run.id).status == "killed"
        assert team.on_tracker(run.id)["tags"]["trackyard.status"] == "killed"
        with pytest.raises(TrackyardError, match="it is ended once"):
            client.end_run(run.id)
        beat(store, {run.id: {}})  # its machine is back
        assert client.get_run(run.id).status == "running"
        team.go_to("one")
    assert client.get_run(run.id).status == "finished"
    assert team.on_tracker(run.id)["tags"]["trackyard.status"] == "finished"
    beat(store, {run.id: {}})  # one that was under way as the run ended
    assert client.get_run(run.id).status == "finished"
    store.close()


def test_sync_ends_what_is_silent_for_as_long_as_the_store_says(team):
    with start_run("mine") as run:
        log_metric("loss", 0.5)
        store = beaten(run.id)
        fall_silent(store, run.id)  # for an hour
        team.go_to("two")
        assert Client().sync() == []
        assert Client().get_run(run.id).status == "unreachable"
        team.say_of_the_store('end_after = "2h"')
        assert Client().sync() == []
        team.say_of_the_store('end_after = "30m"')
        (row,) = Client().sync()
        assert (row.run, row.tracker, row.state, row.problem) == ("mine", "team", "complete", "")
        assert Client().get_run(run.id).status == "crashed"
        assert team.on_tracker(run.id)["tags"]["trackyard.status"] == "crashed"
        assert Client().sync() == []
        beat(store, {run.id: {}})  # its machine is back
        team.go_to("one")
    assert Client().get_run(run.id).status == "finished"
    store.close()


def test_a_time_that_is_none_or_short_is_refused(team):
    for wrong in ('"1m"', '"soon"', "7"):
        team.say_of_the_store(f"end_after = {wrong}")
        with pytest.raises(ConfigError, match=r"trackyard\.toml: store\.end_after: must be"):
            Client().sync()


def test_the_steps_of_a_silent_pipeline_run_are_ended_with_it(team):
    @step(experiment_tracker="team")
    def fit():
        log_metric("loss", 0.25)
        seen.extend(look())

    def look():
        run_id = Client().list_pipeline_runs("training", most=1)[0].id
        store = beaten(run_id)
        fall_silent(store, run_id)
        team.go_to("two")
        client = Client()
        yield client.get_run(run_id).steps[0].status
        client.end_run(run_id)
        view = client.get_run(run_id)
        yield view.status, view.steps[0].status
        team.go_to("one")
        store.close()

    @pipeline
    def training():
        fit()

    seen = []
    run = training()
    assert seen == ["unreachable", ("crashed", "crashed")]
    assert run.status == "finished"
    view = Client().get_run(run.id)
    assert (view.status, view.steps[0].status) == ("finished", "finished")


def test_live_values_stand_in_the_store_with_the_signs_of_life(team):
    store = Store.of(find_project())
    with start_run("mine") as run:
        log_metric("loss", 0.5)
        beaten(run.id)
        beat(store, {run.id: {"loss": 0.5, "acc": 0.1}})
        beat(store, {run.id: {"acc": 0.2}})
        team.go_to("two")
        metrics = Client().get_run(run.id).metrics
        assert {key: m.last for key, m in metrics.items()} == {"loss": 0.5, "acc": 0.2}
        team.go_to("one")
    store.close()


def test_a_driver_whose_rows_were_deleted_goes_on(team):
    with start_run("mine") as run:
        store = beaten(run.id)
        store.delete_run(run.id)
        beat(store, {run.id: {"loss": 0.5}})
        log_metric("loss", 0.5)
    assert Client().get_run(run.id).status == "finished"
    store.close()


def log_something():
    log_params({"rate": 0.1, "layers": 3})
    for index in range(300):
        log_metric("loss", 1 / (index + 1), step=index)
    current_run().log_text("all is well", "notes.txt")


def test_a_run_whose_folder_is_gone_is_shown_compared_exported_and_replayed_elsewhere(team, caplog):
    runs = []
    for name in ("first", "second"):
        with start_run(name) as run:
            log_something()
            runs.append(run.id)
    team.leave_without_a_trace()
    client = Client()
    view = client.get_run(runs[0])
    assert view.all_params == {"rate": 0.1, "layers": 3}
    assert (view.metrics["loss"].points, view.metrics["loss"].best_step) == (300, 299)
    assert not view.steps[0].has_journal
    assert list(view.curves["loss"].values) == [1 / (index + 1) for index in range(300)]
    assert "run 'first': what its journal does not have" in caplog.text
    assert "is read from experiment tracker 'team'" in caplog.text
    assert view.artifacts.shown() == ["notes.txt"]
    assert view.artifacts["notes.txt"].read_text() == "all is well"
    assert len(client.compare_runs(*runs).metrics[0].runs) == 2
    client.export_runs(*runs, file="runs.csv")
    rows = list(csv.DictReader(Path("runs.csv").read_text().splitlines()))
    assert sum(row["kind"] == "metric" for row in rows) == 600
    (report,) = client.replay_run(runs[0], to="other")
    assert report.is_complete
    kept = json.loads((team.filed.with_name("other") / f"{runs[0]}.json").read_text())
    assert len(kept["metrics"]) == 300
    assert kept["params"] == {"rate": "0.1", "layers": "3"}
    assert kept["tags"]["trackyard.replayed_from"] == "team"
    assert kept["tags"]["trackyard.status"] == "finished"
    assert bytes.fromhex(kept["artifacts"]["notes.txt"]) == b"all is well"


def test_a_run_whose_journal_is_gone_is_verified_by_what_the_store_knows(team):
    with start_run("known") as run:
        log_something()
    team.leave_without_a_trace()
    (row,) = Client().verify_run("known")
    assert (row.state, row.has_journal, row.differences) == ("same", False, ())
    (file,) = team.filed.glob(f"{run.id}.json")
    kept = json.loads(file.read_text())
    kept["metrics"] = kept["metrics"][:-1]
    kept["params"]["rate"] = "0.2"
    kept["tags"]["trackyard.status"] = "failed"
    kept["artifacts"].clear()
    file.write_text(json.dumps(kept))
    (row,) = Client().verify_run("known")
    assert row.state == "different"
    assert [(d.kind, d.key, d.problem, d.count, d.expected) for d in row.differences] == [
        ("param", "rate", "different", 1, "0.1"),
        ("tag", "trackyard.status", "different", 1, "finished"),
        ("artifact", "notes.txt", "missing", 1, "a file"),
        ("metric", "loss", "missing", 1, f"{1 / 300:.6g} at step 299"),
        ("metric", "loss", "missing", 1, "300 points"),
    ]


def test_looking_from_elsewhere_asks_no_tracker(team, caplog):
    with start_run("mine") as run:
        log_something()
    team.leave_without_a_trace()
    shutil.rmtree(team.filed)
    view = Client().get_run(run.id)
    assert "loss" in view._repr_html_()
    assert "is read from" not in caplog.text
    assert "loss" in Client().compare_runs(run.id, run.id)._repr_html_()
    assert view.all_params == {"rate": 0.1, "layers": 3}


def test_where_no_tracker_answers_an_export_has_last_values_and_says_so(team, caplog):
    with start_run("mine") as run:
        log_something()
    team.leave_without_a_trace()
    shutil.rmtree(team.filed)
    Client().export_runs(run.id, file="runs.csv")
    rows = list(csv.DictReader(Path("runs.csv").read_text().splitlines()))
    assert [float(row["number"]) for row in rows if row["kind"] == "metric"] == [1 / 300]
    assert "of metrics the last values alone are known" in caplog.text
