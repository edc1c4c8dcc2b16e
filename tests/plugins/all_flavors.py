"""How does each flavor of this repository take part in a test: its backend, its SDK, its own state?

A plugin of pytest. A new flavor joins by a line in `FLAVORS`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from comet_server import CometServer
from neptune_server import NeptuneServer

from trackyard import current_run, native_run
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import load_description, run_for
from trackyard.project.configuration import find_project, in_project
from trackyard.project.trackers import Trackers
from trackyard.testing.stored import StoredRun
from trackyard.testing.workbench import to_toml


@attrs.frozen
class Place:
    """A project with a tracker of each flavor, named like it, and where they write.

    Attributes:
        root: The project's folder, which is the working directory.
        empty_store: An empty sqlite store of MLflow's, to be copied.
        comet: Comet's server.
        neptune: Neptune's.
    """

    root: Path
    empty_store: Path
    comet: CometServer
    neptune: NeptuneServer

    def configure(self, **options: Any) -> None:
        """Write the configuration: each tracker's own fields, and some options for all."""
        waiting = {"start_timeout": 60.0, "flush_timeout": 60.0, **options}
        tables = {n: {"flavor": n, **waiting, **f.table(self)} for n, f in FLAVORS.items()}
        (self.root / "trackyard.toml").write_text(to_toml(tables), encoding="utf-8")

    def file(self, run_id: str, pattern: str) -> Path:
        """Give the only file of a run in `.trackyard/`."""
        (found,) = (self.root / ".trackyard").glob(pattern.format(run=run_id, end=run_id[-8:]))
        return found


@attrs.frozen
class Flavor:
    """How one flavor takes part.

    Attributes:
        table: Gives its fields, for a backend of the test's own.
        log: Logs a metric with a value and a step by the SDK's own call.
        active: Gives what the SDK holds as its current run, and the like.
        state: Gives what the backend itself shows of how a run ended, read without the flavor.
        states: What it shows for each of our statuses.
    """

    table: Callable[[Place], Mapping[str, Any]]
    log: Callable[[str, float, int], object]
    active: Callable[[], object]
    state: Callable[[Place, str], object]
    states: Mapping[str, object]


def mlflow_table(place: Place) -> dict[str, Any]:
    path = place.root / "mlflow.db"
    if not path.exists():
        shutil.copyfile(place.empty_store, path)
    return {"tracking_uri": f"sqlite:///{path}"}


def neptune_token(url: str) -> str:
    content = {"api_address": url, "api_url": url, "api_key": "key"}
    return base64.b64encode(json.dumps(content).encode()).decode()


def comet_table(place: Place) -> dict[str, Any]:
    os.environ["COMET_API_KEY"] = CometServer.API_KEY
    return {"url": place.comet.url, "workspace": "acme", "project": "p", "mode": "online"}


def neptune_table(place: Place) -> dict[str, Any]:
    os.environ["NEPTUNE_API_TOKEN"] = neptune_token(place.neptune.url)
    return {"project": NeptuneServer.PROJECT, "mode": "online"}


def log_by_mlflow(key: str, value: float, step: int) -> None:
    import mlflow

    mlflow.log_metric(key, value, step=step)


def log_by_comet(key: str, value: float, step: int) -> None:
    import comet_ml

    experiment = comet_ml.get_global_experiment()
    assert experiment is not None
    experiment.log_metric(key, value, step=step)


# The run that calls were last made in, and its writer: another one is another run of TensorBoard's.
_writers: dict[Any, Any] = {}


def log_by_tensorboard(key: str, value: float, step: int | None = None) -> None:
    from tensorboardX import SummaryWriter

    run = current_run()  # of a run that is resumed another one
    if run not in _writers:
        _writers.clear()
        _writers[run] = SummaryWriter()
    _writers[run].add_scalar(key, value, step)


def log_by_trackio(key: str, value: float, step: int) -> None:
    import trackio

    trackio.log({key: value}, step=step)


def log_by_wandb(key: str, value: float, step: int) -> None:
    import wandb

    wandb.log({key: value}, step=step)


def log_by_neptune(key: str, value: float, step: int) -> None:
    run: Any = native_run("neptune")
    run[key].append(value, step=step)


def active_in_mlflow() -> object:
    import mlflow
    from mlflow.tracking._tracking_service import utils

    return mlflow.active_run(), utils._tracking_uri


def active_in_comet() -> object:
    from comet_ml.config import config_api

    return config_api.get_global_experiment(), config_api.experiment


def active_in_trackio() -> object:
    import trackio
    from trackio import sqlite_storage
    from trackio.context_vars import current_run

    return current_run.get(), trackio.init, trackio.config, sqlite_storage.TRACKIO_DIR


