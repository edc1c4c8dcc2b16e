"""Does what holds for one flavor hold for all of them, apart and together?

A new flavor joins by a line in `FLAVORS`.
"""

from __future__ import annotations

import base64
import json
import os
import runpy
import shutil
import signal
import socket
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from comet_server import CometServer
from neptune_server import NeptuneServer

from trackyard import log_metrics, log_params, native_run, pipeline, set_tag, start_run, step
from trackyard.config import find_project, in_project
from trackyard.descriptions import load_description, run_for
from trackyard.dispatch import TrackerHooks
from trackyard.testing.stored import StoredRun
from trackyard.testing.workbench import to_toml
from trackyard.trackers import Trackers

ROOT = Path(__file__).parents[1]
page = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/write_capabilities.py")))


def mlflow_table(place):
    shutil.copyfile(place.empty_store, place.folder / "mlflow.db")
    return {"tracking_uri": f"sqlite:///{place.folder / 'mlflow.db'}"}


def neptune_token(url):
    content = {"api_address": url, "api_url": url, "api_key": "key"}
    return base64.b64encode(json.dumps(content).encode()).decode()


def comet_table(place):
    os.environ["COMET_API_KEY"] = CometServer.API_KEY
    return {"url": place.comet.url, "workspace": "acme", "project": "p", "mode": "online"}


def neptune_table(place):
    os.environ["NEPTUNE_API_TOKEN"] = neptune_token(place.neptune.url)
    return {"project": NeptuneServer.PROJECT, "mode": "online"}


def log_by_mlflow():
    import mlflow

    mlflow.log_metric("native", 1.0)


def active_in_mlflow():
    import mlflow
    from mlflow.tracking._tracking_service import utils

    return mlflow.active_run(), utils._tracking_uri


def log_by_comet():
    import comet_ml

    comet_ml.get_global_experiment().log_metric("native", 1.0)


def log_by_tensorboard():
    from tensorboardX import SummaryWriter

    SummaryWriter().add_scalar("native", 1.0)


def log_by_trackio():
    import trackio

    trackio.log({"native": 1.0})


def log_by_wandb():
    import wandb

    wandb.log({"native": 1.0})


def log_by_neptune():
    native_run("neptune")["native"].append(1.0)


def active_in_comet():
    from comet_ml.config import config_api

    return config_api.get_global_experiment(), config_api.experiment


def active_in_trackio():
    import trackio
    from trackio import sqlite_storage
    from trackio.context_vars import current_run

    return current_run.get(), trackio.init, trackio.config, sqlite_storage.TRACKIO_DIR


@attrs.frozen
class Flavor:
    """How one flavor takes part.

    Attributes:
        table: Gives its fields, for a backend of the test's own.
        log: Logs `native` = 1 by the SDK's own call.
        active: Gives what the SDK holds as its current run, and the like.
    """

    table: object = lambda place: {}
    log: object = lambda: None
    active: object = lambda: None


FLAVORS = {
    "mlflow": Flavor(mlflow_table, log_by_mlflow, active_in_mlflow),
    "comet": Flavor(comet_table, log_by_comet, active_in_comet),
    "neptune": Flavor(neptune_table, log_by_neptune, lambda: sys.modules["neptune"].init_run),
    "wandb": Flavor(
        lambda place: {"mode": "offline"}, log_by_wandb, lambda: sys.modules["wandb"].run
    ),
    "trackio": Flavor(log=log_by_trackio, active=active_in_trackio),
    "tensorboard": Flavor(
        log=log_by_tensorboard, active=lambda: sys.modules["tensorboardX"].SummaryWriter.__init__
    ),
}


@pytest.fixture(scope="module")
def servers():
    with CometServer() as comet, NeptuneServer() as neptune:
        yield comet, neptune


@pytest.fixture
def place(tmp_path, monkeypatch, empty_store, servers):
    """A project with a tracker of each flavor, named like it."""
    for name in list(os.environ):
        if name.startswith(("TRACKYARD_", "COMET_", "NEPTUNE_", "TRACKIO_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COMET_API_KEY", "")
    monkeypatch.setenv("NEPTUNE_API_TOKEN", "")
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "none"))
    for name in ("PROGRESS", "WATCHDOG"):
        monkeypatch.setenv(f"TRACKYARD_{name}", "0")
    # Worker processes would import each SDK anew for each test.
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    known = {"folder": tmp_path, "empty_store": empty_store}
    place = SimpleNamespace(**known, comet=servers[0], neptune=servers[1])
    waiting = {"start_timeout": 60.0, "flush_timeout": 60.0}
    tables = {n: {"flavor": n, **waiting, **f.table(place)} for n, f in FLAVORS.items()}
    (root / "trackyard.toml").write_text(to_toml(tables), encoding="utf-8")
    return root


