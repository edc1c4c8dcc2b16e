"""Does all of it hold with a real server, and do credentials reach their own server alone?"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, current_thread

import mlflow
import pytest
from canary import CANARY
from matrices import first_by_default

from trackyard import (
    Batch,
    Client,
    Failure,
    Metric,
    Param,
    Tag,
    log_metric,
    log_text,
    pipeline,
    start_run,
    step,
)
from trackyard_mlflow import MlflowTracker


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def opened(url):
    """Ask the server at a run's URL for the run, as the page behind it does."""
    server, _, place = url.partition("/#/experiments/")
    experiment_id, _, rest = place.partition("/runs/")
    run_id, _, view = rest.partition("?")
    assert view == "workflowType=machine_learning"
    question = f"{server}/ajax-api/2.0/mlflow/runs/get?run_id={run_id}"
    with urllib.request.urlopen(question, timeout=20) as answer:
        info = json.load(answer)["run"]["info"]
    assert info["experiment_id"] == experiment_id
    return info


SYNC = [sys.executable, "-m", "trackyard", "sync", "--patience", "60"]


def patient(lines):
    """Add budgets for a busy machine, where a test gives none."""
    given = {line.partition(" ")[0] for line in lines}
    wanting = [key for key in ("start_timeout", "flush_timeout") if key not in given]
    return [*lines, *(f"{key} = 60" for key in wanting)]


def configure(project, *fields, name="team", **more):
    """Configure one MLflow tracker, or several as `name=fields`."""
    trackers = {name: fields} if fields else {}
    trackers |= more
    project.configure(
        "\n".join(
            f'[experiment_trackers.{name}]\nflavor = "mlflow"\n' + "\n".join(patient(lines)) + "\n"
            for name, lines in trackers.items()
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("isolation", first_by_default(["thread", "process"]), indirect=True)
def test_the_url_of_a_run_on_a_server_opens_it(mlflow_project, mlflow_server, isolation):
    configure(mlflow_project, f'tracking_uri = "{mlflow_server.url}/"')
    seen = []

    @step(experiment_tracker=True)
    def look():
        run = Client().list_pipeline_runs()[0].steps["look"]
        seen.append(opened(run.run_metadata["experiment_tracker_url"].value))

    @pipeline
    def looking():
        look()

    run = looking()

    assert run.steps["look"].url.startswith(f"{mlflow_server.url}/#/experiments/")
    assert seen[0]["status"] == "RUNNING"
    assert opened(run.steps["look"].url)["status"] == "FINISHED"
    assert opened(run.steps["look"].url)["run_name"] == "look"


@pytest.mark.slow
def test_the_url_of_an_embedded_run_opens_it_where_the_page_is_served(
    mlflow_project, mlflow_server
):
    """The shared server is what `trackyard ui` serves: the same store, its own port."""
    configure(
        mlflow_project,
        f'tracking_uri = "{mlflow_server.store}"',
        f"ui_port = {mlflow_server.port}",
    )

    with start_run("embedded") as run:
        run.log_text("seen", "deep/text.txt")
        url = run.url

    info = opened(url)
    assert (info["run_name"], info["status"]) == ("embedded", "FINISHED")
    question = f"{mlflow_server.url}/get-artifact?path=deep/text.txt&run_uuid={info['run_id']}"
    with urllib.request.urlopen(question, timeout=20) as answer:
        assert answer.read() == b"seen"


@pytest.mark.slow
def test_the_command_of_the_page_serves_the_store_on_the_port_of_the_urls(mlflow_project):
    tracker = MlflowTracker(tracking_uri=mlflow_project.store, ui_port=5999)
    command = tracker.tracker_ui_command("127.0.0.1", None)

    assert command[command.index("--port") + 1] == "5999"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--backend-store-uri") + 1] == mlflow_project.store
    told = subprocess.check_output([*command, "--help"], text=True, timeout=60)
    for option in (part for part in command if part.startswith("--")):
        assert option in told
    other = tracker.tracker_ui_command("0.0.0.0", 1234)
    assert (other[other.index("--host") + 1], other[other.index("--port") + 1]) == (
        "0.0.0.0",
        "1234",
    )


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "https://mlflow.test", "databricks"])
def test_a_server_has_a_page_of_its_own(uri):
    assert MlflowTracker(tracking_uri=uri).tracker_ui_command("127.0.0.1", None) is None


