"""Does what holds for one flavor hold for all of them, apart and together?"""

from __future__ import annotations

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from all_flavors import FLAVORS, neptune_token, stored
from left_behind import assert_left_as_it_was
from matrices import first_by_default
from neptune_server import NeptuneServer

from trackyard import (
    Client,
    Secret,
    log_dict,
    log_metrics,
    log_params,
    log_text,
    pipeline,
    resume_run,
    set_tag,
    start_run,
    step,
)
from trackyard.hooks.discovery import load_flavor
from trackyard.hooks.known import known_flavors
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import sync_all
from trackyard.testing.workbench import to_toml

ROOT = Path(__file__).parents[1]
page = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/write_capabilities.py")))


@step(experiment_tracker=list(FLAVORS))
def train():
    log_params({"rate": 0.125, "name": "base"})
    set_tag("stage", "draft")
    for epoch in range(20):
        log_metrics({"loss": 1 / (epoch + 1), "train/accuracy": epoch / 20}, step=epoch)


@pipeline
def training():
    train()


def test_every_flavor_of_this_repository_takes_part():
    # The two others are in no default group: tests/thirdparty/test_flavors_apart.py
    assert set(page.flavors()) == {*FLAVORS, "dvclive", "swanlab"}


def test_one_call_gives_the_same_numbers_on_all_trackers_of_a_step(place):
    found = training().steps["train"]

    assert found.status == "finished"
    losses = [(epoch, 1 / (epoch + 1)) for epoch in range(20)]
    for name in FLAVORS:
        run = stored(found.id, name)
        assert [(m.step, m.value) for m in run.metrics["loss"]] == losses, name
        assert run.values("train/accuracy") == [epoch / 20 for epoch in range(20)], name
        assert float(run.params["rate"]) == 0.125, name
        assert (run.params["name"], run.label("stage")) == ("base", "draft"), name


# MLflow's own store has one point of a key, step, value and millisecond.
@pytest.mark.parametrize("name", [name for name in FLAVORS if name != "mlflow"])
def test_points_of_one_value_that_follow_fast_are_all_kept(place, name):
    with start_run("a", experiment_tracker=name) as run:
        for _ in range(2500):
            run.log_metric("same", 1.0)

    assert stored(run.id, name).values("same") == [1.0] * 2500


@step(experiment_tracker=list(FLAVORS), retries=1, retry_delay=0.0)
def try_twice():
    if not Path("tried").exists():
        Path("tried").touch()
        raise ValueError("deliberate")


@step(experiment_tracker=list(FLAVORS))
def interrupt():
    raise KeyboardInterrupt("deliberate")


@pipeline
def trying():
    try_twice()


@pipeline
def interrupting():
    interrupt()


KILLED = """
import os, signal
from all_flavors import FLAVORS
from trackyard import log_metric, pipeline, step

@step(experiment_tracker=list(FLAVORS))
def die():
    log_metric("loss", 0.5, step=3)
    os.kill(os.getpid(), signal.SIGKILL)

@pipeline
def dying():
    die()

dying()
"""


def assert_told_everywhere(place, run, pipeline_run, status):
    """Each backend shows who a run is and how it ended, by its own state and by mirrored tags."""
    wanted = {
        "run_id": run.id,
        "pipeline": pipeline_run.pipeline,
        "step": run.name,
        "attempt": str(run.attempt),
        "group": pipeline_run.id,
        "status": status,
    }
    for name, flavor in FLAVORS.items():
        found = stored(run.id, name)
        assert {key: found.label(f"trackyard.{key}") for key in wanted} == wanted, name
        failure = found.label("trackyard.failure")
        assert bool(failure) == (status != "finished"), name
        assert status in ("finished", "crashed") or "deliberate" in failure, name
        assert flavor.state(place, run.id) == flavor.states[status], name


def test_an_attempt_that_raised_and_one_that_finished_are_told_as_such_everywhere(place):
    run = trying()

    first, second = run.steps["try_twice"].attempts
    assert_told_everywhere(place, first, run, "failed")
    assert_told_everywhere(place, second, run, "finished")


def test_a_step_that_was_interrupted_is_told_as_killed_everywhere(place):
    with pytest.raises(KeyboardInterrupt):
        interrupting()

    (run,) = Client().list_pipeline_runs()
    assert_told_everywhere(place, run.steps["interrupt"], run, "killed")