def stored(run_id, name):
    """Read a run from a backend, on an instance that has not written it."""
    project = find_project()
    folder = project.home / "runs" / run_id
    description = load_description(folder)
    (tracker,) = [known for known in description.trackers if known.name == name]
    hooks = TrackerHooks(Trackers(project).select(name)[0].new_instance(), name)
    run = attrs.evolve(run_for(description, tracker, folder), attached=True)
    with in_project(project):
        outcome = hooks.read_run(run)
    assert outcome.kind == "done", outcome.reason
    return StoredRun(tuple(outcome.value))


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
    assert set(page.flavors()) == set(FLAVORS)


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


@pytest.mark.parametrize(
    ("error", "status"), [(None, "finished"), (ValueError, "failed"), (KeyboardInterrupt, "killed")]
)
def test_identity_and_status_are_mirrored_on_all_trackers(place, error, status):
    ending = suppress(ValueError, KeyboardInterrupt)
    with ending, start_run("a", experiment_tracker=list(FLAVORS)) as run:
        if error:
            raise error("deliberate")

    for name in FLAVORS:
        found = stored(run.id, name)
        assert found.label("trackyard.status") == status, name
        assert found.label("trackyard.run_id") == run.id, name
        assert found.label("trackyard.attempt") == "1", name


@pytest.mark.parametrize("name", FLAVORS)
def test_native_and_portable_calls_give_the_same_metric(place, name):
    with start_run("a", experiment_tracker=name) as run:
        run.log_metric("portable", 1.0)
        FLAVORS[name].log()

    found = stored(run.id, name)
    assert found.values("native") == found.values("portable") == [1.0]


@pytest.mark.parametrize("name", FLAVORS)
def test_twenty_steps_that_fail_in_turn_leave_the_process_as_it_was(place, name):
    flavor = FLAVORS[name]

    def run_steps(number):
        for index in range(number):
            with suppress(ValueError), start_run("a", experiment_tracker=name) as run:
                run.log_metric("portable", index)
                flavor.log()
                if index % 2:
                    raise ValueError("odd")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run_steps(2)  # the SDK's import, and what is made once, is not judged
        wait_until(lambda: not [t for t in threading.enumerate() if "trackyard" in t.name])
        before, count = process_state(flavor), descriptors()
        run_steps(20)
        wait_until(lambda: process_state(flavor) == before and descriptors() < count + 10)

    after = process_state(flavor)
    assert descriptors() < count + 10  # a pool of connections may have grown; nothing at each step
    changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    assert changed == {}


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
    (place / "trackyard.toml").write_text(to_toml({name: table}), encoding="utf-8")

    begun = time.monotonic()
    with start_run("a", experiment_tracker=name) as run:
        run.log_metric("loss", 1.0)
    seconds = time.monotonic() - begun
    released.set()

    assert seconds < 30
    assert f"{NOWHERE} does not answer; runs are kept offline now" in caplog.text
    assert stored(run.id, name).values("loss") == [1.0]


def wait_until(holds):
    """Wait for threads and connections that end by themselves."""
    end = time.monotonic() + 30
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


def process_state(flavor):
    """Give what belongs to the process, and hence to the user."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    return {
        "environment": environment,
        "working directory": Path.cwd(),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "output": (sys.stdout, sys.stderr),
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "threads": sorted(thread.name for thread in threading.enumerate() if is_new(thread)),
        "active run": flavor.active(),
    }


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def is_new(thread):
    """Tell whether a thread is none of the test's own servers."""
    return "process_request_thread" not in thread.name


def test_table_of_what_flavors_hold_is_as_their_classes_declare_it():
    """`uv run docs/write_capabilities.py` writes it anew."""
    text = page.PAGE.read_text(encoding="utf-8")

    assert page.written(text) == text
    assert all(f"`{name}`" in text for name in FLAVORS)