def test_a_server_has_everything_of_a_run(mlflow_project, mlflow_server):
    configure(mlflow_project, f'tracking_uri = "{mlflow_server.url}"')
    tags = {"what?!": "odd", "": "empty", "long": "x" * 20_000, "plain": "yes"}

    with start_run("everything", experiment="server", tags=tags) as run:
        for index in range(2500):
            run.log_metric("loss", index, step=index)
        run.log_params({f"p{index}": "x" * 6000 for index in range(250)})
        run.set_tags({f"t{index}": "y" * 4000 for index in range(250)})
        run.log_metrics({"nan": float("nan"), "up": float("inf"), "a//b": 1, "🎉": 2})
        run.log_param("conflict", 1)
        run.log_param("conflict", 2)
        run.log_param("long", "z" * 50_000)
        run.log_text("hello", "deep/er/hello ü 100%.txt")
        mlflow.log_metric("native", 1)
        mlflow.log_text("native", "native/text.txt")

    found = mlflow_project.run("everything", mlflow_server.url)
    client = mlflow_project.client(mlflow_server.url)
    assert found.info.status == "FINISHED"
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [metric.step for metric in history] == list(range(2500))
    assert {1, 2} <= set(found.data.metrics.values())
    assert found.data.metrics["native"] == 1
    assert found.data.metrics["nan"] != found.data.metrics["nan"]
    assert found.data.metrics["up"] == sys.float_info.max
    assert all(found.data.params[f"p{index}"] == "x" * 6000 for index in range(250))
    assert all(found.data.tags[f"t{index}"] == "y" * 4000 for index in range(250))
    assert {"odd", "empty", "yes"} <= set(found.data.tags.values())
    assert found.data.params["conflict"] == "1"
    for name, content in {
        "deep/er/hello ü 100_u25_.txt": b"hello",
        "native/text.txt": b"native",
        "trackyard/params/long.txt": b"z" * 50_000,
    }.items():
        assert mlflow_project.artifact(found, name, mlflow_server.url) == content


@pytest.mark.slow
def test_a_file_that_the_server_refuses_keeps_nothing_back(mlflow_project, mlflow_server):
    configure(mlflow_project, f'tracking_uri = "{mlflow_server.url}"')

    with start_run("refused", experiment="refused") as run:
        run.log_text("a", "before.txt")
        run.log_text("b", "number #1.txt")  # MLflow's servers take no #
        run.log_text("c", "after.txt")
        run.log_text("d", " space.txt")  # its client reads none that begins with a space
        run.log_metric("after", 1)

    found = mlflow_project.run("refused", mlflow_server.url)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"after": 1}
    kept = {"before.txt": b"a", "after.txt": b"c", "_u20_space_u2e_txt": b"d"}
    for name, content in kept.items():
        assert mlflow_project.artifact(found, name, mlflow_server.url) == content


@pytest.mark.parametrize("status", first_by_default([503, 429, 403]))
def test_a_file_is_sent_again_after_a_moment_of_trouble(
    mlflow_project, mlflow_server, door, status
):
    refused = []

    def refuse(method, path):
        if method == "PUT" and "mlflow-artifacts" in path and len(refused) < 2:
            refused.append(path)
            return status
        return None

    configure(mlflow_project, f'tracking_uri = "{door(refuse=refuse).url}"')
    with start_run(f"trouble {status}", experiment="trouble") as run:
        run.log_text("kept", "kept.txt")

    found = mlflow_project.run(f"trouble {status}", mlflow_server.url)
    assert len(refused) == 2
    assert mlflow_project.artifact(found, "kept.txt", mlflow_server.url) == b"kept"
    assert found.info.status == "FINISHED"


