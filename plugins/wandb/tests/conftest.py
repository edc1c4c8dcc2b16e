"""What do the flavor's tests share: a project, a server, and a look into W&B's own files?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tracked_project import TrackedProject, new_project
from wandb_server import WandbServer

from trackyard import Run
from trackyard_wandb.logfile import read_log
from trackyard_wandb.records import items_of, parse


class StoredFile:
    """A `.wandb` file, read without the flavor's reader of runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = [parse(data) for data, _ in read_log(path)]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the history."""
        found = [record for record in self.records if record.HasField("history")]
        return [items_of(record.history.item) for record in found]

    def values(self, key: str, step: str = "trackyard_step") -> list[tuple[Any, Any]]:
        return [(row.get(step), row[key]) for row in self.rows if key in row]

    @property
    def config(self) -> dict[str, Any]:
        of_runs = [record.run.config for record in self.records]
        found = [*of_runs, *(record.config for record in self.records)]
        return items_of(item for config in found for item in config.update)

    @property
    def axes(self) -> dict[str, str]:
        found = [record.metric for record in self.records if record.HasField("metric")]
        return {metric.name: metric.step_metric for metric in found}

    @property
    def run(self) -> Any:
        return next(record.run for record in self.records if record.HasField("run"))

    @property
    def exit_codes(self) -> list[int]:
        return [record.exit.exit_code for record in self.records if record.HasField("exit")]

    def file(self, name: str) -> bytes:
        return (self.path.parent / "files" / name).read_bytes()


class WandbProject(TrackedProject):
    """A project with one tracker of W&B's."""

    flavor = "wandb"

    def configure(self, **fields: Any) -> None:
        # W&B lists what is installed for each run, which takes a fifth of a second.
        quick = {"x_save_requirements": False}
        names = {"entity": "acme", "project": "fraud"}
        super().configure(**{**names, "settings": quick, **fields})

    def file(self, run_id: str = "*", tracker: str = "team") -> StoredFile:
        """The file of a run, by default that of the only one."""
        (path,) = self.root.glob(f".trackyard/runs/{run_id}/{tracker}/offline-run-*/*.wandb")
        return StoredFile(path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WandbProject:
    project = new_project(WandbProject, tmp_path, monkeypatch, "WANDB_")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_API_KEY", WandbServer.API_KEY)
    return project


@pytest.fixture
def offline(project: WandbProject) -> WandbProject:
    project.configure(mode="offline", base_url="http://127.0.0.1:9")
    return project


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def online(project: WandbProject, server: WandbServer) -> WandbServer:
    """A server to which the project's tracker sends its runs."""
    project.configure(base_url=server.url)
    return server


@pytest.fixture
def make_run(project: WandbProject) -> Callable[..., Run]:
    """Give a function that makes a run as core gives it to a tracker."""

    def make(id: str = "0" * 31 + "1", **fields: Any) -> Run:
        folder = project.root / ".trackyard" / "runs" / id / "team"
        folder.mkdir(parents=True, exist_ok=True)
        known = {"name": "made", "experiment": "made", "started_at": 10**18}
        return Run(id=id, folder=folder, **{**known, **fields})

    return make
