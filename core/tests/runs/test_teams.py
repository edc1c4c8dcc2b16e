"""Does a colleague on another machine see, tag and end the runs of a team?

A machine is a folder here; both use one database, and trackers that both can reach.
"""

from __future__ import annotations

import json
import shutil

import postgresql
import pytest
from filing import Filing

from trackyard import Client, log_metric, log_params, pipeline, start_run, step


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
        shutil.rmtree(self._root / "one")

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