@pytest.mark.slow
def test_a_file_that_takes_the_server_seconds_to_store_arrives(mlflow_project, mlflow_server, door):
    puts = []

    def refuse(method, path):
        if method == "PUT":
            puts.append(path)
            time.sleep(6)

    configure(mlflow_project, f'tracking_uri = "{door(refuse=refuse).url}"')
    with start_run("large file", experiment="large") as run:
        run.log_text("large", "large.txt")

    found = mlflow_project.run("large file", mlflow_server.url)
    assert len(puts) == 1
    assert found.info.status == "FINISHED"
    assert mlflow_project.artifact(found, "large.txt", mlflow_server.url) == b"large"


@pytest.mark.parametrize(
    "call", first_by_default(["runs/log-batch", "runs/create", "runs/update", "experiments"])
)
def test_a_call_is_made_again_after_a_moment_of_trouble(mlflow_project, mlflow_server, door, call):
    refused = []

    def refuse(method, path):
        if call in path and len(refused) < 2:
            refused.append(path)
            return 503
        return None

    configure(mlflow_project, f'tracking_uri = "{door(refuse=refuse).url}"')
    name = f"trouble with {call}"
    with start_run(name, experiment=name) as run:
        for index in range(100):
            run.log_metric("loss", index, step=index)

    found = mlflow_project.run(name, mlflow_server.url)
    assert len(refused) == 2
    assert found.info.status == "FINISHED"
    client = mlflow_project.client(mlflow_server.url)
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [metric.step for metric in history] == list(range(100))


KILLED = """
import os, signal
import mlflow
from trackyard import start_run

with start_run("killed", experiment="killed") as run:
    run.log_metric("portable", 1, step=3)
    mlflow.log_metric("native", 2, step=4)
    mlflow.log_text("hello", "hello.txt")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_step_that_is_killed_while_the_server_is_away_is_there_later(
    mlflow_project, mlflow_server, door
):
    """Also what native calls wrote into the run's folder meanwhile."""
    is_away = [True]
    url = door(refuse=lambda *_: 503 if is_away else None).url
    configure(mlflow_project, f'tracking_uri = "{url}"', "start_timeout = 0.5")
    done = subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    is_away.clear()
    synced = subprocess.run(SYNC, check=False, timeout=120)
    assert synced.returncode == 0

    found = mlflow_project.run("killed", mlflow_server.url)
    assert (found.info.status, found.data.tags["trackyard.status"]) == ("FAILED", "crashed")
    assert found.data.metrics == {"portable": 1, "native": 2}
    assert mlflow_project.artifact(found, "hello.txt", mlflow_server.url) == b"hello"


@pytest.mark.parametrize(
    ("credentials", "fields"),
    [
        (
            basic("ann", CANARY),
            ['tracking_username = "ann"', 'tracking_password = "env:SECRET"'],
        ),
        (f"Bearer {CANARY}", ['tracking_token = "env:SECRET"']),
    ],
    ids=["basic", "bearer"],
)
@pytest.mark.parametrize(
    "own", first_by_default([True, False]), ids=["beside the user's own", "alone"]
)
def test_the_right_credentials_reach_the_server(
    mlflow_project, mlflow_server, door, monkeypatch, credentials, fields, own
):
    monkeypatch.setenv("SECRET", CANARY)
    theirs = {  # for another server of theirs
        "MLFLOW_TRACKING_USERNAME": "own-user",
        "MLFLOW_TRACKING_PASSWORD": "own-password",
        "MLFLOW_TRACKING_TOKEN": "own-token",
        "MLFLOW_TRACKING_URI": "http://own.test",
    }
    for key, value in theirs.items() if own else ():
        monkeypatch.setenv(key, value)
    guarded = door(credentials)
    configure(mlflow_project, f'tracking_uri = "{guarded.url}"', *fields)
    name = f"guarded {len(fields)} {own}"

    with start_run(name, experiment="guarded") as run:
        run.log_metric("portable", 1)
        run.log_text("portable", "portable.txt")
        mlflow.log_metric("native", 2)
        mlflow.log_text("native", "native.txt")
        url = run.url

    found = mlflow_project.run(name, mlflow_server.url)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"portable": 1, "native": 2}
    assert set(guarded.seen) == {credentials}
    assert url.startswith(guarded.url)
    for key, value in theirs.items():
        assert os.environ.get(key) == (value if own else None)


