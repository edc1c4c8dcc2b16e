"""Does a W&B server have the run, from its start to its end, whatever goes wrong on the way?"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import wandb
from matrices import first_by_default
from recording_server import Answer

import trackyard
from trackyard import (
    Batch,
    Client,
    Failure,
    Metric,
    Param,
    RetryLater,
    pipeline,
    start_run,
    step,
)
from trackyard.contract import RunDeleted
from trackyard_wandb import WandbTracker, tracker, uploading
from trackyard_wandb.uploading import Upload
from trackyard_wandb.writing import log_path


def test_a_run_is_there_from_its_start_and_whole_at_its_end(online):
    with start_run("baseline", tags={"team": "a"}) as run:
        assert online.only.state == "running"
        assert online.only.config["trackyard"]["run_id"] == run.id
        assert run.url == f"{online.url}/acme/fraud/runs/{run.id}"
        run.log_metric("loss", 0.5, step=2)
        run.log_metric("loss", 0.25, step=1)
        run.log_param("rate", 0.1)
        run.log_text("<b>x</b>", "page.html")
        run.log_text("plain", "deep/plain.txt")
        wandb.log({"native": 1, "rows": wandb.Table(["x"], [[1]])})

    found = online.only
    assert list(online.runs) == [run.id]
    assert (found.entity, found.project, found.display_name) == ("acme", "fraud", "baseline")
    assert found.values("loss") == [(2, 0.5), (1, 0.25)]
    assert [value for _, value in found.values("native")] == [1]
    assert found.summary["loss"] == 0.25
    assert found.config["rate"] == 0.1
    assert found.config["tags"] == {"team": "a"}
    assert found.files["deep/plain.txt"] == b"plain"
    ((_, page),) = found.values("page.html")
    assert found.files[page["path"]] == b"<b>x</b>"
    (artifact,) = online.artifacts.values()
    assert (artifact["type"], artifact["state"]) == ("run_table", "COMMITTED")
    assert (found.state, found.exit_code) == ("finished", 0)
    assert found.config["trackyard"]["status"] == "finished"


def test_files_of_a_run_come_from_the_server_where_its_folder_was_collected(online):
    @step(experiment_tracker="team")
    def report():
        trackyard.log_text("<b>x</b>", "page.html")
        trackyard.log_text("plain", "deep/plain.txt")

    run = pipeline(report, name="reporting")()
    assert {row.state for row in Client().collect_garbage(older_than=0)} == {"deleted"}

    files = Client().get_run(run.name).artifacts
    assert {name: (file.kind, file.read_text()) for name, file in files.items()} == {
        "page.html": ("html", "<b>x</b>"),
        "deep/plain.txt": ("file", "plain"),
    }


def test_a_run_that_raised_has_failed(online):
    with pytest.raises(ValueError), start_run("bad"):
        raise ValueError("no good")

    assert (online.only.state, online.only.exit_code) == ("failed", 1)
    assert online.only.config["trackyard"]["status"] == "failed"
    assert online.only.config["trackyard"]["failure"] == "ValueError: no good"


def test_settings_of_a_step_say_which_server_and_how(project, server, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "another server's")
    monkeypatch.setenv("OWN_KEY", server.API_KEY)
    project.configure(base_url="http://127.0.0.1:9", mode="offline", tags=["always"])
    own = {"base_url": server.url, "mode": "online", "api_key": "env:OWN_KEY", "tags": ["once"]}
    names = {"project": "p", "group": "g", "job_type": "eval"}
    with start_run("a", settings={"team": {**own, **names, "settings": {"run_notes": "hello"}}}):
        assert wandb.init().notes == "hello"

    found = server.only
    assert (found.project, found.group, found.job_type) == ("p", "g", "eval")
    assert found.tags == ["always", "once"]
    assert found.state == "finished"


@pytest.mark.slow
def test_a_server_that_fails_now_and_then_has_each_point_once(project, online):
    online.fault("status", "upsertBucket", times=1, status=429, headers={"Retry-After": "1"})
    online.fault("drop", "file_stream", times=1)
    online.fault("status", "file_stream", times=1, status=500)
    with start_run("a") as run:
        for number in range(50):
            run.log_metric("a", number, step=number)
    project.sync()  # a run whose start had to wait may be left to it

    assert online.only.values("a") == [(n, n) for n in range(50)]
    assert online.only.state == "finished"
    assert [fault.met for fault in online.faults] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", first_by_default(["hangs", "is down"]))
def test_a_server_that_is_lost_in_the_run_gets_everything_later(project, online, kind):
    project.configure(base_url=online.url, flush_timeout=1)
    begun = time.monotonic()
    with start_run("a") as run:
        run.log_metric("a", 1, step=1)
        if kind == "is down":
            online.stop()
        else:
            online.fault("hang")
        run.log_metric("a", 2, step=2)
    assert time.monotonic() - begun < 20
    if kind == "is down":
        online.start()
    else:
        online.mend()

    done = project.sync()
    assert done.returncode == 0, done.stdout + done.stderr
    assert online.only.values("a") == [(1, 1), (2, 2)]
    assert online.only.state == "finished"


def ended_file(make_run):
    run, team = make_run(), WandbTracker(mode="offline", entity="acme")
    team.tracker_start_run(run)
    team.tracker_end_run(run)
    return log_path(run.folder, run.id)


@pytest.mark.slow
def test_an_upload_whose_process_dies_is_done_by_another(server, make_run):
    server.fault("hang", "upsertBucket")
    upload = Upload(ended_file(make_run), server.url, server.API_KEY)
    upload.start(is_live=False)
    server.wait_for("graphql")
    with pytest.raises(RetryLater, match="has not taken"):
        upload.wait(0)
    (process,) = [p for p in uploading._processes if p.owner[1] == server.url]
    threading.Timer(0.3, process._process.kill).start()  # while it is waited for
    with pytest.raises(RetryLater, match="process has ended"):
        upload.wait(30)

    server.mend()
    upload.wait(60)
    assert server.only.state == "finished"


ABANDONED = """
import os, sys
from pathlib import Path
from trackyard_wandb import uploading
upload = uploading.Upload(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
upload.start(is_live=False)
print(upload._process._process.pid, flush=True)
input()
os._exit(0)
"""


@pytest.mark.slow
def test_an_upload_ends_with_the_process_that_began_it(server, make_run):
    server.fault("hang", "upsertBucket")
    command = [sys.executable, "-c", ABANDONED, str(ended_file(make_run)), server.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, server.API_KEY], **pipes) as parent:
        pid = int(parent.stdout.readline())
        server.wait_for("graphql")
        assert Path(f"/proc/{pid}").exists()
        parent.stdin.write("\n")
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_is_uploaded_while_it_lives(online, make_run, monkeypatch):
    monkeypatch.setattr(tracker, "_LIVE_AFTER", 0.0)
    run, team = make_run(), WandbTracker(base_url=online.url, mode="online")
    team.tracker_start_run(run)
    team.tracker_log(run, Batch.of((Metric("a", 1.0, 1, 10**18),), 1, 1))
    team.tracker_sync_run(run)
    end = time.monotonic() + 30
    while not online.only.values("a"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert online.only.state == "running"

    team.tracker_log(run, Batch.of((Metric("a", 2.0, 2, 10**18 + 1), Param("rate", 1)), 2, 3))
    team.tracker_fail_run(run, Failure("killed", "SIGTERM", signal=15))
    team.tracker_fail_run(run, Failure("killed", "SIGTERM", signal=15))
    assert online.only.values("a") == [(1, 1), (2, 2)]
    assert online.only.config["rate"] == 1
    assert (online.only.state, online.only.exit_code) == ("failed", 143)
    assert len(online.seen("file_stream")) < 20


def test_attempts_go_on_with_one_run_where_it_is_said_so(online, make_run):
    known = {"pipeline": "training", "step": "train", "group": "1" * 32}
    for attempt in (1, 2):
        run = make_run(str(attempt) * 32, attempt=attempt, **known)
        team = WandbTracker(base_url=online.url, mode="online", run_id_strategy="reuse_on_retry")
        team.tracker_start_run(run)
        points = [Metric("a", attempt * 10.0 + n, n, 10**18 + n) for n in range(3)]
        team.tracker_log(run, Batch.of(tuple(points), 1, 3))
        if attempt == 1:
            team.tracker_fail_run(run, Failure("failed", "ValueError"))
            assert online.only.state == "failed"
        else:
            team.tracker_end_run(run)

    found = online.only
    assert [value for _, value in found.values("a")] == [10, 11, 12, 20, 21, 22]
    assert [row["_step"] for row in found.history] == list(range(6))
    assert found.state == "finished"
    assert found.config["trackyard"]["attempt"] == "2"
    assert "failure" not in found.config["trackyard"]
    assert found.config["trackyard"]["status"] == "finished"


def test_a_check_names_what_is_wrong(project, server, monkeypatch):
    assert WandbTracker(base_url=server.url).tracker_check() == []
    monkeypatch.setenv("WANDB_API_KEY", "wrong")
    (problem,) = WandbTracker(base_url=server.url).tracker_check()
    assert "401" in problem
    assert "wandb login" in problem
    monkeypatch.delenv("WANDB_API_KEY")
    (problem,) = WandbTracker(base_url=server.url).tracker_check()
    assert "no API key" in problem
    server.stop()
    monkeypatch.setenv("WANDB_API_KEY", server.API_KEY)
    (problem,) = WandbTracker(base_url=server.url).tracker_check()
    assert "does not answer" in problem


def test_a_check_makes_a_run_and_deletes_it(online):
    came = Client().check_experiment_tracker("team", patience=60.0)

    assert came.is_working, came.problem
    assert came.url.startswith(f"{online.url}/acme/fraud/runs/")
    assert [stage.stage for stage in came.stages][-2:] == ["end", "delete"]
    assert online.seen("file_stream")
    assert online.runs == {}


@pytest.mark.slow
def test_a_deleted_run_is_gone_and_no_other(online, make_run):
    with start_run("kept") as kept, start_run("gone") as gone:
        pass
    team = WandbTracker(base_url=online.url, project="fraud", entity="acme")
    for _ in range(2):
        team.tracker_delete_run(make_run(gone.id))

    assert list(online.runs) == [kept.id]
    team.tracker_delete_run(make_run(kept.id))
    team.tracker_delete_run(make_run(kept.id))  # now the project is gone with its last run
    assert online.runs == {}


def test_a_run_that_no_server_has_seen_is_deleted_without_one(project, server, make_run):
    project.configure(base_url=server.url, mode="offline")
    with start_run("a") as run:
        pass
    team = WandbTracker(base_url=server.url, project="fraud", entity="acme", mode="offline")
    team.tracker_delete_run(make_run(run.id))
    assert server.requests == []

    done = project.sync()
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(server.runs) == [run.id]
    team.tracker_delete_run(make_run(run.id))
    assert server.runs == {}


def test_key_and_names_come_from_wandbs_own_configuration(
    project, server, make_run, monkeypatch, tmp_path
):
    monkeypatch.delenv("WANDB_API_KEY")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {server.API_KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    folder = tmp_path / "config"
    folder.mkdir()
    text = f"[default]\nbase_url = {server.url}\nproject = named\n"
    (folder / "settings").write_text(text)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(folder))

    team = WandbTracker(mode="online")
    team.tracker_start_run(make_run())
    assert (server.only.project, server.only.entity) == ("named", "acme")
    assert team.tracker_url().startswith(f"{server.url}/acme/named/runs/")


def test_the_page_of_the_service_is_not_its_api(make_run):
    team = WandbTracker(mode="offline", entity="a b", project="p")
    team.tracker_start_run(make_run())
    assert team.tracker_url() == f"https://wandb.ai/a%20b/p/runs/{make_run().id}"


@pytest.mark.parametrize("status", [200, 409])
def test_a_run_whose_id_was_deleted_there_says_so(online, make_run, monkeypatch, status):
    said = {"errors": [{"message": "run a was previously created and deleted; try a new run id"}]}
    said["message"] = said["errors"][0]["message"]
    monkeypatch.setattr(online, "answer", lambda _: Answer.of_json(said, status))
    team = WandbTracker(base_url=online.url, project="fraud", entity="acme", mode="online")
    with pytest.raises(RunDeleted, match="previously created and deleted"):
        team.tracker_start_run(make_run("a"))