@pytest.mark.slow
def test_a_step_that_was_killed_is_told_as_crashed_everywhere_with_what_it_logged(place):
    place.configure(start_timeout=0.1)  # it is killed while its trackers start
    done = run_program(place.root, KILLED)
    assert done.returncode == -signal.SIGKILL, done.stderr
    place.configure()
    sync_all(find_project(), patience=60.0)

    (run,) = Client().list_pipeline_runs()
    assert_told_everywhere(place, run.steps["die"], run, "crashed")
    for name in FLAVORS:
        points = [(m.step, m.value) for m in stored(run.steps["die"].id, name).metrics["loss"]]
        assert points == [(3, 0.5)], name


KILLED_RUN = """
import os, signal
from all_flavors import FLAVORS
from trackyard import start_run

run = start_run("a", experiment_tracker=list(FLAVORS))
run.log_metric("loss", 0.5, step=3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def assert_status_everywhere(place, run_id, status):
    """Each backend shows this one status, by the tag and by its own state."""
    for name, flavor in FLAVORS.items():
        found = stored(run_id, name)
        assert found.label("trackyard.status") == status, name
        assert bool(found.label("trackyard.failure")) == (status == "crashed"), name
        if status != "running":
            assert flavor.state(place, run_id) == flavor.states[status], name


@pytest.mark.slow
def test_run_that_was_killed_and_is_resumed_is_one_run_everywhere(place):
    place.configure(start_timeout=0.1)
    done = run_program(place.root, KILLED_RUN)
    assert done.returncode == -signal.SIGKILL, done.stderr
    place.configure()
    sync_all(find_project(), patience=60.0)
    (crashed,) = Client().list_runs()
    assert_status_everywhere(place, crashed.id, "crashed")

    with resume_run("a") as run:
        assert_status_everywhere(place, run.id, "running")
        run.log_metric("loss", 0.25, step=4)
    assert run.id == crashed.id
    assert_status_everywhere(place, run.id, "finished")
    for name in FLAVORS:
        points = [(m.step, m.value) for m in stored(run.id, name).metrics["loss"]]
        assert points == [(3, 0.5), (4, 0.25)], name
    assert "crashed" not in place.comet.experiments[run.id].tags


@pytest.mark.parametrize("name", first_by_default(sorted(FLAVORS)))  # Comet's SDK begins anew
def test_native_calls_of_a_run_that_is_resumed_land_in_the_same_run(place, name):
    with start_run("a", experiment_tracker=name) as first:
        FLAVORS[name].log("native", 0.5, 0)
    second = int(time.time())
    while int(time.time()) == second:  # TensorBoard's writers name their files by it
        time.sleep(0.01)
    with resume_run("a") as run:
        FLAVORS[name].log("native", 0.25, 1)

    assert run.id == first.id
    found = stored(run.id, name)
    points = [(m.step, m.value) for m in found.metrics["native"]]
    assert points == [(0, 0.5), (1, 0.25)]
    assert (found.label("trackyard.status"), len(Client().list_runs())) == ("finished", 1)


def run_program(folder, text):
    """Run a program that may import what tests share."""
    paths = os.pathsep.join([*sys.path, str(ROOT / "tests/plugins"), str(ROOT / "tests/servers")])
    return subprocess.run(
        [sys.executable, "-c", text],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


BESIDE_COMET = """
import sys
{before}
from trackyard import start_run

with start_run("a", experiment_tracker=["comet", "mlflow"]) as run:
    import comet_ml
    import mlflow

    own = comet_ml.get_global_experiment()
    with mlflow.start_run():
        mlflow.log_metric("mlflow", 1.0, step=1)
    assert comet_ml.get_global_experiment() is own
    own.log_metric("comet", 1.0, step=1)
    sentry = sys.modules.get("sentry_sdk")
    print(run.id, sentry is not None and sentry.is_initialized())
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", first_by_default(["", "import comet_ml"]))
def test_comet_logs_nothing_of_other_sdks(place, before):
    others = set(place.comet.experiments)
    done = run_program(place.root, BESIDE_COMET.format(before=before))

    assert done.returncode == 0, done.stderr
    run_id, has_sentry = done.stdout.split()
    if not before:  # how it is imported is the user's own affair
        assert has_sentry == "False"
        assert "COMET" not in done.stderr
    assert set(place.comet.experiments) - others == {run_id}
    found = place.comet.experiments[run_id]
    # Not by Comet itself, and not by capture: code that logs to two SDKs logs nothing twice.
    assert {point["metricName"] for point in found.metrics} == {"comet"}
    assert stored(run_id, "mlflow").values("mlflow") == [1.0]