# What a thread of a tracker's has set or removed in the environment; such a hook stays for good.
changed_by_trackers: list[bytes] = []


def test_hooks_in_a_thread_change_no_variable_that_a_steps_code_may_loop_over(
    mlflow_project, mlflow_server, door, monkeypatch
):
    def note(event, arguments):
        is_change = event in ("os.putenv", "os.unsetenv")
        if is_change and current_thread().name.startswith("trackyard-"):
            changed_by_trackers.append(arguments[0])

    sys.addaudithook(note)
    monkeypatch.setenv("SECRET", "right-one")
    guarded = door("Bearer right-one")
    configure(mlflow_project, f'tracking_uri = "{guarded.url}"', 'tracking_token = "env:SECRET"')
    with start_run("looping", experiment="looping") as run:
        run.log_metric("portable", 1)
        run.log_text("portable", "portable.txt")

    assert mlflow_project.run("looping", mlflow_server.url).info.status == "FINISHED"
    assert set(guarded.seen) == {"Bearer right-one"}
    assert changed_by_trackers == []


def test_a_tracker_without_credentials_uses_the_users_own(
    mlflow_project, mlflow_server, door, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "own-token")
    guarded = door("Bearer own-token")
    configure(mlflow_project, f'tracking_uri = "{guarded.url}"')

    with start_run("own token"):
        pass

    assert mlflow_project.run("own token", mlflow_server.url).info.status == "FINISHED"
    assert set(guarded.seen) == {"Bearer own-token"}


@pytest.mark.slow
def test_wrong_credentials_harm_no_step(mlflow_project, door, monkeypatch):
    monkeypatch.setenv("SECRET", CANARY)
    guarded = door("Bearer right-one")
    fields = [f'tracking_uri = "{guarded.url}"', 'tracking_token = "env:SECRET"']
    configure(mlflow_project, *fields, "start_timeout = 0.5", "flush_timeout = 0.5")

    with start_run("wrong") as run:
        run.log_metric("a", 1)
        mlflow.log_metric("b", 2)
        while not guarded.seen:
            time.sleep(0.02)
        assert run.url is None

    assert set(guarded.seen) == {f"Bearer {CANARY}"}


@pytest.mark.slow
def test_each_of_several_trackers_gets_its_own_credentials(
    mlflow_project, mlflow_server, door, monkeypatch, isolation
):
    monkeypatch.setenv("TOKEN", "first-token")
    monkeypatch.setenv("PASSWORD", "second-password")
    first, second = door("Bearer first-token"), door(basic("ann", "second-password"))
    open_door = door()
    configure(
        mlflow_project,
        first=[f'tracking_uri = "{first.url}"', 'tracking_token = "env:TOKEN"'],
        second=[
            f'tracking_uri = "{second.url}"',
            'tracking_username = "ann"',
            'tracking_password = "env:PASSWORD"',
            'experiment_name = "second"',
        ],
        third=[f'tracking_uri = "{open_door.url}"', 'experiment_name = "third"'],
    )

    @step(experiment_tracker=True)
    def work(number: int) -> int:
        log_metric("portable", number)
        mlflow.log_metric("native", number)
        log_text("text", "text.txt")
        return number

    @pipeline
    def guarded_twice():
        work(work(1))

    run = guarded_twice()

    assert set(first.seen) == {"Bearer first-token"}
    assert set(second.seen) == {basic("ann", "second-password")}
    assert set(open_door.seen) == {None}
    found = [
        found
        for found in mlflow_project.runs(mlflow_server.url)
        if found.data.tags.get("trackyard.group") == run.id
    ]
    assert len(found) == 9  # three trackers have two steps and their parent each
    assert {each.info.status for each in found} == {"FINISHED"}
    steps = [each for each in found if "trackyard.step" in each.data.tags]
    assert [each.data.metrics["portable"] for each in steps] == [1] * 6
    assert [each.data.metrics["native"] for each in steps] == [1] * 6  # two of them are sent it


