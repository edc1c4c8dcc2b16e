"""Is a run one experiment in Comet, with everything in it and its true state?"""

from __future__ import annotations

import json
import logging
import time
import zipfile
from contextlib import suppress

import pytest
from left_behind import assert_left_as_it_was, wait_until
from matrices import first_by_default
from recording_server import Answer

from trackyard import (
    Artifact,
    Batch,
    Client,
    Metric,
    Param,
    RejectedRecords,
    RetryLater,
    Run,
    Tag,
    start_run,
)
from trackyard.contract import RunDeleted
from trackyard.project.configuration import find_project
from trackyard_comet import CometTracker


def test_portable_calls_arrive_in_one_experiment(online):
    with start_run("baseline", tags={"team": "a"}) as run:
        url = run.url
        run.log_metric("loss", 0.5, step=1)
        run.log_metric("loss", float("nan"), step=2)
        run.log_param("rate", 0.1)
        run.set_tag("note", "text")
        run.log_text("hello", "deep/hello.txt")

    found = online.only
    assert list(online.experiments) == [run.id]
    assert url == f"{online.url}/acme/fraud/{run.id}"
    assert found.values("loss") == [(1, 0.5), (2, "NaN")]
    assert found.params == {"rate": 0.1}
    assert found.others["note"] == "text"
    assert found.others["trackyard.run_id"] == run.id
    assert found.others["trackyard.status"] == "finished"
    assert found.others["team"] == "a"
    assert found.state == "finished"
    (file,) = found.files.values()
    assert (file["fileName"], file["content"]) == ("deep/hello.txt", b"hello")


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "killed")]
)
def test_a_run_that_does_not_finish_is_crashed(online, error, status):
    with pytest.raises(error), start_run("bad"):
        raise error("no good")

    assert online.only.state == "crashed"
    assert online.only.others["trackyard.status"] == status
    assert status in online.only.tags
    assert "no good" in online.only.error