@pytest.mark.parametrize("name", FLAVORS)
def test_native_and_portable_calls_give_the_same_metrics(place, name):
    points = [(number, number / 4) for number in range(10)]
    with start_run("portable", experiment_tracker=name) as portable:
        for number, value in points:
            portable.log_metric("loss", value, step=number)
    with start_run("native", experiment_tracker=name) as native:
        for number, value in points:
            FLAVORS[name].log("loss", value, number)

    for run in (portable, native):
        found = stored(run.id, name).metrics["loss"]
        assert [(m.step, m.value) for m in found] == points, run.name


# W&B's runs are offline here, hence are kept; its own tests have a server.
@pytest.mark.parametrize("name", [name for name in FLAVORS if name != "wandb"])
def test_file_that_a_step_logged_outlives_its_journal(place, name):
    @step(experiment_tracker=name)
    def report():
        log_text("all is well", "notes/report.txt")
        log_dict({"rate": 0.1}, "config.json")

    run = pipeline(report, name="reporting")()
    rows = Client().collect_garbage(older_than=0)
    assert {(row.state, row.reason) for row in rows} == {("deleted", "")}

    found = Client().get_run(run.name).artifacts
    assert found["notes/report.txt"].read_text() == "all is well"
    assert found["config.json"].read_bytes().startswith(b"{")


@pytest.mark.parametrize("name", FLAVORS)
def test_a_check_deletes_its_run(place, name):
    came = Client().check_experiment_tracker(name, patience=60.0)

    assert came.is_working, came.problem
    last = came.stages[-1]
    assert (last.stage, last.status) == ("delete", "done")


@pytest.mark.slow
@pytest.mark.parametrize("name", first_by_default(FLAVORS, 2))
def test_twenty_steps_that_fail_in_turn_leave_the_process_as_it_was(place, name):
    flavor = FLAVORS[name]

    def run_steps(number):
        for index in range(number):
            with suppress(ValueError), start_run("a", experiment_tracker=name) as run:
                run.log_metric("portable", index)
                flavor.log("native", 1.0, index)
                if index % 2:
                    raise ValueError("odd")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_left_as_it_was(run_steps, flavor.active, spare_descriptors=9)


WATCHED = """
from contextlib import nullcontext
from trackyard import hookimpl
from {module} import {name} as Base

seen = {{}}

class Watched(Base):
    \"\"\"It shows its fields, and sends nothing.\"\"\"

    @hookimpl
    def tracker_start_run(self, run):
        seen[run.step] = self

    @hookimpl
    def tracker_url(self): ...

    @hookimpl
    def tracker_log(self): ...

    @hookimpl
    def tracker_end_run(self): ...

    @hookimpl
    def tracker_sync_run(self): ...

    @hookimpl
    def tracker_activate_run(self):
        return nullcontext()
"""
# What a step sets, by the field's name, where its type does not say what it takes.
CHOSEN = {
    "mode": "online",
    "run_id_strategy": "reuse_on_retry",
    "server_url": "http://127.0.0.1:9",
    "tracking_uri": "http://127.0.0.1:9",
    "settings": {"console": "off"},
    "nested": False,
    "tracking_insecure_tls": True,
    "ui_port": 7007,
}


@pytest.mark.parametrize("name", FLAVORS)
def test_settings_of_a_step_reach_every_field_and_tags_are_merged(place, name, monkeypatch):
    monkeypatch.setenv("OF_THE_STEP", "the step's secret")
    flavor = load_flavor(name)
    text = WATCHED.format(module=flavor.__module__, name=flavor.__name__)
    (place.root / "watched.py").write_text(text)
    monkeypatch.syspath_prepend(place.root)
    monkeypatch.delitem(sys.modules, "watched", raising=False)
    takes_words = "list" in str(attrs.fields(flavor).tags.type)
    always, once = (["always"], ["once"]) if takes_words else ({"a": "always"}, {"b": "once"})
    table = {"flavor": "watched:Watched", "tags": always}
    (place.root / "trackyard.toml").write_text(to_toml({name: table}))
    given = {"tags": once}
    for field in (f for f in attrs.fields(flavor) if f.init and f.name != "tags"):
        of_its_type = "env:OF_THE_STEP" if "Secret" in str(field.type) else "of/the-step"
        given[field.name] = CHOSEN.get(field.name, of_its_type)

    @step(experiment_tracker=name, settings={name: given})
    def set_up(): ...

    @step(experiment_tracker=name)
    def left_alone(): ...

    @pipeline
    def setting():
        set_up()
        left_alone()

    setting()
    seen = sys.modules["watched"].seen
    found, other = seen["set_up"], seen["left_alone"]
    for key, value in given.items():
        reached = getattr(found, key)
        if isinstance(reached, Secret):
            assert reached.reveal() == "the step's secret", key
        elif isinstance(reached, Path):
            assert reached == place.root / value, key
        elif key != "tags":
            assert reached == value, key
        assert reached != getattr(other, key), key
    assert found.tags == (always + once if takes_words else {**always, **once})
    assert other.tags == always


