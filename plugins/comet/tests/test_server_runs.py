"""What a Comet server holds becomes runs of the project, and is what Comet's own client reads."""

from __future__ import annotations

import math

import pytest
from comet_server import CometServer, Experiment

from trackyard import Client
from trackyard.contract import RunQuery, TrackyardError
from trackyard_comet.server_runs import ServerRuns

START = 1_700_000_000_000


def point(step: int, value: object, name: str = "loss") -> dict[str, object]:
    at = START + step
    return {"metricName": name, "metricValue": value, "step": step, "timestamp": at}


def asset(id_: str, name: str, content: bytes, **more: object) -> dict[str, object]:
    return {
        "assetId": id_,
        "fileName": name,
        "type": "asset",
        "step": 3,
        "content": content,
        **more,
    }


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A server that a project without trackers reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMET_API_KEY", CometServer.API_KEY)
    monkeypatch.delenv("COMET_WORKSPACE", raising=False)
    with CometServer() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        yield server


def experiment(name: str = "old one", **fields: object) -> Experiment:
    found = Experiment("fraud", "acme", **{"state": "finished", **fields})
    found.others["Name"] = name
    return found


def test_experiments_of_a_project_arrive_whole(source):
    found = experiment(tags=["a", "b"], html="<b>x</b>", output="hello\n", optimizer="opt1")
    found.metrics = [point(0, 1.0), point(1, "NaN"), point(2, "Infinity"), point(0, 7, "acc")]
    found.params, found.others["stage"] = {"lr": "0.1", "curr_step": "3"}, "late"
    found.details = {"user": "ann", "hostname": "box", "parent": "c0ffee", "branch": "main"}
    found.files = {"1": asset("1", "../deep/a.txt", b"plain"), "2": asset("2", "gone.txt", b"")}
    source.experiments |= {"k1": found, "k2": experiment("bad", state="crashed")}
    source.experiments["k3"] = Experiment("other", "acme")
    source.fault("status", "assetId=2|get-asset.*2", status=404)
    rows = {row.run: row for row in Client().import_runs("comet:acme/fraud")}
    run = Client().get_run("old one")

    assert {name: row.state for name, row in rows.items()} == {
        "optimizer-opt1": "new",
        "old one": "new",
        "bad": "new",
    }
    assert (run.status, run.pipeline, run.all_params) == ("finished", "fraud", {"lr": "0.1"})
    assert run.parent_id == rows["optimizer-opt1"].id
    values = [*run.curves["loss"].values]
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert values[2] == math.inf
    tags = run.steps[0].tags
    assert (tags["comet.tags"], tags["stage"]) == ("a, b", "late")
    assert (run.context.user, run.context.host, run.context.git.commit) == ("ann", "box", "c0ffee")
    texts = {name: file.read_text() for name, file in run.artifacts.items()}
    assert texts["console.log"] == "hello\n"
    assert texts["page.html"] == "<b>x</b>"
    assert "plain" in texts.values()
    assert Client().get_run("bad").status == "failed"
    assert {row.state for row in Client().import_runs("comet:acme/fraud")} == {"same"}

    found.metrics.append(point(9, 0.5))
    (row,) = Client().import_runs("comet:acme/fraud/k1", runs=["k1"])
    assert (row.state, Client().get_run("old one").metrics["loss"].points) == ("grown", 4)


def test_many_experiments_come_by_pages(source):
    source.experiments |= {f"k{number}": experiment(f"run {number}") for number in range(25)}
    runs = ServerRuns(source.url, CometServer.API_KEY, "acme", None).runs(RunQuery(page=10))

    assert len({run.remote_id for run in runs}) == 25
    assert len(source.seen("GET /api/rest/v2/experiments")) == 4


def test_what_cannot_be_read_is_said(source, monkeypatch):
    with pytest.raises(TrackyardError, match="no such project: none"):
        Client().import_runs("comet:acme/none")
    monkeypatch.setenv("COMET_API_KEY", "wrong")
    with pytest.raises(TrackyardError, match="API key"):
        Client().import_runs("comet:acme/fraud")


@pytest.mark.slow
def test_comets_own_client_reads_the_same(source):
    """The server that stands in for Comet answers what Comet's client asks."""
    import comet_ml

    found = experiment(tags=["a"])
    found.metrics, found.params = [point(0, 1.0), point(1, 0.5)], {"lr": "0.1"}
    source.experiments["k1"] = found
    api = comet_ml.API(api_key=CometServer.API_KEY, cache=False)
    (theirs,) = api.get_experiments("acme", "fraud")
    Client().import_runs("comet:acme/fraud")
    ours = Client().get_run("old one")

    assert theirs.id == "k1"
    assert [float(p["metricValue"]) for p in theirs.get_metrics("loss")] == [
        *ours.curves["loss"].values
    ]
    assert theirs.get_tags() == ["a"]
    assert {
        p["name"]: p["valueCurrent"] for p in theirs.get_parameters_summary()
    } == ours.all_params