def test_settings_of_a_step_are_laid_over_and_tags_joined(project, server, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", "another server's")
    monkeypatch.setenv("OWN_KEY", server.API_KEY)
    project.configure(url="http://127.0.0.1:9", mode="offline", tags=["always"])

    own = {"url": server.url, "mode": "online", "api_key": "env:OWN_KEY", "tags": ["once"]}
    with start_run("a", settings={"team": {**own, "project": "p", "workspace": "w"}}):
        pass

    assert (server.only.project, server.only.workspace) == ("p", "w")
    assert server.only.tags == ["always", "once"]


@pytest.mark.parametrize("fault", ["status", "drop"])
def test_a_batch_whose_answer_was_lost_is_not_there_twice(online, fault):
    online.fault(fault, "POST /clientlib/batch/logger/experiment/metric", times=1)
    with start_run("a") as run:
        for number in range(50):
            run.log_metric("a", number, step=number)

    assert online.only.values("a") == [(n, float(n)) for n in range(50)]
    assert online.only.state == "finished"


@pytest.mark.parametrize("fault", ["status", "drop"])
def test_points_that_look_alike_to_comet_are_all_there_once(project, server, fault, tmp_path):
    """Comet has milliseconds; what comes again is told by nanoseconds, in the next process, too."""
    run = Run(id="a" * 32, name="a", experiment="a", started_at=0, folder=tmp_path)
    batches = [
        Batch.of(tuple(Metric("a", 1.0, None, 10**18 + n) for n in range(first, first + 3)), 0, 2)
        for first in (0, 3, 6)
    ]

    def started():
        tracker = CometTracker(url=server.url, mode="online")
        tracker.tracker_start_run(run)
        return tracker

    def count():
        return len(server.only.values("a"))

    first = started()
    first.tracker_log(run, batches[0])
    first.tracker_log(run, batches[0])
    assert count() == 3
    server.fault(fault, "experiment/metric", times=1)
    with pytest.raises(RetryLater):
        first.tracker_log(run, batches[1])
    first.tracker_log(run, batches[1])
    assert count() == 6
    second = started()
    second.tracker_log(run, batches[1])
    assert count() == 6
    second.tracker_log(run, batches[2])
    assert count() == 9


def test_a_server_that_asks_to_wait_is_waited_for(online):
    online.fault("status", "batch", status=429, headers={"Retry-After": "1"}, times=1)
    begun = time.monotonic()
    with start_run("a") as run:
        run.log_metric("a", 1)

    assert online.only.values("a") == [(None, 1.0)]
    assert time.monotonic() - begun >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", first_by_default(["refused", "hang"]))
def test_auto_is_offline_where_no_server_answers_and_sync_uploads_later(
    project, server, kind, caplog
):
    project.configure(url=server.url, workspace="acme", project="fraud")
    if kind == "hang":
        server.fault("hang")
    else:
        server.stop()
    with caplog.at_level(logging.WARNING):
        for name in ("first", "second"):
            with start_run(name) as run:
                run.log_metric("a", 1, step=3)
                run.log_text("kept", "kept.txt")

    (line,) = [r.getMessage() for r in caplog.records if "offline" in r.getMessage()]
    assert server.url in line
    assert "trackyard sync" in line
    assert run.url == f"{server.url}/acme/fraud/{run.id}"
    assert len(project.archives()) == 2
    if kind == "hang":
        server.mend()
    else:
        server.start()
    done = project.sync()
    assert done.returncode == 0, done.stdout + done.stderr
    found = server.named("second")
    assert found.values("a") == [(3, 1.0)]
    assert [file["content"] for file in found.files.values()] == [b"kept"]
    assert found.state == "finished"
    assert len(server.experiments) == 2
    project.sync()
    assert found.values("a") == [(3, 1.0)]


@pytest.mark.slow
def test_an_offline_run_that_failed_says_so_in_the_archive_and_after_sync(project, server):
    project.configure(mode="offline", url=server.url)
    with pytest.raises(ValueError), start_run("bad"):
        raise ValueError("no good")

    (path,) = project.archives()
    with zipfile.ZipFile(path) as archive:
        experiment = json.loads(archive.read("experiment.json"))
    assert experiment["customer_error_reported"] is True
    assert "failed" in experiment["tags"]
    assert server.experiments == {}
    assert project.sync().returncode == 0
    assert server.only.state == "crashed"
    assert server.only.others["trackyard.status"] == "failed"


@pytest.mark.slow
def test_comets_own_upload_takes_the_archive_and_ours_adds_nothing_to_it(project, server):
    project.configure(mode="offline", url=server.url, workspace="acme", project="fraud")
    with suppress(ValueError), start_run("bad", tags={"team": "a"}) as run:
        run.log_metric("loss", 0.5, step=1)
        run.log_metric("loss", float("nan"), step=2)
        run.log_param("rate", 0.1)
        run.log_text("hello", "deep/hello.txt")
        raise ValueError("no good")

    (archive,) = project.archives()
    command = ["-m", "comet_ml.scripts.comet_upload", "--force-upload", str(archive)]
    done = project.run(*command, COMET_URL_OVERRIDE=f"{server.url}/clientlib/")
    assert done.returncode == 0, done.stdout + done.stderr
    for _ in range(2):
        found = server.only
        assert found.values("loss") == [(1, 0.5), (2, "NaN")]
        assert found.params["rate"] == 0.1
        assert (found.others["team"], found.others["trackyard.status"]) == ("a", "failed")
        assert [file["content"] for file in found.files.values()] == [b"hello"]
        synced = project.sync()
        assert synced.returncode == 0, synced.stdout + synced.stderr
    assert found.state == "crashed"


NATIVE = """
import os, signal, sys
import trackyard
with trackyard.start_run("native") as run:
    {portable}
    import comet_ml
    experiment = comet_ml.start()
    for number in range(20):
        comet_ml.get_global_experiment().log_metric("a", number / 2, step=number)
    experiment.log_parameter("rate", 0.5)
    experiment.add_tag("mine")
    open("f.txt", "w").write("native file")
    experiment.log_asset("f.txt")
    {last}
print("hook", sys.excepthook is sys.__excepthook__, comet_ml.get_global_experiment())
"""


@pytest.mark.slow
def test_native_calls_land_in_the_same_run(project, online):
    last = "experiment.log_html('<b>x</b>'); experiment.log_html('y')"
    last += "; experiment.set_model_graph('a graph')"
    code = NATIVE.format(portable="run.log_metric('b', 1)", last=last)
    done = project.python(code)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "hook True None\n"
    project.sync()  # `comet upload`, for the graph, takes seconds
    found = online.only
    assert found.values("a") == [(n, n / 2) for n in range(20)]
    assert found.values("b") == [(None, 1)]
    assert {point["metricName"] for point in found.metrics} == {"a", "b"}
    assert found.params == {"rate": 0.5}
    assert found.tags == ["mine"]
    files = {file["fileName"]: file["content"] for file in found.files.values()}
    assert files == {"f.txt": b"native file"}
    assert found.html == "<b>x</b>y"
    assert any(b"a graph" in request.body for request in online.requests)
    assert found.state == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("mode", first_by_default(["online", "offline"]))
def test_a_killed_process_leaves_a_crashed_run_with_both_kinds_of_calls(project, server, mode):
    project.configure(url=server.url, mode=mode)
    wait = "import time; time.sleep(2); os.kill(os.getpid(), signal.SIGKILL)"
    done = project.python(NATIVE.format(portable="run.log_metric('b', 1, step=2)", last=wait))
    assert done.returncode == -9
    for _ in range(2):  # the end of the run, and the upload of what is offline
        synced = project.sync()
        assert synced.returncode == 0, synced.stdout + synced.stderr

    found = server.only
    assert found.state == "crashed"
    assert found.others["trackyard.status"] == "crashed"
    assert found.values("a") == [(n, n / 2) for n in range(20)]
    assert found.values("b") == [(2, 1.0)]
    assert found.tags == ["mine", "crashed"]


def test_html_whose_answer_was_lost_is_there_once(online):
    import comet_ml

    online.fault("drop", "POST .*/html", times=1)
    with start_run("a"):
        experiment = comet_ml.get_global_experiment()
        experiment.log_html("old")
        experiment.log_html("<b>x</b>", clear=True)
        experiment.log_html("y")

    assert len(online.seen("POST .*/html")) == 2
    assert online.only.html == "<b>x</b>y"
    assert "sys.already_imported_modules" not in online.only.others
    assert online.only.state == "finished"


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_file_that_is_gone_is_refused_alone(project, server, mode, tmp_path):
    project.configure(url=server.url, mode=mode)
    gone = Artifact("gone.bin", tmp_path / "gone.bin", "file")
    run = Run(id="a" * 32, name="a", experiment="a", started_at=0, folder=tmp_path)
    tracker = CometTracker(url=server.url, mode=mode)
    tracker.tracker_start_run(run)

    with pytest.raises(RejectedRecords) as caught:
        tracker.tracker_log(run, Batch.of((Metric("loss", 1.0, 1, 1), gone), 0, 1))
    tracker.tracker_end_run(run)

    assert caught.value.records == (gone,)


def test_a_failed_end_and_a_repeated_start_leave_no_connection_open(project, server, tmp_path):
    tracker = CometTracker(url=server.url, mode="online")
    run = Run(id="a" * 32, name="a", experiment="a", started_at=0, ended_at=1, folder=tmp_path)
    tracker.tracker_start_run(run)
    tracker.tracker_start_run(run)
    server.fault("status", ".*")
    with pytest.raises(RetryLater):
        tracker.tracker_end_run(run)

    wait_until(lambda: not server._connections)
    assert not server._connections


def test_a_server_that_dies_in_the_run_gets_everything_later(project, online):
    project.configure(url=online.url, workspace="acme", project="fraud", flush_timeout=1)
    with start_run("a") as run:
        run.log_metric("a", 1, step=1)
        online.wait_for("batch/logger/experiment/metric")
        online.stop()
        run.log_metric("a", 2, step=2)
    online.start()

    assert project.sync().returncode == 0
    assert online.only.values("a") == [(1, 1.0), (2, 2.0)]
    assert online.only.state == "finished"


def test_several_runs_at_once_are_all_whole(offline):
    with start_run("a") as first, start_run("b") as second:
        for number in range(10):
            first.log_metric("m", number, number)
            second.log_metric("m", -number, number)

    assert len(offline.archives()) == 2
    for path in offline.archives():
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("messages.json").splitlines()
        assert sum(json.loads(line)["type"] == "metric_msg" for line in lines) == 10


@pytest.mark.slow
def test_twenty_steps_leave_the_process_as_it_was(offline):
    import comet_ml

    def steps(number):
        for index in range(number):
            try:
                with start_run("a") as run:
                    run.log_metric("a", index)
                    comet_ml.get_global_experiment().log_metric("native", index, step=0)
                    if index % 2:
                        raise ValueError("odd")
            except ValueError:
                pass

    def active():
        return comet_ml.get_global_experiment(), logging.getLogger("comet_ml").level

    assert_left_as_it_was(steps, active)
    assert len(offline.archives()) == 22
    for path in offline.archives():
        with zipfile.ZipFile(path) as archive:
            lines = [json.loads(line) for line in archive.read("messages.json").splitlines()]
        found = [line["payload"]["metric"] for line in lines if line["type"] == "metric_msg"]
        assert {metric["metricName"] for metric in found} == {"a", "native"}


def test_a_check_names_what_is_wrong(project, server, monkeypatch):
    assert CometTracker(url=server.url).tracker_check() == []
    monkeypatch.setenv("COMET_API_KEY", "wrong")
    (problem,) = CometTracker(url=server.url).tracker_check()
    assert "401" in problem


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_what_is_read_back_is_what_was_logged(project, server, mode):
    project.configure(url=server.url, mode=mode)
    with start_run("a") as run:
        run.log_metric("loss", float("inf"), step=1)
        run.log_metric("loss", 0.25, step=2)
        run.log_param("rate", 0.5)
        run.set_tag("team", "a")
        run.log_text("hello", "deep/hello.txt")

    place = find_project().home / "runs" / run.id / "team"
    given = Run(
        id=run.id, name="a", experiment="default", started_at=0, folder=place, attached=True
    )
    read = list(CometTracker(url=server.url).tracker_read_run(given, None))
    points = [(r.key, r.value, r.step) for r in read if isinstance(r, Metric)]
    assert points == [("loss", float("inf"), 1), ("loss", 0.25, 2)]
    assert Param("rate", 0.5) in read
    assert Tag("team", "a") in read
    files = {r.name: r.path.read_text() for r in read if isinstance(r, Artifact)}
    assert files == {"deep/hello.txt": "hello"}


def test_a_check_makes_an_experiment_and_deletes_it(online):
    came = Client().check_experiment_tracker("team")

    assert came.is_working, came.problem
    assert came.url.startswith(f"{online.url}/acme/fraud/")
    key = came.url.rpartition("/")[2]
    assert [r.query["experimentKey"] for r in online.requests if "/delete" in r.path] == [[key]]
    assert online.experiments == {}


def test_a_check_while_offline_leaves_no_archive(offline):
    came = Client().check_experiment_tracker("team")

    assert (came.is_working, came.is_offline) == (True, True)
    assert offline.archives() == []


def test_an_experiment_that_was_deleted_there_says_so(online, monkeypatch):
    with start_run("a") as run:
        run.log_metric("a", 1)
    refusal = Answer.of_json({"msg": "experiment was deleted", "code": 400}, 400)
    monkeypatch.setattr(online, "answer", lambda _: refusal)

    place = find_project().home / "runs" / run.id / "team"
    gone = Run(run.id, "a", "fraud", started_at=0, folder=place, attached=True)
    tracker = CometTracker(url=online.url, workspace="acme")
    with pytest.raises(RunDeleted, match="experiment was deleted"):
        tracker.tracker_start_run(gone)