@pytest.mark.parametrize("name", ["wandb", "comet", "neptune"])
def test_a_server_that_says_nothing_is_waited_for_a_second(place, name, monkeypatch, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("NEPTUNE_API_TOKEN", neptune_token(url))
        fields = {
            "wandb": {"base_url": url, "entity": "acme"},
            "comet": {"url": url, "workspace": "acme"},
            "neptune": {"project": NeptuneServer.PROJECT},
        }
        table = {"flavor": name, "start_timeout": 60.0, "flush_timeout": 60.0, **fields[name]}
        (place.root / "trackyard.toml").write_text(to_toml({name: table}))
        waited = []
        thread = threading.Thread(target=time_of_connection, args=(listening, waited))
        thread.start()
        for _ in range(2):
            with start_run("a", experiment_tracker=name) as run:
                run.log_metric("loss", 1.0)
        thread.join(30)

    assert 0.5 < waited[0] < 30  # and no SDK's minutes
    lines = [r.getMessage() for r in caplog.records if r.name == "trackyard"]
    assert len(lines) == 1
    assert re.search(rf"{url} does not answer; .* upload: trackyard sync$", lines[0])
    assert stored(run.id, name).values("loss") == [1.0]


def time_of_connection(listening, waited):
    """Take a connection, say nothing, and note when the other side has had enough."""
    connection, _ = listening.accept()
    begun = time.monotonic()
    with connection:
        while connection.recv(65536):
            pass
    waited.append(time.monotonic() - begun)


NOWHERE = "http://nowhere.invalid"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wandb", {"base_url": NOWHERE, "entity": "acme"}),
        ("comet", {"url": NOWHERE, "workspace": "acme"}),
        ("neptune", {"project": NeptuneServer.PROJECT}),
    ],
)
def test_a_look_up_of_a_name_that_hangs_holds_no_step(place, name, options, monkeypatch, caplog):
    released, look_up = threading.Event(), socket.getaddrinfo

    def hang(host, *arguments, **more):
        if host == "nowhere.invalid":
            released.wait(300)
        return look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("NEPTUNE_API_TOKEN", neptune_token(NOWHERE))
    table = {"flavor": name, "start_timeout": 60.0, "flush_timeout": 60.0, **options}
    (place.root / "trackyard.toml").write_text(to_toml({name: table}), encoding="utf-8")

    begun = time.monotonic()
    with start_run("a", experiment_tracker=name) as run:
        run.log_metric("loss", 1.0)
    seconds = time.monotonic() - begun
    released.set()

    assert seconds < 30
    assert f"{NOWHERE} does not answer; runs are kept offline now" in caplog.text
    assert stored(run.id, name).values("loss") == [1.0]


def test_what_core_knows_of_a_flavor_that_is_not_installed_is_what_its_fields_say():
    said = {}
    for name in FLAVORS:
        fields = attrs.fields(load_flavor(name))
        said[name] = {variable for field in fields if (variable := field.metadata.get("env"))}

    known = {name: {*one.variables} for name, one in known_flavors().items()}
    assert {**said, "dvclive": set(), "swanlab": set()} == known  # those take none


def test_table_of_what_flavors_hold_is_as_their_classes_declare_it():
    """`uv run docs/write_capabilities.py` writes it anew."""
    text = page.PAGE.read_text(encoding="utf-8")

    assert page.written(text) == text
    assert all(f"`{name}`" in text for name in FLAVORS)


@pytest.mark.parametrize("name", FLAVORS)
def test_page_of_a_flavor_has_everything_that_a_user_looks_for(name):
    text = (ROOT / f"docs/flavors/{name}.md").read_text(encoding="utf-8")

    parts = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    wanted = ["Install", "Configure", "Fields", "Log", "What failure looks like", "Limits"]
    assert [part for part in parts if part in wanted] == wanted
    assert {"Offline", "When the server is away"} & set(parts)
    assert re.search(r"^Use (it|this flavor) ", text, re.MULTILINE)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert re.search(r"# native\b", code)
    assert re.search(r"# portable\b", code)