@pytest.mark.slow
def test_overlapping_runs_never_send_the_credentials_of_another(
    mlflow_project, mlflow_server, door, monkeypatch, isolation
):
    tokens = {"one": "first-token", "two": "second-token"}
    doors = {}
    for name, token in tokens.items():
        monkeypatch.setenv(f"TOKEN_{name}", token)
        doors[name] = door(f"Bearer {token}")
    configure(
        mlflow_project,
        **{
            name: [
                f'tracking_uri = "{doors[name].url}"',
                f'tracking_token = "env:TOKEN_{name}"',
                f'experiment_name = "overlap {isolation}"',
            ]
            for name in tokens
        },
    )
    together = Barrier(2)

    def work(name):
        with start_run(f"{name} {isolation}", experiment_tracker=name) as run:
            together.wait(60)
            run.log_metric("portable", 1)
            together.wait(60)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, name) for name in tokens]:
            done.result(60)
    if isolation == "thread":  # there, one waits for the other's environment, and may be late
        subprocess.run(SYNC, check=True, timeout=120)

    for name, token in tokens.items():
        assert set(doors[name].seen) == {f"Bearer {token}"}
        found = mlflow_project.run(f"{name} {isolation}", mlflow_server.url)
        assert found.info.status == "FINISHED"
        assert found.data.metrics == {"portable": 1}


def test_a_check_names_wrong_credentials(door, monkeypatch):
    monkeypatch.setenv("SECRET", CANARY)
    guarded = door("Bearer right-one")
    wrong = MlflowTracker(tracking_uri=guarded.url, tracking_token="env:SECRET")
    monkeypatch.setenv("RIGHT", "right-one")
    right = MlflowTracker(tracking_uri=guarded.url, tracking_token="env:RIGHT")

    (problem,) = wrong.tracker_check()

    assert "401" in problem
    assert CANARY not in problem
    assert right.tracker_check() == []


@pytest.mark.slow
def test_experiments_on_databricks_are_paths_and_its_urls_lead_there(
    mlflow_project, mlflow_server, door, monkeypatch
):
    """A stand-in for Databricks: its address and its sign-in; behind it a real MLflow."""
    monkeypatch.setenv("SECRET", CANARY)
    monkeypatch.setenv("DATABRICKS_TOKEN", "own-token")
    lake = door("Bearer lake-token", sign_in=("principal", CANARY, "lake-token"))
    configure(
        mlflow_project,
        'tracking_uri = "databricks"',
        f'databricks_host = "{lake.url}"',
        'databricks_client_id = "principal"',
        'databricks_client_secret = "env:SECRET"',
    )

    with start_run("on the lake", experiment="fraud") as run:
        run.log_metric("a", 1)
        url = run.url

    found = mlflow_project.run("on the lake", mlflow_server.url)
    client = mlflow_project.client(mlflow_server.url)
    assert found.data.metrics == {"a": 1}
    assert client.get_experiment(found.info.experiment_id).name == "/fraud"
    place = f"/ml/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"
    assert url == lake.url + place


