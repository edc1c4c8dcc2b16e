"""Is a run one run in Neptune, with everything in it and its true state?"""

from __future__ import annotations

import logging
import signal

import pytest
from click.testing import CliRunner
from matrices import first_by_default

from trackyard import Artifact, Batch, Metric, Param, RetryLater, Run, Tag, native_run, start_run
from trackyard.cli.main import cli
from trackyard.contract import RunDeleted
from trackyard.project.configuration import find_project
from trackyard_neptune import NeptuneTracker

NATIVE = """
import os, signal, sys
import trackyard
with trackyard.start_run("native") as run:
    run.log_metric("b", 1, step=2)
    native = trackyard.native_run("team")
    for number in range(20):
        native["a"].append(number / 2, step=number)
    native["rate"] = 0.5
    native["sys/tags"].add(["mine"])
    {last}
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def given(run_id, **fields):
    """A run as another process gets it."""
    place = find_project().home / "runs" / run_id / "team"
    known = {"id": run_id, "name": "a", "experiment": "default", "started_at": 0}
    return Run(**{**known, "folder": place, "attached": True, **fields})


def assigned(operations, path):
    return [o["value"] for o in operations if "/".join(o["path"]) == path and "value" in o]


def test_an_offline_run_is_in_neptunes_own_folder_when_a_batch_is_delivered(project):
    with start_run("a", settings={"team": {"tags": ["one"]}}) as run:
        run.log_metric("loss", 0.5, step=1)
        run.log_param("rate", 0.1)
        assert run.url.startswith("file:///")
        assert "run__" in run.url

    operations = project.operations()
    (series,) = [o for o in operations if o["path"] == ["loss"]]
    assert [(v["value"], v["step"]) for v in series["values"]] == [(0.5, 1)]
    assert assigned(operations, "trackyard/run_id") == [run.id]
    assert assigned(operations, "params/rate") == [0.1]
    assert assigned(operations, "sys/name") == ["a"]
    assert ["one"] in [o.get("values") for o in operations]
    folder = project.folder()
    assert int((folder / "last_put_version").read_text()) == len(operations)


def test_settings_of_a_step_are_laid_over_and_tags_joined(project, server, monkeypatch):
    monkeypatch.delenv("NEPTUNE_API_TOKEN")
    monkeypatch.setenv("OWN_TOKEN", server.token)
    project.configure(mode="offline", project="acme/none", tags=["always"])
    own = {"mode": "online", "project": server.PROJECT, "api_token": "env:OWN_TOKEN"}
    with start_run("a", settings={"team": {**own, "tags": ["once"]}}) as run:
        pass

    assert server.only.fields["trackyard/run_id"] == run.id
    assert sorted(server.only.fields["sys/tags"]) == ["always", "once"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "killed")]
)
def test_a_run_that_does_not_finish_has_failed(project, error, status):
    with pytest.raises(error), start_run("bad"):
        raise error("no good")

    operations = project.operations()
    assert assigned(operations, "sys/failed") == [False, True]
    assert assigned(operations, "trackyard/status") == [status]
    assert "no good" in assigned(operations, "trackyard/failure")[0]


@pytest.mark.slow
def test_a_killed_process_loses_no_native_call_and_is_uploaded_as_failed(project, server):
    project.configure(mode="offline", project=server.PROJECT)
    done = project.python(NATIVE.format(last=KILL))
    assert done.returncode == -signal.SIGKILL, done.stderr
    for _ in range(2):  # the end of the run, and the upload of what is offline
        synced = project.sync()
        assert synced.returncode == 0, synced.stdout + synced.stderr

    found = server.only
    assert found.values("a") == [(n, n / 2) for n in range(20)]
    assert found.values("b") == [(2, 1.0)]
    assert found.fields["rate"] == 0.5
    assert found.fields["sys/failed"] is True
    assert found.fields["trackyard/status"] == "crashed"
    assert found.fields["sys/tags"] == ["mine", "crashed"]
    assert found.refused == []
    project.sync()
    assert len(server.runs) == 1
    assert found.refused == []


@pytest.mark.slow
def test_neptunes_own_sync_takes_the_folder_and_ours_finds_its_run_again(project, server):
    project.configure(mode="offline", project=server.PROJECT)
    with start_run("a") as run:
        run.log_metric("loss", 0.5, step=1)
    done = project.neptune_sync(project.folder().parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.only.custom_id is None  # which the SDK forgets
    assert server.only.values("loss") == [(1, 0.5)]
    assert project.sync().returncode == 0

    assert len(server.runs) == 1
    assert server.only.values("loss") == [(1, 0.5)]
    assert server.only.fields["trackyard/run_id"] == run.id


# What the SDK collects by itself; its measuring warns where there is no GPU.
QUIETLY = {
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_hardware_metrics": False,
    "source_files": [],
    "git_ref": False,
}


def test_portable_and_native_calls_arrive_on_a_server(project, online):
    import neptune

    with start_run("a", tags={"team": "x"}) as run:
        url = run.url
        run.log_metric("loss", 0.5, step=1)
        run.log_text("hello", "deep/hello.txt")
        same = neptune.init_run(project="other/one", **QUIETLY)
        assert same is native_run("team").made()
        assert isinstance(native_run("team"), neptune.Run)
        same["native"].append(1.5)
        same["file"].upload(neptune.types.File.from_content("by hand"))

    found = online.only
    assert url == f"{online.url}/acme/fraud/e/FRAUD-1"
    assert found.custom_id == run.id
    assert found.values("loss") == [(1, 0.5)]
    assert found.values("native") == [(0.0, 1.5)]
    assert found.files == {"files/deep/hello.txt": b"hello", "file": b"by hand"}
    assert found.fields["tags/team"] == "x"
    assert found.fields["trackyard/status"] == "finished"
    assert found.fields["sys/failed"] is False


def test_steps_that_go_back_are_kept_beside_those_that_neptune_takes(project, online):
    with start_run("a") as run:
        for step in (5, 3, 9, 9):
            run.log_metric("loss", step, step=step)
        run.log_metric("loss", 1)

    steps = [step for step, _ in online.only.values("loss")]
    assert steps == sorted(set(steps))
    assert online.only.refused == []
    read = NeptuneTracker(project=online.PROJECT).tracker_read_run(given(run.id), None)
    metrics = [(m.step, m.value) for m in read if isinstance(m, Metric)]
    assert metrics == [(5, 5), (3, 3), (9, 9), (9, 9), (10, 1)]


@pytest.mark.parametrize("fault", ["status", "drop"])
def test_a_batch_whose_answer_was_lost_is_there_once(project, online, fault):
    online.fault(fault, "POST .*/operations", times=1)
    with start_run("a") as run:
        for number in range(50):
            run.log_metric("a", number, step=number)

    assert online.only.values("a") == [(n, float(n)) for n in range(50)]
    assert online.only.fields["trackyard/status"] == "finished"


def test_records_that_come_again_behind_others_are_there_once(project, online):
    tracker = NeptuneTracker(project=online.PROJECT, mode="online")
    run = given("0" * 32, attached=False)
    run.folder.mkdir(parents=True)
    tracker.tracker_start_run(run)
    batches = [
        Batch.of(tuple(Metric("a", float(n), n, n) for n in range(start, start + 10)), start, start)
        for start in (0, 10, 20)
    ]
    tracker.tracker_log(batches[0])
    online.fault("status", "POST .*/operations", times=1)
    with pytest.raises(RetryLater):
        tracker.tracker_log(batches[1])
    tracker.tracker_log(batches[2])
    tracker.tracker_log(batches[1])

    read = [one for one in tracker.tracker_read_run(run, None) if isinstance(one, Metric)]
    assert sorted((int(metric.step), metric.value) for metric in read) == [
        (n, float(n)) for n in range(30)
    ]


def test_a_server_that_asks_to_wait_is_waited_for(project, online):
    online.fault("status", "POST .*/operations", status=429, headers={"Retry-After": "1"}, times=1)
    with start_run("a") as run:
        run.log_metric("a", 1)

    assert online.only.values("a") == [(0, 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", first_by_default(["hang", "refused"]))
def test_a_black_hole_holds_no_step_and_sync_uploads_later(
    project, online, kind, caplog, monkeypatch
):
    monkeypatch.setattr("trackyard_neptune.server.PROBE", 1.0)
    if kind == "hang":
        online.fault("hang")
    else:
        online.stop()
    with caplog.at_level(logging.WARNING):
        for name in ("first", "second"):
            with start_run(name) as run:
                run.log_metric("a", 1, step=3)

    (line,) = [r.getMessage() for r in caplog.records if "offline" in r.getMessage()]
    assert online.url in line
    assert "trackyard sync" in line
    if kind == "hang":
        online.mend()
    else:
        online.start()
    done = project.sync()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(online.runs) == 2
    names = {run.fields["sys/name"]: run.values("a") for run in online.runs.values()}
    assert names == {"first": [(3, 1.0)], "second": [(3, 1.0)]}


@pytest.mark.slow
def test_a_server_that_begins_to_hang_holds_no_step(project, online):
    project.configure(project=online.PROJECT, flush_timeout=0.5)
    with start_run("a") as run:
        run.log_metric("a", 1, step=1)
        online.wait_for("POST .*/operations")
        online.fault("hang")
        run.log_metric("a", 2, step=2)
    online.mend()

    assert project.sync().returncode == 0
    assert online.only.values("a") == [(1, 1.0), (2, 2.0)]
    assert online.only.fields["trackyard/status"] == "finished"


def test_what_the_server_refuses_is_said_once_counted_and_blocks_nothing(project, online, caplog):
    with caplog.at_level(logging.WARNING), start_run("a") as run:
        run.log_params({f"p{number}": number for number in range(20)})
        run.log_param("rate", 1)
        run.log_param("rate", "fast")
        run.log_metric("a", 1, step=1)

    (line,) = {r.getMessage() for r in caplog.records if "refused param" in r.getMessage()}
    assert "params/rate" in line
    assert online.only.values("a") == [(1, 1.0)]
    synced = project.sync()
    assert synced.returncode == 1
    assert synced.stdout.split("\t")[5] == "1", synced.stdout  # refused


def test_a_native_call_that_the_server_refuses_is_counted_too(project, online):
    with start_run("a") as run:
        run.log_param("rate", 1)
        online.wait_for("POST .*/operations")
        native_run("team")["params/rate"] = "fast"

    synced = project.sync()
    assert synced.returncode == 1
    assert synced.stdout.split("\t")[5] == "1", synced.stdout  # refused
    assert project.trackyard("sync", "--accept", run.id).returncode == 0


def test_what_is_read_back_is_what_was_logged(project, online):
    for mode in ("offline", "online"):
        project.configure(project=online.PROJECT, mode=mode)
        with start_run("a") as run:
            run.log_metric("params", 0.25, step=2)  # a namespace of ours
            run.log_param("rate", 0.5)
            run.set_tag("team", "a")
            run.log_text("hello", "deep/hello.txt")

        tracker = NeptuneTracker(project=online.PROJECT, mode=mode)
        read = list(tracker.tracker_read_run(given(run.id), None))
        points = [(r.key, r.value, r.step) for r in read if isinstance(r, Metric)]
        assert points == [("params", 0.25, 2)]
        assert Param("rate", 0.5) in read
        assert Tag("team", "a") in read
        files = {r.name: r.path.read_text() for r in read if isinstance(r, Artifact)}
        assert files == {"deep/hello.txt": "hello"}


def test_a_deleted_run_is_in_the_trash_and_its_folder_gone(project, online):
    with start_run("a") as run:
        run.log_metric("a", 1)
    for _ in range(2):
        NeptuneTracker(project=online.PROJECT).tracker_delete_run(given(run.id))

    assert [found.is_trashed for found in online.runs.values()] == [True]
    assert not list(project.root.glob(".trackyard/runs/*/team/.neptune"))


def test_a_check_names_what_is_wrong(project, server, monkeypatch):
    assert NeptuneTracker(project=server.PROJECT).tracker_check() == []
    (problem,) = NeptuneTracker().tracker_check()
    assert "needs a project" in problem
    (problem,) = NeptuneTracker(project="acme/none").tracker_check()
    assert "acme/none" in problem
    monkeypatch.setenv("NEPTUNE_API_TOKEN", "nonsense")
    (problem,) = NeptuneTracker(project=server.PROJECT).tracker_check()
    assert "api_token" in problem


def test_registering_says_that_the_hosted_service_has_closed(project):
    (project.root / "trackyard.toml").unlink()
    arguments = ["experiment-tracker", "register", "old", "--flavor", "neptune"]
    result = CliRunner().invoke(cli, [*arguments, "--mode", "offline"])

    assert result.exit_code == 0, result.output
    assert "2026-03-05" in result.output
    assert "trackyard replay" in result.output


def test_a_run_that_is_gone_there_is_not_made_again(project, online):
    with start_run("a") as run:
        run.log_metric("a", 1)
    online.runs.clear()

    with pytest.raises(RunDeleted, match="no more"):
        NeptuneTracker(project=online.PROJECT).tracker_start_run(given(run.id))
    assert online.runs == {}