def state_in_mlflow(place: Place, run_id: str) -> object:
    with closing(sqlite3.connect(place.root / "mlflow.db")) as connection:
        sql = "SELECT status FROM runs JOIN tags USING (run_uuid) WHERE key = ? AND value = ?"
        ((status,),) = connection.execute(sql, ("trackyard.run_id", run_id))
    return status


def state_in_neptune(place: Place, run_id: str) -> object:
    runs = [run.fields for run in place.neptune.runs.values()]
    (fields,) = [fields for fields in runs if fields["trackyard/run_id"] == run_id]
    return fields["sys/failed"]


def state_in_wandb(place: Place, run_id: str) -> object:
    """The exit code in W&B's file, whose records are W&B's own."""
    from trackyard_wandb.logfile import read_log
    from trackyard_wandb.records import parse

    path = place.file(run_id, "runs/{run}/wandb/offline-run-*/*.wandb")
    *_, last = [parse(data) for data, _ in read_log(path)]
    return last.exit.exit_code if last.HasField("exit") else "running"


def state_in_trackio(place: Place, run_id: str) -> object:
    """Trackio has no failed state: its lists show the config's tags."""
    for path in (place.root / ".trackyard/trackio").glob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            sql = "SELECT config FROM configs WHERE run_id = ?"
            for (text,) in connection.execute(sql, (run_id,)):
                return json.loads(text)["tags"]["trackyard.status"]
    return None


def state_in_tensorboard(place: Place, run_id: str) -> object:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    reader = EventAccumulator(str(place.file(run_id, "tensorboard/*/*-{end}"))).Reload()
    content = reader.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    return HParamsPluginData.FromString(content).session_end_info.status


FLAVORS = {
    "mlflow": Flavor(
        mlflow_table,
        log_by_mlflow,
        active_in_mlflow,
        state_in_mlflow,
        {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED", "crashed": "FAILED"},
    ),
    "comet": Flavor(
        comet_table,
        log_by_comet,
        active_in_comet,
        lambda place, run_id: place.comet.experiments[run_id].state,
        {"finished": "finished", "failed": "crashed", "killed": "crashed", "crashed": "crashed"},
    ),
    "neptune": Flavor(
        neptune_table,
        log_by_neptune,
        lambda: sys.modules["neptune"].init_run,
        state_in_neptune,
        {"finished": False, "failed": True, "killed": True, "crashed": True},
    ),
    "wandb": Flavor(
        lambda _: {"mode": "offline"},
        log_by_wandb,
        lambda: sys.modules["wandb"].run,
        state_in_wandb,
        {"finished": 0, "failed": 1, "killed": 130, "crashed": 137},
    ),
    "trackio": Flavor(
        lambda _: {},
        log_by_trackio,
        active_in_trackio,
        state_in_trackio,
        {status: status for status in ("finished", "failed", "killed", "crashed")},
    ),
    "tensorboard": Flavor(
        lambda _: {},
        log_by_tensorboard,
        lambda: sys.modules["tensorboardX"].SummaryWriter.__init__,
        state_in_tensorboard,
        {"finished": 1, "failed": 2, "killed": 2, "crashed": 2},  # STATUS_SUCCESS, STATUS_FAILURE
    ),
}


@pytest.fixture(scope="module")
def flavor_servers() -> Iterator[tuple[CometServer, NeptuneServer]]:
    with CometServer() as comet, NeptuneServer() as neptune:
        yield comet, neptune


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    empty_store: Path,
    flavor_servers: tuple[CometServer, NeptuneServer],
) -> Place:
    """Make a project with a tracker of each flavor the working directory."""
    for name in list(os.environ):
        if name.startswith(("TRACKYARD_", "COMET_", "NEPTUNE_", "TRACKIO_", "WANDB_")):
            monkeypatch.delenv(name)
    for name in ("COMET_API_KEY", "NEPTUNE_API_TOKEN"):
        monkeypatch.setenv(name, "")
    for name in ("COMET_CONFIG", "WANDB_CONFIG_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("CONTEXT", "PROGRESS", "WATCHDOG"):
        monkeypatch.setenv(f"TRACKYARD_{name}", "0")
    # Worker processes would import each SDK anew for each test.
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    place = Place(root, empty_store, *flavor_servers)
    place.configure()
    return place


def stored(run_id: str, name: str) -> StoredRun:
    """Read a run from a backend, on an instance that has not written it."""
    project = find_project()
    folder = project.home / "runs" / run_id
    description = load_description(folder)
    assert description is not None
    (tracker,) = [known for known in description.trackers if known.name == name]
    hooks = TrackerHooks(Trackers(project).select(name)[0].new_instance(), name)
    run = attrs.evolve(run_for(description, tracker, folder), attached=True)
    with in_project(project):
        outcome = hooks.read_run(run)
    assert outcome.kind == "done", outcome.reason
    return StoredRun(tuple(outcome.value))