def test_no_url_carries_a_password(mlflow_project, mlflow_server, door):
    guarded = door(basic("ann", CANARY))
    secret_url = guarded.url.replace("http://", f"http://ann:{CANARY}@")
    configure(mlflow_project, f'tracking_uri = "{secret_url}"')

    with start_run("in the address") as run:
        url = run.url

    assert url.startswith(f"{guarded.url}/#/experiments/")
    assert mlflow_project.run("in the address", mlflow_server.url).info.status == "FINISHED"
    (mlflow_project.root / "trackyard.toml").unlink()  # the only place where it may stand


def test_a_slow_server_is_waited_for_in_the_background(mlflow_project, mlflow_server, door):
    def refuse(method, path):
        if "log-batch" in path:
            time.sleep(0.5)

    configure(mlflow_project, f'tracking_uri = "{door(refuse=refuse).url}"')
    with start_run("slow") as run:
        begun = time.monotonic()
        for index in range(1000):
            run.log_metric("loss", index, step=index)
        took = time.monotonic() - begun

    assert took < 20  # and not 1000 times half a second
    found = mlflow_project.run("slow", mlflow_server.url)
    assert found.data.metrics == {"loss": 999}


def test_a_check_makes_a_real_run_and_deletes_it(mlflow_project, mlflow_server):
    configure(mlflow_project, f'tracking_uri = "{mlflow_server.url}"')
    came = Client().check_experiment_tracker("team")

    assert came.is_working, came.problem
    run = mlflow_project.client(mlflow_server.url).get_run(
        came.url.rpartition("/")[2].partition("?")[0]
    )
    assert (run.info.status, run.info.lifecycle_stage) == ("FINISHED", "deleted")
    assert run.data.metrics == {"check": 2.0}


def test_deleting_a_run_that_is_not_there_is_no_error(mlflow_project, mlflow_server, make_run):
    tracker, run = MlflowTracker(tracking_uri=mlflow_server.url), make_run()
    assert not (run.folder / "mlflow.json").exists()  # it never started
    tracker.tracker_delete_run(run)
    (run.folder / "mlflow.json").write_text(json.dumps({"run_id": "0" * 32}))

    tracker.tracker_delete_run(run)


@pytest.mark.slow
def test_ui_serves_the_embedded_runs_and_gives_the_address_of_the_latest(mlflow_project):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow_project.configure(f'[experiment_trackers.local]\nflavor = "mlflow"\nui_port = {port}\n')
    with start_run("baseline") as run:
        run.log_metric("loss", 0.5)
    command = [sys.executable, "-m", "trackyard", "ui", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            url = serving.stdout.readline().strip()
            assert opened(url)["run_name"] == "baseline"
            busy = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        finally:
            serving.terminate()
    assert busy.returncode == 1
    assert busy.stderr.startswith(
        f"Error: port {port} of 127.0.0.1 cannot be used: address already"
    )
    assert len(busy.stderr.splitlines()) == 1
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url.partition("/#")[0], timeout=5)


def asked_for_a_step(door, run, end):
    """Write a step's params, metrics and tags, and its end; give what the server was asked."""
    opened_door = door()
    tracker = MlflowTracker(tracking_uri=opened_door.url)
    tracker.tracker_start_run(run)
    opened_door.asked.clear()
    records = Param("rate", 0.1), Metric("loss", 0.5, 1, 0), Tag("phase", "first")
    tracker.tracker_log(run, Batch.of(records, 0, len(records)))
    end(tracker)
    return [request.rpartition("/")[2] for request in opened_door.asked]


def test_a_step_that_finishes_is_written_in_three_requests(mlflow_project, door, make_run):
    run = make_run()

    asked = asked_for_a_step(door, run, lambda tracker: tracker.tracker_end_run(run))

    assert asked == ["log-batch", "set-tag", "update"]


def test_a_step_that_fails_says_all_of_it_in_one_request(mlflow_project, door, make_run):
    run, failure = make_run(), Failure("failed", "ValueError", "not a number")

    asked = asked_for_a_step(door, run, lambda tracker: tracker.tracker_fail_run(run, failure))

    assert asked == ["log-batch", "log-batch", "update"]
